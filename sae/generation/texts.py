"""Steered texts: what a model writes with and without a feature's direction, and beside controls.

A source that has a model behind it may carry `generation`, a `Generation`; `generation_of` gets it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from ..errors import SAEError
from ..source import FeatureSource
from .gates import Presence, State

#: What is written beside each other: without steering, along the feature, along the difference of the
#: mean activations where it fires and where it is silent, and along a random direction; the last two
#: with the norm that the feature's own has.
Kind = Literal["unsteered", "feature", "difference of means", "random"]
KINDS: tuple[Kind, ...] = ("unsteered", "feature", "difference of means", "random")

#: The largest strength: an activation so far beyond what a feature has ever had says nothing of it.
MOST_STRENGTH = 32.0


@dataclass(frozen=True)
class Order:
    """What is asked for.

    strength: in typical maxima of the feature, what the SAE writes where it is at its typical maximum;
    from 0 to MOST_STRENGTH, else SAEError is raised.
    remove: take the direction away instead of adding it. tokens: how many are written at most. gated:
    with input and continuation gate. temperature: 0 takes the likeliest token, else tokens are drawn.
    seed: of the random direction, of the texts behind the difference of means, and of what is drawn.
    """

    prompt: str
    strength: float = 2.0
    remove: bool = False
    tokens: int = 40
    gated: bool = False
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= MOST_STRENGTH:
            raise SAEError(
                f"A strength of {self.strength:g} cannot be steered by: give one from 0 to "
                f"{MOST_STRENGTH:g} typical maxima."
            )


@dataclass(frozen=True)
class Step:
    """One look of the continuation gate. token: how many were written. state: after it."""

    token: int
    presence: float
    state: State
    alpha: float


@dataclass(frozen=True)
class Written:
    """One text.

    pieces: the tokens that were written after the prompt. activations: what the feature is on them
    when the model reads them without steering. maximum, mean: of these. kl: mean over the tokens of
    KL(steered ‖ unsteered) of the next-token distribution after the same tokens, in nats. steered:
    whether anything was added. steps: of the continuation gate.
    """

    kind: Kind
    pieces: tuple[str, ...]
    activations: tuple[float, ...]
    kl: float
    steered: bool
    steps: tuple[Step, ...] = ()

    @property
    def text(self) -> str:
        """As a string."""
        return "".join(self.pieces)

    @property
    def maximum(self) -> float:
        """The feature's highest activation on it."""
        return max(self.activations, default=0.0)

    @property
    def mean(self) -> float:
        """Its mean activation on it."""
        return sum(self.activations) / len(self.activations) if self.activations else 0.0


@dataclass(frozen=True)
class Steered:
    """What came of an order.

    unit: the feature's typical maximum. presence: the curve of the gates. prompt_activation: the
    feature's highest on the prompt; prompt_presence: as presence. opened: the input gate let steering
    begin (None without gates). texts: one of each of KINDS.
    """

    feature: int
    order: Order
    unit: float
    presence: Presence
    prompt_activation: float
    prompt_presence: float
    opened: bool | None
    texts: tuple[Written, ...]


class Generation(Protocol):
    """Writes text while a feature is steered."""

    async def steered(
        self, feature: int, order: Order, watch: Callable[[int], None] = lambda _: None
    ) -> Steered:
        """Write each of KINDS; watch is told of tokens as they are written, in another thread.

        Raises FeatureError for a feature that the source does not have or that never fires on the
        corpus, TextError for a prompt that cannot be run, SAEError where the model cannot be steered at
        the SAE's hook point, or by so much.
        """
        ...


def generation_of(source: FeatureSource) -> Generation:
    """The generation of a source. Raises SAEError for one that has none."""
    found: Generation | None = getattr(source, "generation", None)
    if found is None:
        raise SAEError(
            f"{source.subject}/{source.sae} has no language model here that could write text: open an "
            f"SAE on its model, without --host."
        )
    return found
