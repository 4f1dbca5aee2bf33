"""How far an SAE's latents are determined by the data, and not by how the training began.

The practical side of Squires & Ravikumar, "A Unifying Framework for Unsupervised Concept Extraction"
(arXiv 2604.24936): concepts are identified where every change that keeps both the kind of their
distribution and the kind of their mixing is trivial. Four things can be looked at:

| side | what | see |
|---|---|---|
| mixing | coherence, spark, condition of the decoder | `Mixing` |
| distribution | which latents never fire without which | `Support` |
| outcome | how alike SAEs of other seeds are, beside chance | `evaluation.stability` |
| witness | another pair of directions that does as well | `turn_of` |

Reconstruction says nothing of this: on data whose features fire in fixed pairs it is *better* than on
data whose features can be found (see `benchmarks/identifiability.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

#: Two latents are tied each of which has this share of its energy (the sum of its squared
#: activations) where the other fires as well. Weak firings that an SAE mixes in count for little
#: that way. On planted data whose features fire independently, two latents reach .16; beside fixed
#: pairs, two that stand for none of them together reach .52 (seeds 20 to 22).
TIED = 0.55
#: A latent is never alone that has a partner on this share of the tokens on which it fires.
ALWAYS = 0.9
#: Latents that fire on fewer tokens are in no pair: too little is known of them.
LEAST = 20

#: Turns of either direction that a witness is looked for among, in degrees.
TURNS = tuple(range(-45, 46, 5))
#: The share of a pair's energy that a witness may lose. A turn of 5 degrees loses .0076 of a latent
#: that fires alone, so that pairs which do separate have no witness.
LOST = 0.005
#: A pair is ambiguous from this turn on, in degrees.
AMBIGUOUS = 10.0
#: Tokens that a witness is tried on.
TRIED = 2000

#: Sets of latents of each size that are tried for linear dependence, half of them near each other.
SETS = 8
#: A set is dependent whose smallest singular value is below this share of its largest.
DEPENDENT = 1e-4


@dataclass(frozen=True)
class Mixing:
    """The decoder of the living latents, its rows scaled to length 1.

    coherence: highest absolute cosine of two latents. spark: size of the smallest set of latents
    that depend on each other linearly. spark_certain: it is at least 1 + 1/coherence. spark_sampled:
    no smaller dependent set was among those tried, random and near ones: likely, not certain.
    condition: largest over smallest eigenvalue of the Gram matrix, its zeros (there are more latents
    than dimensions) left out. l0_bound: (1 + 1/coherence)/2: below this L0 any code is the only one
    so sparse. Real SAEs lie far above it; it is a diagnostic, no verdict.
    """

    coherence: float
    spark_certain: float
    spark_sampled: int
    condition: float
    l0_bound: float

    @classmethod
    def of(cls, decoder: np.ndarray, seed: int = 0) -> Mixing:
        """decoder: [latents, d], two or more that are not zero."""
        rows = decoder / np.linalg.norm(decoder, axis=1, keepdims=True)
        cosines = np.abs(rows @ rows.T)
        np.fill_diagonal(cosines, 0)
        coherence = float(cosines.max())
        bound = 1 + 1 / max(coherence, 1e-9)
        values = np.linalg.svd(rows, compute_uv=False)
        values = values[values > DEPENDENT * values[0]]
        return cls(
            coherence=coherence,
            spark_certain=min(bound, len(rows) + 1),
            spark_sampled=_sampled_spark(rows, cosines, seed),
            condition=float((values[0] / values[-1]) ** 2),
            l0_bound=bound / 2,
        )


def _sampled_spark(rows: np.ndarray, cosines: np.ndarray, seed: int) -> int:
    """The smallest size, about doubling, at which a tried set is dependent; at most d + 1."""
    draw = np.random.default_rng(seed)
    most = min(rows.shape)
    size = 2
    while size <= most:
        for number in range(SETS):
            first = int(draw.integers(len(rows)))
            near = number % 2 == 1
            order = np.argsort(-cosines[first]) if near else draw.permutation(len(rows))
            chosen = rows[[first, *order[order != first][: size - 1]]]
            values = np.linalg.svd(chosen, compute_uv=False)
            if values[-1] < DEPENDENT * values[0]:
                return size
        if size == most:
            break
        size = min(2 * size, most)
    return most + 1


@dataclass(frozen=True)
class Pair:
    """Two latents that are tied, a < b.

    together: tokens on which both fire. overlap: the share of its energy that each has on these, of
    the two the smaller one. turn: see `turn_of`, in degrees.
    """

    a: int
    b: int
    together: int
    overlap: float
    turn: float

    @property
    def ambiguous(self) -> bool:
        """Whether other directions do as well, so that neither may be claimed as a concept."""
        return self.turn >= AMBIGUOUS


@dataclass(frozen=True)
class Support:
    """Which latents fire without which, on the tokens that were looked at.

    l0: latents that fire on a token. living: how many fire at all. known: how many of them often
    enough (LEAST). diversity: the median over these of 1 - max_j P(j fires | it fires), how often a
    latent is seen without the partner that it has most. never_alone: the share of them that has
    a partner on at least ALWAYS of its tokens; the partner may fire elsewhere, too. pairs: those that
    are tied. tied_rate: their share of all pairs that ever fire together.
    """

    l0: float
    living: int
    known: int
    diversity: float
    never_alone: float
    pairs: tuple[Pair, ...]
    tied_rate: float

    @classmethod
    def of(cls, codes: Any, decoder: np.ndarray) -> Support:
        """codes: sparse [tokens, latents] of scipy. decoder: [latents, d]."""
        from scipy.sparse import csc_array, csr_array, triu

        codes = csc_array(codes)
        codes.eliminate_zeros()
        fired = np.diff(codes.indptr)
        known = np.flatnonzero(fired >= LEAST)
        counts = fired[known]
        ones = csc_array(
            (np.ones(codes.nnz, np.float32), codes.indices, codes.indptr), shape=codes.shape
        )[:, known]
        upper = triu(ones.T @ ones, k=1).tocoo()
        both = upper.data
        squares = codes[:, known].power(2)
        own = np.asarray(squares.sum(axis=0)).ravel()[:, None]
        each: Any = csr_array(csc_array(squares.T @ ones) / own)
        shared = each.minimum(csr_array(each.T))
        overlap: Any = both
        if len(both):
            overlap = np.minimum(1.0, np.asarray(shared[upper.row, upper.col]).ravel())
        most = np.zeros(len(known))
        np.maximum.at(most, upper.row, both / counts[upper.row])
        np.maximum.at(most, upper.col, both / counts[upper.col])
        tied = np.flatnonzero((overlap >= TIED) & (both >= LEAST))
        pairs = []
        for place in tied[np.argsort(-overlap[tied], kind="stable")]:
            a, b = sorted((int(known[upper.row[place]]), int(known[upper.col[place]])))
            turn = turn_of(codes[:, [a, b]].toarray(), decoder[[a, b]])
            pairs.append(Pair(a, b, int(both[place]), float(overlap[place]), turn))
        return cls(
            l0=codes.nnz / max(1, codes.shape[0]),
            living=int((fired > 0).sum()),
            known=len(known),
            diversity=float(np.median(1 - most)) if len(known) else 0.0,
            never_alone=float((most >= ALWAYS).mean()) if len(known) else 0.0,
            pairs=tuple(pairs),
            tied_rate=len(pairs) / max(1, len(both)),
        )


def turn_of(codes: np.ndarray, decoder: np.ndarray) -> float:
    """How far a pair's directions can be turned, within their plane, without being found out.

    codes: [tokens, 2]. decoder: [2, d]. Either direction is turned by one of TURNS, and the pair's
    codes are found anew: on each token at most as many as before fire, none negative unless some were.
    A turn counts that loses at most LOST of the pair's energy: then data and sparsity cannot tell
    the new directions from the old. Returns the mean turn of the two, in degrees, of those furthest
    away; 0 where there are none, and 90 for two that have the same direction.
    """
    codes = codes[codes.any(1)]
    codes = codes[:: max(1, len(codes) // TRIED)]
    both = (codes != 0).all(1)
    lengths = np.linalg.norm(decoder, axis=1)
    unit = decoder / lengths[:, None]
    cosine = float(np.clip(unit[0] @ unit[1], -1, 1))
    sine = np.sqrt(1 - cosine**2)
    if sine < 0.05:
        return 90.0
    plane = np.array([[1.0, 0.0], [cosine, sine]])
    points = (codes * lengths) @ plane
    signed = bool((codes < 0).any())
    furthest = 0.0
    for first in TURNS:
        for second in TURNS:
            turn = (abs(first) + abs(second)) / 2
            turned = np.stack([_turned(plane[0], first), _turned(plane[1], second)])
            if turn > furthest and _lost(points, turned, both, signed) <= LOST:
                furthest = turn
    return furthest


def _turned(direction: np.ndarray, degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn @ direction


def _lost(points: np.ndarray, pair: np.ndarray, both: np.ndarray, signed: bool) -> float:
    """The share of the energy of `points` [n, 2] that the best codes on `pair` [2, 2] lose.

    both: bool [n], where both may fire; elsewhere only one.
    """
    energy = (points**2).sum(1)
    alone = points @ pair.T
    if not signed:
        alone = np.maximum(alone, 0)
    lost = energy - (alone**2).max(1)
    if abs(np.linalg.det(pair)) > 0.05:
        solved = points @ np.linalg.inv(pair)
        exact = both if signed else both & (solved >= 0).all(1)
        lost = np.where(exact, 0.0, lost)
    return float(lost.sum() / max(energy.sum(), 1e-12))
