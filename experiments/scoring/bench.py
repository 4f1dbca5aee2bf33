"""The bench: a scorer is `async (Target, Simulator) -> Marks`, under the name users type.

A *target* is the feature, with its thresholds and the text that no explainer saw. A *simulator*
answers from an explanation alone. Scorers know nothing else, so that one scorer serves every
explanation and every control.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ...agents.records import Record
from ...agents.rules.match import Matcher
from ...agents.rules.sample import matcher_of
from ...sae.errors import CannotAnswer, UnknownName
from ...sae.evidence import FeatureStats, SplitEvidence
from ...sae.mixture import Mixture, draw
from ...sae.source import FeatureSource
from .contexts import Panel, panel
from .score import Score
from .simulator import Simulator


@dataclass(frozen=True)
class Target:
    """The feature that explanations are scored against.

    Thresholds and statistics come from the `explain` split, text from `score`; nothing else is
    read. seed: decides every draw.
    """

    source: FeatureSource
    feature: int
    seed: int = 0

    @cached_property
    def explain(self) -> SplitEvidence:
        """What explainers saw: for thresholds and for fitting controls."""
        return self.source.evidence.reader("scorer").split("explain")

    @cached_property
    def held_out(self) -> SplitEvidence:
        """The text that scores are computed on."""
        return self.source.evidence.reader("scorer").split("score")

    @cached_property
    def stats(self) -> FeatureStats:
        """How the feature fires on the `explain` split, in the SAE's units."""
        return self.explain.stats(self.feature)

    @cached_property
    def text(self) -> Matcher:
        """The tokens of the score split, as simulators read them; shared by all features."""
        return matcher_of(self.held_out)

    @cached_property
    def mixture(self) -> Mixture:
        """The contexts that predictions are compared on (see `sae.mixture`)."""
        return draw(self.held_out, self.feature, self.seed)

    @cached_property
    def measured(self) -> np.ndarray:
        """float64 [n]: the activation of each token of the score split, its positive part."""
        return np.maximum(self.held_out.activations(self.feature), 0).astype(np.float64)

    @cached_property
    def silent(self) -> str:
        """Why there is nothing to predict: on which split the feature never fires; "" if it does."""
        for split, fires in (("explain", self.stats.typical_max), ("score", self.measured.any())):
            if not fires:
                return f"the feature never fires on the {split} split"
        return ""

    @cached_property
    def panel(self) -> Panel:
        """The contexts that explanations are asked about one by one (see `contexts`)."""
        return panel(self.source.evidence, self.feature, self.seed, self.held_out)

    def fires(self, values: np.ndarray | float) -> np.ndarray:
        """Where activations or predictions, in the SAE's units, reach the firing threshold."""
        return reaches(values, self.stats.fires_at)


def reaches(values: np.ndarray | float, threshold: np.ndarray | float) -> np.ndarray:
    """Where values are at least the threshold; float32 rounding does not decide."""
    return np.asarray(values) >= np.asarray(threshold) * (1 - 1e-6)


class Band(Record):
    """Recall in one band of activation.

    quantiles: the band, as quantiles of the feature's non-zero activations on `explain`. low, high:
    its edges in the SAE's units (high None: no upper edge). n: tokens of the score split in it.
    recall: share of them found, None when there are none.
    """

    quantiles: tuple[float, float]
    low: float
    high: float | None
    n: int
    recall: float | None


class Level(Record):
    """What was measured where a level was predicted.

    low, high: the predicted level, as a share of the typical maximum (high None: no upper edge).
    n: tokens of the score split so predicted. fires: share of them that fire. mean: their mean
    activation as a share of the typical maximum. Both None when there are none.
    """

    low: float
    high: float | None
    n: int
    fires: float | None
    mean: float | None


class MixtureCounts(Record):
    """The mixture that Pearson and AUPRC were computed on.

    top, spread, random: windows of each kind. documents, tokens: how many they hold. base_rate:
    share of the tokens that fire; the AUPRC of a prediction that knows nothing.
    """

    top: int
    spread: int
    random: int
    documents: int
    tokens: int
    base_rate: float


