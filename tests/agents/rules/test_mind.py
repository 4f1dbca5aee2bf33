"""The rule miner as a mind."""

import asyncio
import sys

from sagescope.agents.budget import Budget, Spending
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
