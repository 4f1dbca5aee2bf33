"""Attention from weights: what one head gives a feature for each key, and where queries look.

For a feature of an SAE on one head's output (`hook_z`), with encoder row w_g, an input k adds, per
unit of attention, S(k) = D_k W_V · w_g to the feature's pre-activation, and a query q asks for it
with the score A(k, q) = (D_k W_K) · (D_q W_Q) × scale (Friedman et al. 2025, section 3). Inputs here
are tokens: D_k is the mean of what the head's block reads where token k stands, after its norm. In
block 0 of a model with rotary positions that depends on nothing else and is exact; deeper it leaves
out what the context does to a token, and `unexplained` says how much that is.

Rotary positions make A depend on the offset between q and k, so it is averaged over the offsets of a
window (log of the mean of exp A, offsets weighted by how often a text of the usual length has
them), and the offset with the highest score is told beside it.

Scores of different queries cannot be compared before the softmax. `Reach.shares` is the share of
its attention that q would give a single k, beside the BOS token, itself and the usual text:
exp A(k, q) / (exp A(k, q) + exp A(BOS, q) + exp A(q, q) + m · mean over text of exp A(·, q)), where m
is half the usual length of a text. This normalisation is ours; the paper ranks by exp(A) · S.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import SAEError
from ..source import FeatureSource


@dataclass(frozen=True)
class HeadInputs:
    """The tokens that one head may attend to and from.

    tokens: n distinct token strings, as texts are cut into them. frequency: float64 [n], each one's
    share of the text. place: which head it is, in words. exact: a token's input depends on nothing
    but the token. unexplained: share of the variance of inputs that the token alone leaves open.
    length: the usual length of a text in tokens.
    """

    tokens: tuple[str, ...]
    frequency: np.ndarray
    place: str
    exact: bool
    unexplained: float
    length: float

    @property
    def assumed(self) -> str:
        """What stands behind the figures, as a sentence."""
        if self.exact:
            return (
                f"{self.place}: inputs are tokens through embedding and norm, which is exact here."
            )
        return (
            f"{self.place}: a token is taken to bring the mean of what it brings in the text, which "
            f"leaves {self.unexplained:.0%} of the variance of the head's inputs out."
        )


@dataclass(frozen=True)
class Values:
    """What attending to an input adds to one feature's pre-activation, in its own units.

    inputs: float32 [n], S of each token, for all of the attention. bos: S of the BOS token, None
    without one. itself: float32 [n], the share of its attention that a token gives itself.
    """

    inputs: np.ndarray
    bos: float | None
    itself: np.ndarray


@dataclass(frozen=True)
class Reach:
    """How queries look at some keys within a window of offsets.

    scores: float32 [keys, n], A averaged over the window. shares: float32 [keys, n] (see module).
    best: int64 [keys, n], the offset, in tokens before the query, with the highest score; 0 where
    scores do not depend on it.
    """

    scores: np.ndarray
    shares: np.ndarray
    best: np.ndarray


class Attention(Protocol):
    """What features of a head's SAE get from attention, by the weights alone."""

    def check(self) -> None:
        """Raise SAEError for an SAE that does not read one attention head, or a head of another kind.

        Quick: nothing of the text is read.
        """
        ...

    async def inputs(self) -> HeadInputs:
        """The head's inputs. Raises SAEError as `check` does."""
        ...

    async def values(self, feature: int) -> Values:
        """S of each input. Raises FeatureError for a feature that the source does not have."""
        ...

    async def reach(self, keys: Sequence[int], window: int | None = None) -> Reach:
        """How every input looks at some keys (places in `inputs`) that stand up to `window` before."""
        ...


def attention_of(source: FeatureSource) -> Attention:
    """The attention of a source. Raises SAEError for one that has none.

    A source has one where a subject model stands behind it; that its SAE does not read one head
    shows when it is asked (`check`).
    """
    found: Attention | None = getattr(source, "attention", None)
    if found is None:
        raise SAEError(
            f"{source.subject}/{source.sae} has no attention head behind it whose weights could be "
            f"read: take an SAE on one head (sagescope train --hook-point blocks.0.attn.hook_z "
            f"--head 0), or the explainer sage."
        )
    return found
