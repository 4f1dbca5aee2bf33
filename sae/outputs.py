"""Outputs: what a feature does to the model's next token, for sources that can say so.

A source may likewise carry `losses`, a `Losses`; `losses_of` gets it.

Most feature sources only say where a feature fires. One that has a model behind it may carry
`outputs`, which is an `Outputs`; `outputs_of` gets it, or says that there is none.
`sagescope.sae.model_outputs.ModelOutputs` is the one of an SAE on its subject model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .errors import SAEError
from .source import FeatureSource


@dataclass(frozen=True)
class TokenWeight:
    """A token of the vocabulary, by its string and id, with its logit weight (see Promoted)."""

    token: str
    id: int
    weight: float


@dataclass(frozen=True)
class Promoted:
    """What a feature's direction says of the next token directly, past all later blocks.

    weights: logits for each unit of the direction, above the mean of the vocabulary. promoted: the
    highest, highest first. suppressed: the lowest, lowest first.
    """

    promoted: tuple[TokenWeight, ...]
    suppressed: tuple[TokenWeight, ...]


@dataclass(frozen=True)
class TokenShift:
    """What steering does to one token, on average over the prompts.

    token, id: its string and number. shift: change of its log-probability (nats). control: the same
    under the random direction. probability: with steering.
    """

    token: str
    id: int
    shift: float
    control: float
    probability: float


@dataclass(frozen=True)
class PromptSteering:
    """What steering does to the token after one prompt.

    kl, control_kl: as in Steering. shifts, controls: change of the log-probability (nats) of each
    token that was watched, for the feature's direction and for the random one. before, after: the
    likeliest tokens without and with steering, the likeliest first.
    """

    kl: float
    control_kl: float
    shifts: tuple[float, ...]
    controls: tuple[float, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Steering:
    """Change of the next-token distribution after `prompts` texts when a feature is steered.

    strength: what was added, in typical maxima of the feature. rises, falls: the tokens whose
    log-probability changes most, the largest change first. kl, control_kl: mean over the prompts of
    KL(steered ‖ unsteered) in nats, for the feature's direction and for a random one of equal norm.
    by_prompt: the same for each prompt, in the order in which they were given.
    """

    strength: float
    prompts: int
    rises: tuple[TokenShift, ...]
    falls: tuple[TokenShift, ...]
    kl: float
    control_kl: float
    by_prompt: tuple[PromptSteering, ...] = ()


class Outputs(Protocol):
    """What features do to the model's next token."""

    async def promoted(self, feature: int, n: int = 10) -> Promoted:
        """The n tokens that the feature promotes most, and the n that it suppresses most.

        Raises FeatureError for a feature that the source does not have, SAEError where the
        feature's direction has no direct way to the logits.
        """
        ...

    async def steered(
        self,
        feature: int,
        prompts: Sequence[str],
        strength: float = 1.0,
        n: int = 10,
        seed: int = 0,
        watched: Sequence[int] = (),
    ) -> Steering:
        """What adding the feature's direction changes of the next token after each prompt.

        strength: in typical maxima of the feature; may be negative. n: tokens listed on each side.
        seed: of the random direction. watched: ids of tokens that are followed at each prompt,
        whatever they do. Raises FeatureError for a feature that the source does not have or that never fires on the corpus, TextError for a prompt that cannot be run, SAEError
        where the model cannot be steered at the SAE's hook point or by so much.
        """
        ...


def outputs_of(source: FeatureSource) -> Outputs:
    """The outputs of a source. Raises SAEError for one that has none."""
    found: Outputs | None = getattr(source, "outputs", None)
    if found is None:
        raise SAEError(
            f"{source.subject}/{source.sae} says where its features fire and not what they do to a "
            f"next token: take an explainer of the input side, or an SAE on its model."
        )
    return found


class Losses(Protocol):
    """How well the subject model foretells texts."""

    async def losses(self, prefix: str, texts: Sequence[str]) -> np.ndarray:
        """float64 [n]: the model's mean loss (nats) over the tokens of each text, after the prefix.

        Raises TextError for a text without a token, or too long.
        """
        ...


def losses_of(source: FeatureSource) -> Losses:
    """The losses of a source. Raises SAEError for one that has none."""
    found: Losses | None = getattr(source, "losses", None)
    if found is None:
        raise SAEError(
            f"{source.subject}/{source.sae} has no language model behind it that foretells text: "
            f"take an SAE on its model."
        )
    return found
