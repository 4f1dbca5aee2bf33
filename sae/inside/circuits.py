"""Circuits: what a feature's pre-activation at one token is the sum of, for sources that can say so.

With attention patterns, the denominators of norms and the nonlinearities of MLPs held as they are in
one pass, everything before a feature is linear, so that its pre-activation is a sum with one term for
each thing that the model wrote: the token's embedding, each head for each token it attends to, each
MLP neuron or upstream feature, and the biases (CircuitLens, Golimblevskaia et al. 2025, section 4;
Dunefsky, Chlenski, Nanda 2024 for transcoders). A source that can do this carries `circuits`, which
is a `Circuits`; `circuits_of` gets it, or says why there is none.
`sagescope.sae.inside.model_circuits.ModelCircuits` is the one of an SAE on its subject model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import SAEError
from ..outputs import TokenWeight
from ..source import FeatureSource


@dataclass(frozen=True)
class UpstreamShare:
    """What the features of one upstream SAE or transcoder add, all in the units of the sum.

    sae: its name. features: int64 [active], those active at the token. values: float32 [active],
    what each adds. error: what the upstream SAE did not reconstruct. bias: its decoder's bias.
    """

    sae: str
    features: np.ndarray
    values: np.ndarray
    error: float
    bias: float


@dataclass(frozen=True)
class CircuitAttribution:
    """The pre-activation of a feature at the last of some tokens, as a sum.

    tokens: the strings of the row up to and with the token that is explained; the BOS token, where
    the SAE has one, is the first and reads "". has_bos: whether it is there. pre_activation: the
    SAE's own. activation: what it makes of it. heads: float32 [layers, heads, tokens], what each head
    brings from each token. neurons: float32 [layers, width], what each MLP neuron adds; rows of
    layers that do not reach the feature, or whose place upstream features take, are 0. embedding,
    position: of the token, and of its place where the model learns one. bias: of all maps on the way,
    the SAE's own among them. All are in
    the units of activations.
    """

    tokens: tuple[str, ...]
    has_bos: bool
    pre_activation: float
    activation: float
    embedding: float
    position: float
    heads: np.ndarray
    neurons: np.ndarray
    upstream: tuple[UpstreamShare, ...]
    bias: float

    @property
    def total(self) -> float:
        """The sum of all contributions: the pre-activation, but for rounding."""
        of_upstream = sum(
            float(one.values.sum(dtype=np.float64)) + one.error + one.bias for one in self.upstream
        )
        of_parts = sum(float(part.sum(dtype=np.float64)) for part in (self.heads, self.neurons))
        return self.embedding + self.position + self.bias + of_parts + of_upstream


@dataclass(frozen=True)
class Read:
    """What one head read at one token, as a sum: its contribution, taken apart at its source.

    layer, head, token: the head, and the place of the token in the row. value: what it brings.
    embedding, position: of that token. attention, mlps: float32 [layers], what earlier layers wrote
    there. bias: of the value map, and of the norm before it.
    """

    layer: int
    head: int
    token: int
    value: float
    embedding: float
    position: float
    attention: np.ndarray
    mlps: np.ndarray
    bias: float

    @property
    def total(self) -> float:
        """The sum: `value`, but for rounding."""
        parts = float(self.attention.sum(dtype=np.float64) + self.mlps.sum(dtype=np.float64))
        return self.embedding + self.position + self.bias + parts


@dataclass(frozen=True)
class PromotedHere:
    """The tokens that a feature's direction pushes most where it is active, and what it suppresses.

    Weights are logits that the direction adds straight to the next token, the final norm's
    denominator held, above the mean of the vocabulary, on average over the places that were asked.
    """

    promoted: tuple[TokenWeight, ...]
    suppressed: tuple[TokenWeight, ...]


class Circuits(Protocol):
    """What features read, and what they write, with everything between held linear."""

    async def attributed(
        self, feature: int, texts: Sequence[str], places: Sequence[int]
    ) -> list[CircuitAttribution]:
        """The feature's pre-activation at one token of each text, taken apart.

        places: which token of each text, counted from 0 without the BOS token. Raises FeatureError
        for a feature that the source does not have, TextError for a text that cannot be run or has no
        such token, SAEError where the model or the SAE is none that can be taken apart.
        """
        ...

    async def reads(self, feature: int, text: str, place: int, n: int = 4) -> list[Read]:
        """What the n heads that bring most to the feature at a token read at their sources."""
        ...

    async def promoted_here(
        self, feature: int, texts: Sequence[str], places: Sequence[int], n: int = 10
    ) -> PromotedHere:
        """The n tokens that the feature promotes and suppresses most at these tokens."""
        ...


def circuits_of(source: FeatureSource) -> Circuits:
    """The circuits of a source. Raises SAEError for one that has none."""
    found: Circuits | None = getattr(source, "circuits", None)
    if found is None:
        raise SAEError(
            f"{source.subject}/{source.sae} has no weights here that could be looked into, as a "
            f"planted function or a remote host has none: take an explainer that needs activations "
            f"alone (sage, one-shot), or load the SAE with its model on this machine."
        )
    return found