class Item(Record):
    """One text that a score rests on.

    scorer: the score that it is an item of ("generative", "detection" …). kind: which part it has
    in it ("random negative" …). maximum: the highest activation, in the SAE's units. grade: what
    the simulator said, in typical maxima. passed: as the explanation said. maximum, grade and
    passed are None when it could not be run or graded; error then says why.
    """

    scorer: str
    text: str
    kind: str = ""
    maximum: float | None = None
    grade: float | None = None
    passed: bool | None = None
    error: str | None = None


class Details(Record):
    """What lies behind the scores of one explanation.

    failed: score name → share of its items that could not be run. more: score name → what else its
    scorer wants to say, as JSON values.
    """

    mixture: MixtureCounts | None = None
    recall_by_quantile: tuple[Band, ...] = ()
    precision_by_level: tuple[Level, ...] = ()
    items: tuple[Item, ...] = ()
    failed: dict[str, float] = Field(default_factory=dict)
    more: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Marks:
    """What one scorer found: its scores by name, and fields of `Details`."""

    scores: dict[str, Score]
    details: dict[str, Any] = field(default_factory=dict)


Function = Callable[[Target, Simulator], Awaitable[Marks]]
#: What a score may fail to see of a label: truth that it leaves out, or what it claims beside it;
#: or that `sanity` cannot measure it, because the score has no value on features of that kind.
Blind = Literal["extra", "missing", "unmeasured"]
UNMEASURED: tuple[Blind, ...] = ("unmeasured",)


@dataclass(frozen=True)
class Scorer:
    """One way to score. name: what users type. scores: the names of what it gives, in order.

    function: scores one simulator on one target; it may raise CannotAnswer where the simulator, or
    the feature source, cannot do what the scorer asks. default: whether it runs unless others are
    chosen. blind: score → what it does not see (see `sanity`); scores that see both have no entry.
    version: goes up whenever its numbers change, so that a benchmark knows.
    """

    name: str
    scores: tuple[str, ...]
    function: Function
    default: bool
    blind: Mapping[str, tuple[Blind, ...]] = field(default_factory=dict)
    version: int = 1

    async def __call__(self, target: Target, simulator: Simulator) -> Marks:
        """What it finds; its scores are undefined, with the reason, where that cannot be asked."""
        try:
            return await self.function(target, simulator)
        except CannotAnswer as reason:
            return Marks({name: Score.undefined(str(reason)) for name in self.scores})


#: Every scorer by the name users type. Filled by `@scorer` when its module is imported.
SCORERS: dict[str, Scorer] = {}


def scorer(
    name: str,
    scores: Sequence[str],
    default: bool = True,
    blind: Mapping[str, tuple[Blind, ...]] | None = None,
    version: int = 1,
) -> Callable[[Function], Scorer]:
    """Register a function of a target and a simulator as the scorer `name` (see Scorer)."""

    def register(function: Function) -> Scorer:
        if name in SCORERS:
            raise ValueError(f"two scorers are called {name!r}")
        SCORERS[name] = Scorer(name, tuple(scores), function, default, blind or {}, version)
        return SCORERS[name]

    return register


def blind_to(score: str) -> tuple[Blind, ...]:
    """What a score does not see of a label, by its scorer's declaration; () for one that sees all.

    UNMEASURED where nobody knows.
    """
    return next((one.blind[score] for one in SCORERS.values() if score in one.blind), ())


def chosen(names: Sequence[str] | None) -> dict[str, Scorer]:
    """The scorers called `names`; ("all",) are all, None those that run by default.

    Raises UnknownName.
    """
    if names is None:
        return {name: one for name, one in SCORERS.items() if one.default}
    if tuple(names) == ("all",):
        return dict(SCORERS)
    for name in names:
        if name not in SCORERS:
            raise UnknownName("scorer", name, [*SCORERS, "all"])
    return {name: SCORERS[name] for name in names}
