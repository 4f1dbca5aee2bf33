"""What a steering of the model shows: its texts, and what the gates did."""

from __future__ import annotations

from ...agents.records import Record
from ...sae.generation.texts import Steered
from .views import Scale, View


class Gate(Record):
    """One look of the continuation gate (see `sae.generation.gates`)."""

    token: int
    presence: float
    state: str
    alpha: float


class SteeredText(Record):
    """One text of a steering (see `sae.generation.texts.Written`). kl: nats a token."""

    kind: str
    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    maximum: float
    mean: float
    kl: float
    steered: bool
    gate: tuple[Gate, ...] = ()


#: Stands beside every steering.
NO_CLAIM = (
    "Text of a model with a direction added: it shows what the direction does to this prompt, and says "
    "nothing about safety, since nobody judges here what a text says."
)


class SteeredTexts(View):
    """What the model writes with and without a feature's direction, and along two controls.

    unit: the typical maximum, in which strength is; negative where the direction is taken away.
    prompt_presence: how present the feature is in the prompt (see `sae.generation.gates.Presence`).
    opened: the input gate let steering begin, None without gates.
    """

    feature: int
    prompt: str
    strength: float
    seed: int
    scale: Scale
    prompt_activation: float
    prompt_presence: float
    opened: bool | None
    texts: tuple[SteeredText, ...]
    note: str = NO_CLAIM

    @classmethod
    def of(cls, found: Steered, scale: Scale) -> SteeredTexts:
        """A view of what came of an order."""
        order = found.order
        return cls(
            feature=found.feature,
            prompt=order.prompt,
            strength=-order.strength if order.remove else order.strength,
            seed=order.seed,
            scale=scale,
            prompt_activation=found.prompt_activation,
            prompt_presence=found.prompt_presence,
            opened=found.opened,
            texts=tuple(
                SteeredText(
                    kind=one.kind,
                    tokens=one.pieces,
                    activations=one.activations,
                    maximum=one.maximum,
                    mean=one.mean,
                    kl=one.kl,
                    steered=one.steered,
                    gate=tuple(Gate(**vars(step)) for step in one.steps),
                )
                for one in found.texts
            ),
        )

    @property
    def gate_line(self) -> str:
        """What the gates did, in words; "" without."""
        if self.opened is None:
            return ""
        how = f"the feature's presence in the prompt is {self.prompt_presence:.2f}"
        if not self.opened:
            return f"The input gate stayed closed ({how}, .75 opens it): nothing was steered."
        own = next(one for one in self.texts if one.kind == "feature")
        states = [step.state for step in own.gate]
        changes = [
            f"{state} from token {step.token}"
            for before, state, step in zip(["NORMAL", *states], states, own.gate, strict=False)
            if state != before
        ]
        rest = ", ".join(changes) or "NORMAL throughout"
        return f"The input gate opened ({how}). Continuation gate: {rest}."
