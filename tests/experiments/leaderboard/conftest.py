"""A benchmark on the planted features of the tests, and a journal of runs on it."""

import sys
from pathlib import Path

import pytest

# chromium.py: a browser to look with.
sys.path.insert(0, str(Path(__file__).parent))

from sagescope.experiments import Journal
from sagescope.experiments.leaderboard.benchmark import run_benchmark
from sagescope.experiments.leaderboard.manifest import Manifest, freeze

EXPLAINERS = ("sage", "sage:one-hypothesis")


@pytest.fixture(scope="session")
def manifest(planted) -> Manifest:
    return freeze(planted.PlantedSource(), "tests", range(4), drawn="all but one")


@pytest.fixture(scope="session")
def journal(planted, manifest: Manifest):
    """Two explainers on the benchmark, and a run that is bound to none."""
    with Journal.open(None) as journal:
        for explainer in EXPLAINERS:
            run_benchmark(planted.PlantedSource(), manifest, journal, explainer=explainer)
        yield journal
