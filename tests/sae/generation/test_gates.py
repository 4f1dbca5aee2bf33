"""Gates of steering: every transition as specified."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagescope.sae.generation.gates import ContinuationGate, InputGate, Presence

SCORES = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.7, 0.71, 0.89, 0.9, 1.0]))


def states(scores):
    """The states after each step."""
    gate, found = ContinuationGate(), []
    for score in scores:
        gate = gate.after(score)
        found.append(gate.state)
    return found


def reference(scores):
    """The same, told by counting back from each step instead of counting on."""
    level, since, found = 0, 0, []
    for place in range(len(scores)):
        run = scores[since : place + 1]
        if len(run) >= 6 and all(one >= 0.9 for one in run[-6:]):
            level, since = min(2, level + 1), place + 1
        elif len(run) >= 4 and all(one <= 0.7 for one in run[-4:]):
            level, since = max(0, level - 1), place + 1
        found.append(("NORMAL", "ELEVATED", "LOCKDOWN")[level])
    return found


@given(st.lists(SCORES, max_size=80))
def test_states_are_as_specified(scores):
    assert states(scores) == reference(scores)


@given(st.lists(SCORES, max_size=80))
def test_a_state_never_jumps_and_has_its_strength(scores):
    gate = ContinuationGate()
    strengths = {"NORMAL": 1.0, "ELEVATED": 1.5, "LOCKDOWN": 2.0}
    for score in scores:
        after = gate.after(score)
        assert abs(list(strengths).index(after.state) - list(strengths).index(gate.state)) <= 1
        assert after.alpha == strengths[after.state]
        assert after.high < 6
        assert after.low < 4
        gate = after


def test_six_up_and_four_down():
    up = states([0.95] * 13)
    assert up[4:6] == ["NORMAL", "ELEVATED"]
    assert up[10:] == ["ELEVATED", "LOCKDOWN", "LOCKDOWN"]
    down = states([0.95] * 12 + [0.7] * 8)
    assert down[14:16] == ["LOCKDOWN", "ELEVATED"]
    assert down[18:] == ["ELEVATED", "NORMAL"]


@pytest.mark.parametrize("between", [0.71, 0.8, 0.899])
def test_between_the_thresholds_a_row_is_broken(between):
    assert set(states([0.95] * 5 + [between] + [0.95] * 5)) == {"NORMAL"}
    assert states([0.95] * 6 + [0.1] * 3 + [between] + [0.1] * 3)[-1] == "ELEVATED"


@given(st.lists(SCORES, max_size=40))
def test_the_input_gate_opens_above_and_closes_below(scores):
    gate = InputGate()
    assert not gate.is_open
    for score in scores:
        after = gate.after(score)
        wanted = True if score > 0.75 else False if score < 0.65 else gate.is_open
        assert after.is_open == wanted
        gate = after


@given(
    st.floats(1e-3, 1e3),
    st.lists(st.floats(1.0, 5.0), min_size=1, max_size=20),
    st.lists(st.floats(0, 1e4), min_size=2, max_size=10),
)
def test_presence_goes_through_its_quantiles_and_only_rises(fires_at, shares, activations):
    presence = Presence.of(fires_at, [fires_at * share for share in shares])
    assert presence(presence.half) == pytest.approx(0.5)
    assert presence(presence.nine) == pytest.approx(0.9, abs=1e-3)
    found = [presence(one) for one in sorted(activations)]
    assert all(0 <= one <= 1 for one in found)
    assert found == sorted(found)
    # The absence of any feature is evidence enough for the continuation gate.
    assert 1 - presence(0) >= 0.9
