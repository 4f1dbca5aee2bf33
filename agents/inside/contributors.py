"""Samples of what a feature fires on, and what contributes to it in each (CircuitLens, step 1 to 3)."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...sae.evidence import SplitEvidence
from ...sae.inside.circuits import CircuitAttribution
from ..rules.language import SHAPES

#: Bins of the activation, how many places are drawn, and the exponent of a bin's size.
BINS, PLACES, EXPONENT = 20, 100, 0.9
#: Contributors of one sample: the strongest.
STRONGEST = 32
#: Sources further back than this are not told apart.
FAR = 8
#: Shapes by which the token that a head reads from is named, the first that fits.
_CLASSES = (
    "white space",
    "digits",
    "number with digits",
    "sentence end",
    "quotation mark",
    "bracket",
    "punctuation",
    "all capitals",
    "capitalised",
    "lower case",
)


@dataclass(frozen=True)
class Place:
    """A token of a corpus on which the feature is active: its number in the split, window and place there."""

    token: int
    window: int
    place: int


def drawn(split: SplitEvidence, feature: int, n: int = PLACES, seed: int = 0) -> list[Place]:
    """At most n tokens on which a feature is active, its whole range among them.

    The range up to the maximum is cut into BINS of equal width; a token in a bin of b tokens is drawn
    with weight 1 / b^EXPONENT, so that all bins have nearly equal shares.
    """
    values = split.activations(feature)
    active = np.flatnonzero(values > 0)
    if not len(active):
        return []
    edges = np.linspace(0, float(values[active].max()), BINS + 1)[1:-1]
    bins = np.digitize(values[active], edges)
    weights = np.bincount(bins, minlength=BINS)[bins] ** -EXPONENT
    draw = np.random.default_rng([seed, feature])
    chosen = draw.choice(
        active, min(n, len(active)), replace=False, p=weights / weights.sum()
    )  # fmt: skip
    table = split.tokens
    return [
        Place(int(token), int(table.window_of[token]), int(table.position[token]))
        for token in np.sort(chosen)
    ]


@dataclass(frozen=True)
class Head:
    """A head that brings something from `offset` tokens away (None: from the BOS token).

    source: what kind of token it reads there.
    """

    layer: int
    head: int
    offset: int | None
    source: str = ""


@dataclass(frozen=True)
class Neuron:
    """A neuron of an MLP."""

    layer: int
    neuron: int


@dataclass(frozen=True)
class UpstreamFeature:
    """A feature of an upstream SAE."""

    sae: str
    feature: int


@dataclass(frozen=True)
class Embedding:
    """The embedding of the token itself, by its word."""

    word: str


def contributors(found: CircuitAttribution, strongest: int = STRONGEST) -> dict[Hashable, float]:
    """What adds most to a pre-activation, the strongest first, and how much."""
    values: dict[Hashable, float] = {}
    if found.embedding > 0:
        values[Embedding(found.tokens[-1].strip().casefold())] = found.embedding
    for layer, head, token in _largest(found.heads, strongest):
        key = head_at(found, layer, head, token)
        values[key] = values.get(key, 0.0) + float(found.heads[layer, head, token])
    for layer, neuron in _largest(found.neurons, strongest):
        values[Neuron(layer, neuron)] = float(found.neurons[layer, neuron])
    for share in found.upstream:
        for number in np.argsort(-share.values)[:strongest]:
            if share.values[number] > 0:
                key = UpstreamFeature(share.sae, int(share.features[number]))
                values[key] = float(share.values[number])
    order = sorted(values, key=lambda one: -values[one])[:strongest]
    return {one: values[one] for one in order}


def head_at(found: CircuitAttribution, layer: int, head: int, token: int) -> Head:
    """A head with where it reads from: the offset, from FAR on not told apart, and the kind of token."""
    if found.has_bos and token == 0:
        return Head(layer, head, None)
    offset = token - (len(found.tokens) - 1)
    return Head(layer, head, max(offset, -FAR), token_class(found.tokens[token]))


@lru_cache(maxsize=1 << 14)
def token_class(token: str) -> str:
    """The first shape that a token has, of those that heads' sources are named by."""
    bare = token.strip()
    return next((name for name in _CLASSES if re.fullmatch(SHAPES[name], bare)), "other")


def _largest(values: np.ndarray, n: int) -> list[tuple[int, ...]]:
    """The places of the n largest values above zero."""
    if not values.size:
        return []
    n = min(n, values.size)
    best = np.argpartition(-values, n - 1, axis=None)[:n]
    places: Sequence[tuple[int, ...]] = [
        tuple(int(part) for part in np.unravel_index(number, values.shape)) for number in best
    ]
    return [place for place in places if values[place] > 0]
