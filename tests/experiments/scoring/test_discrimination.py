"""Between features: neighbours whose texts are written out."""

import asyncio

import numpy as np
import pytest

from sagescope.experiments.scoring.bench import SCORERS, Target
from sagescope.experiments.scoring.discrimination import NAMES, OWN, draw
from sagescope.experiments.scoring.simulator import RuleSimulator, Simulator
from sagescope.sae.evidence import FIRES_AT
from sagescope.sae.source import FunctionSource

#: Feature → words it fires on. 1 is near 0, since both fire on "river"; 4 never fires.
ON = [{"river", "bank"}, {"river", "money"}, {"tree"}, {"car"}, {"nowhere"}]


def fires(text, feature):
    return [(word, 3.0 if word in ON[feature] else 0.0) for word in text.split()]


@pytest.fixture(scope="module")
def source():
    draw = np.random.default_rng(0)
    words = ["river", "bank", "money", "tree", "car", *["plain", "filler", "other", "more"] * 16]
    return FunctionSource(fires, 5, [" ".join(draw.choice(words, 40)) for _ in range(400)])


class Knowing(Simulator):
    """Grades an excerpt by the words in it."""

    fires_from = FIRES_AT
    words = ""

    def __init__(self, *words, failing=""):
        self.known, self.failing = words, failing

    async def grade(self, contexts):
        shown = [" ".join(context.shown).split() for context in contexts]
        return np.array(
            [np.nan if self.failing in one else any(w in one for w in self.known) for one in shown],
            float,
        )


def run(source, simulator, feature=0):
    return asyncio.run(SCORERS["discrimination"](Target(source, feature), simulator))


def test_in_each_pair_exactly_one_fires(source):
    drawn = draw(source.evidence, 0, 0)
    split = source.evidence.reader("scorer").split("score")
    assert len(drawn.own) == OWN
    near = [rival for rival in drawn.rivals if rival.of == "discrimination"]
    anyone = [rival for rival in drawn.rivals if rival.of == "discrimination_random"]
    assert near[0].feature == 1
    assert {rival.feature for rival in anyone} == {1, 2, 3}
    for rival in drawn.rivals:
        values = split.activations(rival.feature)
        assert rival.theirs
        for one in rival.theirs:
            assert one.peak(values) == 3
            assert one.peak(split.activations(0)) == 0
        for one, without in zip(drawn.own, rival.without, strict=True):
            assert one.peak(split.activations(0)) == 3
            assert without == (one.peak(values) == 0)


def test_by_hand(source):
    """A simulator that knows some of the words wins, ties and loses the pairs that it should."""
    drawn = draw(source.evidence, 0, 0)
    found = run(source, Knowing("bank", "money"))
    wins, pairs = 0.0, 0
    for rival in drawn.rivals:
        if rival.of != "discrimination":
            continue
        for one in (own for own, alone in zip(drawn.own, rival.without, strict=True) if alone):
            for their in rival.theirs:
                mine, other = ("bank" in x.text or "money" in x.text for x in (one, their))
                wins += 0.5 if mine == other else float(mine)
                pairs += 1
    assert found.scores["discrimination"].value == pytest.approx(wins / pairs)
    assert 0 < found.scores["discrimination"].value < 1


def test_who_knows_both_words_is_never_wrong(source):
    found = run(source, Knowing("bank", "river")).scores
    assert [found[name].value for name in NAMES] == [1.0, 1.0]


def test_saying_the_same_of_all_is_chance(source):
    for simulator in (Knowing(), Knowing("bank", "river", "money", "tree", "car")):
        found = run(source, simulator).scores
        assert [found[name].value for name in NAMES] == [0.5, 0.5]


def test_the_neighbours_explanation_is_below_chance(source):
    assert run(source, Knowing("money")).scores["discrimination"].value < 0.5


def test_excerpts_without_a_grade_are_failed(source):
    found = run(source, Knowing("bank", "river", failing="tree"))
    for name in NAMES:
        assert found.scores[name].value == 1
        failed = found.scores[name].failed
        assert failed > 0
        assert found.details["failed"][name] == pytest.approx(
            failed
            / (OWN + sum(len(r.theirs) for r in draw(source.evidence, 0, 0).rivals if r.of == name))
        )
    nothing = run(source, Knowing("bank", failing="plain")).scores
    assert any(one.failed for one in nothing.values())


def test_a_rule_is_graded(source, make):
    rule = make.rule({"river": 1.0, "bank": 1.0}, unit=3.0)
    found = run(source, RuleSimulator(rule, source.tokenize)).scores
    assert [found[name].value for name in NAMES] == [1.0, 1.0]


def test_a_silent_feature_has_no_score(source):
    found = run(source, Knowing("bank"), feature=4).scores
    assert {one.value for one in found.values()} == {None}
    assert "never fires" in found["discrimination"].reason
