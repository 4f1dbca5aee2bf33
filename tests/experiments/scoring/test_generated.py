"""Scores from texts that were made from the explanation alone."""

import asyncio

import pytest

from sagescope.experiments.scoring.bench import Target
from sagescope.experiments.scoring.generated import generated


def run(source, simulator, seed=0):
    return asyncio.run(generated(Target(source, 0, seed), simulator))


def source(make, fn=None):
    """Typical maximum 4: a text made to fire must reach 2, a near miss must stay below 0.8."""
    made = make.spelled(["a=4 b"], ["a=4 b"])
    return make.source(fn, *made.splits.values()) if fn else made


def test_by_hand(make):
    firing = ["x=2", "x=4 y", "x=1.99", "x"]
    near = ["x=0.79", "x=0.8", "x", "x y z=9", "y"]
    marks = run(source(make), make.given(firing=firing, near=near))
    scores = marks.scores
    assert scores["generative"].value == 2 / 4
    assert scores["boundary"].value == 3 / 5
    assert scores["input"].value == pytest.approx(2 * 0.5 * 0.6 / 1.1)
    assert [scores[name].n for name in ("generative", "boundary", "input")] == [4, 5, 9]
    # The maximum is 4 as well; firing at all begins at 0.8. Of 4 · 1 pairs with the one window of
    # the score split (4), one is a tie, the rest are below: AUC = .5 / 4.
    assert scores["generative_half_max"].value == 2 / 4
    assert scores["activation_coverage"].value == 3 / 4
    assert scores["input_any"].value == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert scores["clarity"].value == pytest.approx(2 * 0.125 - 1)
    for name in ("generative", "boundary", "input", "activation_coverage", "input_any"):
        assert 0 <= scores[name].low < scores[name].value < scores[name].high <= 1
    items = marks.details["items"]
    assert [item.passed for item in items if item.scorer == "generative"] == [
        True,
        True,
        False,
        False,
    ]
    assert [item.maximum for item in items if item.scorer == "boundary"] == pytest.approx(
        [0.79, 0.8, 0, 9, 0]
    )
    assert marks.details["failed"] == {"generative": 0, "boundary": 0}


def test_failed_texts_are_failed_and_not_silent(make):
    firing = ["x=4", "x=broken", "x=4 y"]
    near = ["x", "x=broken", "y=broken", "z=4"]
    marks = run(source(make), make.given(firing=firing, near=near))
    generative, boundary = marks.scores["generative"], marks.scores["boundary"]
    assert (generative.value, generative.n, generative.failed) == (1, 2, 1)
    assert (boundary.value, boundary.n, boundary.failed) == (0.5, 2, 2)
    assert marks.scores["input"].failed == 3
    assert marks.details["failed"] == {"generative": 1 / 3, "boundary": 2 / 4}
    broken = [item for item in marks.details["items"] if item.passed is None]
    assert len(broken) == 3
    assert all(item.maximum is None and "failed" in str(item.error) for item in broken)


def test_when_no_text_can_be_run_nothing_is_known(make):
    marks = run(source(make), make.given(firing=["x=broken"], near=["y"]))
    assert marks.scores["generative"].value is None
    assert marks.scores["generative"].failed == 1
    assert marks.scores["boundary"].value == 1
    assert marks.scores["input"].value is None
    assert "could be run" in str(marks.scores["input"].reason)


def test_an_explanation_that_gives_no_text_scores_zero_and_says_so(make):
    scores = run(source(make), make.given()).scores
    for score in scores.values():
        assert (score.value, score.n, score.low) == (0, 0, None)
        assert "no such text" in str(score.reason)


def test_every_text_counts_once(make):
    scores = run(source(make), make.given(firing=["x=4", "x=4", "x"], near=["y"])).scores
    assert (scores["generative"].value, scores["generative"].n) == (0.5, 2)


@pytest.mark.parametrize(("firing", "value"), [("x=4", 1.0), ("x", 0.0)])
def test_texts_that_all_do_alike_leave_room_for_doubt(make, firing, value):
    texts = [f"{firing} {number}" for number in range(24)]
    near = [f"y {number}" for number in range(24)]
    score = run(source(make), make.given(firing=texts, near=near)).scores["input"]
    assert score.value == value
    assert (score.low, score.high) == pytest.approx(
        (0.862, 1.0) if value else (0.0, 2 * 0.138 / 1.138), abs=1e-3
    )


def test_a_silent_feature_has_no_scores(make):
    silent = make.spelled(["a b"], ["a b"])
    scores = run(silent, make.given(firing=["x"], near=["y"])).scores
    assert {score.value for score in scores.values()} == {None}


def test_an_error_that_is_not_the_texts_is_not_swallowed(make):
    made = source(make)

    async def broken(feature, texts):
        raise ConnectionError("gone")

    made.activations = broken
    with pytest.raises(ConnectionError):
        run(made, make.given(firing=["x"], near=["y"]))
