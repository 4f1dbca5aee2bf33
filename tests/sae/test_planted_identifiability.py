"""Where it is planted which features can be found, the report says so; by the benchmark's figures."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.identifiability import FEATURES, KINDS, figures

SEEDS = range(3)


@pytest.fixture(scope="module")
def found():
    return {(kind, seed): figures(kind, seed) for seed in SEEDS for kind in KINDS}


@pytest.mark.slow
def test_what_can_be_found_is_ordered(found):
    for seed in SEEDS:
        sparse, paired, gaussian = (found[kind, seed] for kind in KINDS)
        assert sparse.alike > paired.alike > gaussian.alike
        assert gaussian.alike == pytest.approx(gaussian.floor, abs=0.05)
        assert sparse.pairs == gaussian.pairs == 0
        # Reconstruction alone would rank these wrongly.
        assert paired.unexplained < sparse.unexplained
    rows = found.values()
    together = np.corrcoef([one.alike for one in rows], [one.truth for one in rows])
    assert together[0, 1] >= 0.9


@pytest.mark.slow
def test_the_ties_that_are_seen_are_planted_ones(found):
    for seed in SEEDS:
        paired = found["paired", seed]
        assert paired.precision >= 0.9
        assert paired.found >= FEATURES // 4, "half of the planted pairs"
        assert paired.found >= 0.75 * paired.two, "of those for which the SAE has two latents"
        assert paired.ambiguous >= 1


@pytest.mark.slow
@pytest.mark.xfail(
    strict=True,
    reason="For about a quarter of the pairs the SAE has no two latents, so that there is no tie to see.",
)
def test_all_planted_ties_are_seen(found):
    assert all(found["paired", seed].found == FEATURES // 2 for seed in SEEDS)
