"""Scores on natural text of the score split: simulation, uniform text, FADE."""

import asyncio

import numpy as np
import pytest

from sagescope.experiments.scoring.bench import SCORERS, Target
from sagescope.experiments.scoring.simulator import Simulator
from sagescope.sae.evidence import FIRES_AT

#: What explainers saw: typical maximum 4, so that a token fires from 0.8 on.
EXPLAIN = ["a=4 b"]


class Reading(Simulator):
    """Answers for each text as written down, by its tokens; it cannot run over a corpus."""

    fires_from = FIRES_AT

    def __init__(self, levels, failing=()):
        self.levels, self.failing = levels, failing
        self.seen = []

    async def simulate(self, contexts):
        self.seen += contexts
        return [
            None
            if any(token.strip() in self.failing for token in context.shown)
            else np.array([self.levels.get(token.strip(), 0.0) for token in context.shown])
            for context in contexts
        ]

    async def grade(self, contexts):
        return np.array(
            [np.nan if one is None else one.max() for one in await self.simulate(contexts)]
        )


class Ranking(Reading):
    """Grades without a unit."""

    fires_from = None


def run(make, name, score, simulator, explain=EXPLAIN, seed=0):
    target = Target(make.spelled(explain, score), 0, seed)
    return asyncio.run(SCORERS[name](target, simulator))


# --- Simulation ----------------------------------------------------------------------------------


def test_simulation_by_hand(make):
    # Contexts: (4, 0, 0) predicted (1, ½, 0) and (0, 0) predicted (½, 0); the unit is 4.
    marks = run(make, "simulation", ["x=4 y z", "y z"], Reading({"x": 1.0, "y": 0.5}))
    p, a = [4.0, 2, 0, 2, 0], [4.0, 0, 0, 0, 0]
    assert marks.scores["simulation_pearson"].value == pytest.approx(np.corrcoef(p, a)[0, 1])
    alone = np.corrcoef(p[:3], a[:3])[0, 1]
    assert marks.scores["simulation_pearson_by_example"].value == pytest.approx(alone)
    assert marks.details["more"]["simulation_pearson"] == {"contexts": 2, "silent": 1}


def test_contexts_that_fail_are_failed_and_not_silent(make):
    score = ["x=4 y z", "x=4 broken z", "y z"]
    whole = run(make, "simulation", [score[0], score[2]], Reading({"x": 1.0}))
    marks = run(make, "simulation", score, Reading({"x": 1.0}, failing=["broken"]))
    for name, found in marks.scores.items():
        assert found.failed == 1
        assert found.value == whole.scores[name].value
        assert marks.details["failed"][name] == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", ["simulation", "uniform"])
def test_where_all_failed_their_share_is_one(make, name):
    score = ["x=4 y z", "x=4 broken z", "y z"]
    nothing = run(make, name, score, Reading({}, failing=["z"]))
    assert {one.value for one in nothing.scores.values()} == {None}
    assert {one.failed for one in nothing.scores.values()} == {3}
    assert nothing.details["failed"] == dict.fromkeys(nothing.scores, 1.0)


def test_a_rule_simulates_as_it_predicts(make):
    target = Target(make.words({"red": 4.0, "green": 2.0}), 0)
    rule = make.explanation(make.rule({"red": 1.0, "green": 0.9}))
    from sagescope.experiments.scoring import simulator_of

    simulator = simulator_of(rule, target.source.tokenize)
    pooled = asyncio.run(SCORERS["simulation"](target, simulator)).scores["simulation_pearson"]
    tokens = asyncio.run(SCORERS["predictive"](target, simulator)).scores["predictive_pearson"]
    assert pooled.value == pytest.approx(tokens.value)


# --- Uniform text --------------------------------------------------------------------------------


def test_uniform_by_hand(make):
    score = ["x=4 y", "z=2 y", "y y"]
    marks = run(make, "uniform", score, Reading({"x": 1.0, "y": 0.25}))
    p, a = np.array([4.0, 1, 0, 1, 1, 1]), np.array([4.0, 0, 2, 0, 0, 0])
    found = {name: score.value for name, score in marks.scores.items()}
    assert found["uniform_pearson"] == pytest.approx(np.corrcoef(p, a)[0, 1])
    assert found["uniform_cosine"] == pytest.approx(p @ a / np.sqrt((p @ p) * (a @ a)))
    # Said to fire: x and four y; fire: x and z.
    assert found["uniform_f1"] == pytest.approx(2 / (2 + 4 + 1))
    assert found["uniform_iou"] == pytest.approx(1 / 6)
    assert found["uniform_auprc"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 6)


