"""Explainers by the name users type: each turns a feature of a source into a conclusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..sae.errors import UnknownName
from ..sae.source import FeatureSource
from .budget import Budget
from .loop import Reasoner, Recorder, run_loop
from .records import Conclusion
from .rules.mind import RuleMind

#: Minds by the name users type.
MINDS: dict[str, Callable[[], Reasoner]] = {"rules": RuleMind}


def mind_called(name: str, minds: Mapping[str, Callable[[], Reasoner]] = MINDS) -> Reasoner:
    """A new mind by the name users type. Raises UnknownName."""
    if name not in minds:
        raise UnknownName("mind", name, minds)
    return minds[name]()


class Explainer(Protocol):
    """Explains one feature at a time; one object serves many features at once."""

    async def explain(
        self,
        source: FeatureSource,
        feature: int,
        *,
        mind: str,
        budget: Budget,
        seed: int,
        record: Recorder,
    ) -> Conclusion:
        """Explain a feature; `record` is told what happens (see `loop.run_loop`).

        Raises UnknownName for a mind that does not exist, FeatureError for a feature that does
        not.
        """
        ...


@dataclass(frozen=True)
class Sage:
    """The loop of hypotheses and probes, with any mind."""

    minds: dict[str, Callable[[], Reasoner]] = field(default_factory=lambda: MINDS)

    async def explain(
        self,
        source: FeatureSource,
        feature: int,
        *,
        mind: str,
        budget: Budget,
        seed: int,
        record: Recorder,
    ) -> Conclusion:
        """Run the loop. See Explainer."""
        thinker = mind_called(mind, self.minds)
        return await run_loop(source, feature, thinker, budget=budget, seed=seed, record=record)


EXPLAINERS: dict[str, Explainer] = {"sage": Sage()}
