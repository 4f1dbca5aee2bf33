"""Samples of a notebook, shared by all that one step asks of them."""

from __future__ import annotations

from functools import lru_cache

from ...sae.evidence import SplitEvidence
from ..notebook import Notebook, measured
from ..records import Outcome
from ..rules.sample import Sample


def sample_of(notebook: Notebook, probes: bool = False) -> Sample:
    """The `explain` split as a sample of the notebook's feature; probes: with those run so far."""
    outcomes = tuple(notebook.outcomes) if probes else ()
    return _sample(notebook.split, notebook.feature, outcomes)


# Few: a step asks the same ones many times, then waits while other features take their turn.
@lru_cache(maxsize=4)
def _sample(split: SplitEvidence, feature: int, outcomes: tuple[Outcome, ...]) -> Sample:
    return Sample(split, feature, measured(outcomes))