def test_uniform_is_the_same_whether_run_or_read(make):
    """A rule runs over everything; a reader that answers alike scores alike on few windows."""
    from sagescope.experiments.scoring import simulator_of

    score = [f"x=4 y w{n}" if n % 3 else f"y w{n}" for n in range(20)]
    rule = make.rule({"x": 1.0, "y": 0.25})
    target = Target(make.spelled(EXPLAIN, score), 0)
    by_rule = simulator_of(make.explanation(rule), target.source.tokenize)
    ran = asyncio.run(SCORERS["uniform"](target, by_rule)).scores
    read = run(make, "uniform", score, Reading({"x": 1.0, "y": 0.25})).scores
    assert {n: s.value for n, s in ran.items()} == pytest.approx(
        {n: s.value for n, s in read.items()}
    )


# --- FADE ----------------------------------------------------------------------------------------


def test_fade_by_hand(make):
    # The concept is seen in peaks 4 and 0, not in 2 and 0; "m" is only partly there and left out.
    score = ["x=4", "x q", "z=2", "y", "m=3"]
    marks = run(make, "fade", score, Reading({"x": 1.0, "m": 0.15}))
    found = {name: one.value for name, one in marks.scores.items()}
    # Pairs (there, absent): 4>2, 4>0, 0<2, 0=0.
    assert found["responsiveness"] == pytest.approx(2 * (2.5 / 4) - 1)
    # By falling peak: 4 (there), 2 (absent), 0 and 0 (one of each).
    assert found["purity"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)
    assert len(marks.details["items"]) == 5


def test_fade_leaves_out_what_was_not_graded(make):
    score = ["x=4", "x q", "z=2", "y"]
    whole = run(make, "fade", score, Reading({"x": 1.0})).scores
    marks = run(make, "fade", [*score, "broken=4"], Reading({"x": 1.0}, failing=["broken"]))
    for name, found in marks.scores.items():
        assert (found.value, found.failed) == (whole[name].value, 1)
    (item,) = [item for item in marks.details["items"] if item.error]
    assert item.passed is None


def test_fade_draws_over_the_range_and_from_the_top(make):
    score = [f"w{n}={n / 100}" if n % 2 else f"w{n}" for n in range(600)]
    reader = Reading({})
    marks = run(make, "fade", score, reader)
    peaks = [item.maximum for item in marks.details["items"]]
    assert len(peaks) == 100
    assert len(set(item.text for item in marks.details["items"])) == 100
    assert sum(peak > 5.8 for peak in peaks) >= 10  # all the ten strongest
    assert sum(peak == 0 for peak in peaks) >= 20
    assert {one.value for one in marks.scores.values()} == {0.0}  # it saw the concept nowhere


def test_what_only_ranks_cannot_say_where_a_concept_is(make):
    scores = run(make, "fade", ["x=4", "y"], Ranking({"x": 1.0})).scores
    assert {one.value for one in scores.values()} == {None}
    assert all("ranks" in str(one.reason) for one in scores.values())


@pytest.mark.parametrize("name", ["simulation", "uniform", "fade"])
def test_a_silent_feature_is_undefined(make, name):
    for explain, score in ((["a"], ["x=4"]), (EXPLAIN, ["x"])):
        scores = run(make, name, score, Reading({"x": 1.0}), explain=explain).scores
        assert {one.value for one in scores.values()} == {None}
        assert all("never fires" in str(one.reason) for one in scores.values())


@pytest.mark.parametrize("name", ["simulation", "uniform", "fade"])
def test_only_held_out_text_is_shown(make, name):
    reader = Reading({"x": 1.0})
    run(make, name, ["x=4 held", "y held"], reader, explain=["a=4 seen"])
    shown = {token.strip() for context in reader.seen for token in context.tokens}
    assert shown
    assert "seen" not in shown


# --- Beside the peers' own code ------------------------------------------------------------------


@pytest.mark.slow
def test_gini_and_precision_as_in_fade():
    fade = pytest.importorskip("fade.results", reason="FADE's package (fade-language) is not here")
    import torch

    from sagescope.experiments.scoring import metrics

    draw = np.random.default_rng(0)
    for _ in range(5):
        absent, there = draw.gamma(1, 1, 40), draw.gamma(2, 1, 30)
        gini, precision = fade.gini_ap_metric(torch.tensor(absent), torch.tensor(there))
        values = np.concatenate([absent, there])
        labels = np.arange(70) >= 40
        ours = metrics.gini(metrics.auc(values, labels, np.arange(70), 0)).value
        assert abs(ours) == pytest.approx(gini, abs=0.01)
        assert ours > 0
        found = metrics.auprc(values, labels, np.arange(70), 0).value
        assert found == pytest.approx(precision, abs=0.01)


@pytest.mark.slow
def test_correlation_as_in_the_neuron_explainer():
    scoring = pytest.importorskip(
        "neuron_explainer.explanations.scoring", reason="neuron-explainer is not installed"
    )
    from sagescope.experiments.scoring import metrics

    draw = np.random.default_rng(0)
    a = draw.gamma(1, 1, 200)
    p = a + draw.normal(0, 1, 200)
    ours = metrics.pearson(p, a, np.arange(200), 0).value
    assert ours == pytest.approx(scoring.correlation_score(a, p), abs=0.01)
