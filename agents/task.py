"""A task: one feature to explain, with what may be used for it; and what takes tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ..sae.source import FeatureSource
from .budget import Spending
from .hints import HintLog, NoLog
from .loop import Investigation, Recorder
from .minds.choice import Mind
from .records import Conclusion


@dataclass(frozen=True)
class Task:
    """One feature to explain, and what may be used for it.

    spending: counts what it takes, and holds the caps. record: is told hypotheses, probes,
    outcomes and verdicts as they happen. hints: keeps what hints said.
    """

    source: FeatureSource
    feature: int
    mind: Mind
    spending: Spending
    seed: int
    record: Recorder
    hints: HintLog = field(default_factory=NoLog)

    def investigation(self, **settings: object) -> Investigation:
        """The loop, about to begin. settings: of the mind."""
        return Investigation(
            self.source,
            self.feature,
            self.mind.reasoner(**settings),
            spending=self.spending,
            seed=self.seed,
            record=self.record,
        )


class Explainer(Protocol):
    """Explains one feature at a time; one object serves many features at once."""

    async def explain(self, task: Task) -> Conclusion:
        """Explain a feature.

        Raises UnknownName for a mind that does not exist or cannot do this, FeatureError for a
        feature that the source does not have, and what a language model's provider raises.
        """
        ...
