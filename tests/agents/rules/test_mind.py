"""The rule miner as a mind."""

import asyncio
import sys

from sagescope.agents.ablations import Ablated, Ablation
from sagescope.agents.budget import Budget, Spending
from sagescope.agents.loop import Investigation, run_loop
from sagescope.agents.notebook import Notebook
from sagescope.agents.records import Hypothesis
from sagescope.agents.rules.mind import RuleMind

from ..sentences import on_words, source_of


def designed(seed):
    """The texts that the mind would run first for its own best rule."""
    source = source_of(on_words("boat"))
    split = source.evidence.reader("explainer").split("explain")
    mind, spending = RuleMind(), Spending(Budget())
    notebook = Notebook(source, 0, split, split.stats(0), spending, seed)
    (best, *_) = asyncio.run(mind.propose(notebook))
    notebook.hypotheses.append(Hypothesis(id=0, kind=best.kind, text=best.text, rule=best.rule))
    return [design.text for design in asyncio.run(mind.design(notebook))]


def test_every_seed_draws_its_own_probes():
    # Python hashes these two alike.
    assert designed(0) == designed(0)
    assert designed(0) != designed(sys.hash_info.modulus)


def concluded(mind, budget):
    """What the loop ends with for a feature on one word."""
    spending = Spending(budget)
    source = source_of(on_words("boat"))
    loop = Investigation(source, 0, mind, spending=spending, seed=0, record=lambda *_: None)
    return asyncio.run(run_loop(loop))


def test_the_hypothesis_that_is_stated_has_probes_of_its_own():
    explanation = concluded(RuleMind(), Budget()).explanation
    assert explanation.verdict == "confirmed"
    few = concluded(RuleMind(), Budget(probes=4))
    assert few.explanation.verdict != "confirmed"
    assert len(few.probes) <= 4


def test_without_probes_nothing_settles():
    conclusion = concluded(Ablated(RuleMind(), Ablation(probes="none")), Budget())
    assert conclusion.probes == ()
    assert conclusion.explanation.verdict == "untested"


def test_a_feature_that_cannot_be_told_from_another_says_so():
    boat, same = on_words("boat"), on_words("boat", level=1.0)
    told = []
    for features in ((boat, same), (boat, on_words("letter"))):
        loop = Investigation(
            source_of(*features), 0, RuleMind(), spending=Spending(Budget()), seed=0,
            record=lambda *_: None,
        )  # fmt: skip
        told.append(asyncio.run(run_loop(loop)).explanation.notes)
    assert any("Cannot be told apart from feature 1" in note for note in told[0])
    assert not any("told apart" in note for note in told[1])
