"""What probes say together, over any counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from sagescope.agents.records import Outcome, Probe
from sagescope.agents.verdicts import agreement, counted


def trials(fires, silent):
    """Trials with (agreed, run) of each side."""
    found = []
    for side, (agreed, run) in ((True, fires), (False, silent)):
        for k in range(run):
            number = len(found)
            probe = Probe(id=number, hypothesis=0, purpose="test", text=f"{number}", fires=side)
            fired = side == (k < agreed)
            found.append(
                (
                    probe,
                    Outcome(
                        probe=number,
                        tokens=(),
                        activations=(),
                        maximum=float(fired),
                        fired=fired,
                        agreed=k < agreed,
                    ),
                )
            )
    return found


SIDES = st.integers(0, 30).flatmap(lambda run: st.tuples(st.integers(0, run), st.just(run)))


@given(SIDES, SIDES)
def test_the_words_against_their_definitions(fires, silent):
    status = counted(trials(fires, silent)).status
    sides = [side for side in (fires, silent) if side[1]]
    if not sides:
        assert status == "untested"
    elif any(agreed / run < 0.5 for agreed, run in sides):
        assert status == "refuted"
    else:
        tails = [beta.sf(0.8, 1 + agreed, 1 + run - agreed) for agreed, run in sides]
        likely = len(sides) == 2 and tails[0] * tails[1] >= 0.5
        assert status == ("confirmed" if likely else "open")


@given(SIDES, SIDES)
def test_the_posterior_is_the_weaker_sides(fires, silent):
    posterior = counted(trials(fires, silent)).posterior
    assert 0 < posterior < 1
    assert posterior == min(agreement(True, *fires), agreement(False, *silent))


@given(st.booleans(), st.integers(1, 30).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))  # fmt: skip
def test_more_agreement_is_a_higher_posterior(fires, side):
    agreed, run = side
    assert agreement(fires, agreed, run) < agreement(fires, agreed + 1, run)


def test_a_side_without_probes_says_nothing():
    assert counted([]).posterior == agreement(True, 0, 0) == agreement(False, 0, 0) == 0.5
    assert counted(trials((0, 0), (9, 9))).posterior == 0.5


def test_what_one_side_shows_does_not_stand_for_the_other():
    assert counted(trials((20, 20), (1, 3))).status == "refuted"
    assert agreement(True, 1, 3) < agreement(False, 1, 3), "near misses mostly stay silent"
    assert counted(trials((20, 20), (4, 5))).posterior == pytest.approx(agreement(False, 4, 5))
