"""Token vectors: the tokens that a feature's weights name, without any text.

A feature that reads the residual stream by an encoder row w reads from what each token t brings
there, E[t], directly

    v[t] = E[t] · w,

its token vector (Golimblevskaia et al. 2025, WeightLens, section 3). Tokens that stand out of it are
candidates for what the feature responds to. Where upstream transcoders are known, the features whose
decoder rows stand out in W_dec w hand their own tokens on. A source may carry `token_vectors`, a
`TokenVectors`; `token_vectors_of` gets it. `sagescope.sae.inside.model_token_vectors` computes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..errors import SAEError
from ..source import FeatureSource


@dataclass(frozen=True)
class OutlierToken:
    """A token that stands out of a feature's token vector.

    token, id: its string and number. alone: whether its string, as a text, is this one token. z:
    standard deviations above the mean of the vocabulary, when it stood out first. share: what it
    adds (its product, less the mean of the vocabulary), as a share of the absolute sum of all that
    stands out; below 0 where it takes away, and stood out only once what other tokens explain was
    taken from the vector. through: the upstream feature that handed it on ("SAE/INDEX"), "" for
    one that the embedding names.
    """

    token: str
    id: int
    alone: bool
    z: float
    share: float
    through: str = ""


@dataclass(frozen=True)
class UpstreamFeature:
    """A feature of an upstream SAE that stands out of what a feature reads. z, share: as of tokens."""

    sae: str
    index: int
    z: float
    share: float


@dataclass(frozen=True)
class TokenVector:
    """What a feature's weights say of tokens.

    tokens: that stand out, the largest share first. upstream: features that do, likewise. threshold:
    z from which a token stands out, such that one of twenty random directions has such a token.
    highest: the largest z of the vocabulary. has_bos: whether a text begins with the BOS token where
    the SAE reads it, so that a token alone stands after that.
    """

    tokens: tuple[OutlierToken, ...]
    upstream: tuple[UpstreamFeature, ...]
    threshold: float
    highest: float
    has_bos: bool


class TokenVectors(Protocol):
    """What features' weights say of tokens."""

    def check(self) -> None:
        """Raise SAEError for an SAE that does not read the residual stream, or not by a row of weights."""
        ...

    async def token_vector(self, feature: int, most: int = 64) -> TokenVector:
        """The tokens that stand out of a feature's token vector, at most so many.

        Raises FeatureError for a feature that the source does not have, SAEError as `check`.
        """
        ...


def token_vectors_of(source: FeatureSource) -> TokenVectors:
    """The token vectors of a source. Raises SAEError for one that has none."""
    found: TokenVectors | None = getattr(source, "token_vectors", None)
    if found is None:
        raise SAEError(
            f"{source.subject}/{source.sae} gives activations and not the weights behind them (a "
            f"function, or a model that runs elsewhere): explain it with `sage`, or take an SAE on "
            f"its model in this process."
        )
    return found
