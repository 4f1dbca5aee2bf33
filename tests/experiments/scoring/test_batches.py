"""Whoever is asked about a stretch of texts at a time has both sorts before them."""

import asyncio
import re

import numpy as np
import pytest

from sagescope.experiments.scoring import SCORERS, Target
from sagescope.experiments.scoring.excerpts import evenly
from sagescope.experiments.scoring.judge import BATCH, BATCH_BY_TOKEN
from sagescope.experiments.scoring.simulator import Simulator
from sagescope.sae.evidence import FIRES_AT
from sagescope.sae.source import FunctionSource

#: Scorers that ask a simulator about contexts of the corpus.
ASKING = ("detection", "fuzzing", "intruder", "graded", "discrimination", "simulation", "fade")


def fires(text, feature):
    on = ("river", "bank")[feature]
    return [(token, 3.0 if on in token else 0.0) for token in re.findall(r"\s*\w+", text)]


@pytest.fixture(scope="module")
def source():
    draw = np.random.default_rng(0)
    words = ["river", "bank", *["plain", "filler", "other", "more"] * 12]
    return FunctionSource(fires, 2, [" ".join(draw.choice(words, 40)) for _ in range(400)])


class Asked(Simulator):
    """Remembers in which order it was asked, as a judge that takes some at a time is."""

    fires_from = FIRES_AT
    words = ""

    def __init__(self):
        self.batches = []

    def _note(self, contexts, size):
        true = ["river" in "".join(one.shown) for one in contexts]
        self.batches.append(np.array_split(true, -(-len(true) // size)))

    async def grade(self, contexts):
        self._note(contexts, BATCH)
        return np.array([float("river" in "".join(one.shown)) for one in contexts])

    async def grade_marked(self, contexts):
        self._note(contexts, BATCH)
        return np.zeros(len(contexts))

    async def simulate(self, contexts):
        self._note(contexts, BATCH_BY_TOKEN)
        return [np.zeros(one.end - one.first) for one in contexts]


@pytest.mark.parametrize("name", ASKING)
def test_each_batch_has_both_sorts(name, source):
    simulator = Asked()
    asyncio.run(SCORERS[name](Target(source, 0), simulator))
    assert simulator.batches
    for batches in simulator.batches:
        assert len(batches) > 1
        assert all(0 < batch.sum() < len(batch) for batch in batches)


@pytest.mark.parametrize("seed", range(20))
def test_an_even_order_leaves_no_stretch_without_a_kind(seed):
    kinds = [True] * 12 + [False] * 38
    order = evenly(kinds, seed)
    assert sorted(order) == list(range(50))
    for batch in np.array_split(np.array(kinds)[order], 5):
        assert 0 < batch.sum() < len(batch)
