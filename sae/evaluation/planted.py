"""Precision by activation, where the truth is known.

On text nobody knows when a latent is right to fire, so `evaluate` does not measure this: there the
scorers ask the same of an *explanation* (does it hold at low activation?).
"""

from __future__ import annotations

import numpy as np

QUARTILES = 4


def precision_by_quartile(codes: np.ndarray, matched: np.ndarray) -> tuple[float, ...]:
    """How often a latent is right to fire, from its weakest to its strongest quarter of firings.

    codes: [n, latents], activations. matched: bool [n, latents], whether the feature that each latent
    stands for (see `match`) is there. Quarters are each latent's own (QUARTILES of its non-zero
    activations, equal values, as a binary SAE's, in the order of rows); each quarter is averaged over
    all latents that fire as often as there are quarters.
    """
    found = []
    for code, right in zip(codes.T, matched.T, strict=True):
        fired = np.flatnonzero(code)
        if len(fired) >= QUARTILES:
            order = fired[np.argsort(np.abs(code[fired]), kind="stable")]
            found.append([right[part].mean() for part in np.array_split(order, QUARTILES)])
    return tuple(np.mean(found, axis=0).tolist()) if found else ()


def match(decoder: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """int [latents]: the feature whose direction is nearest to each latent's, by absolute cosine.

    As `ClassificationMetricsCalculator` of `sae_lens.synthetic` does it. decoder: [latents, d].
    truth: [features, d].
    """
    cosines = (decoder / np.linalg.norm(decoder, axis=1, keepdims=True)) @ truth.T
    return np.abs(cosines / np.linalg.norm(truth, axis=1)).argmax(1)
