"""How alike two dictionaries are: stability over seeds, beside what chance alone gives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from ..loading import LoadedSAE

#: Latents of one dictionary that are matched; of wider ones so many are drawn. Bounds memory.
MATCHED = 4096

#: Settings of a training that may differ between SAEs of the same kind.
MAY_DIFFER = {"seed", "checkpoints", "weights"}


@dataclass(frozen=True)
class Stability:
    """How alike SAEs of one kind are. others: how many, beside the one that this is about.

    alike: mean correlation coefficient of their decoders, over the others, 0 to 1. floor: that of
    random dictionaries of the same sizes.
    """

    others: int
    alike: float
    floor: float


def mean_correlation(one: np.ndarray, other: np.ndarray, seed: int = 0) -> float:
    """SAELens's `mean_correlation_coefficient` (arXiv 2505.20254) of two dictionaries.

    one, other: [latents, d]. Latents are matched one to one so that the mean of the absolute cosines
    is highest (Hungarian algorithm); that mean is it, over as many as the smaller one has. Of more
    than MATCHED latents, so many of `one` are drawn by `seed` and matched to all of `other`.
    """
    import torch
    from sae_lens.synthetic import mean_correlation_coefficient

    if len(one) > MATCHED:
        one = np.random.default_rng(seed).permutation(one)[:MATCHED]
    sides = (torch.tensor(np.ascontiguousarray(side, np.float32)) for side in (one, other))
    return mean_correlation_coefficient(*sides)


def random_floor(one: int, other: int, d: int, seed: int = 0) -> float:
    """The mean correlation of two dictionaries of random directions: latents of each, width."""
    draw = np.random.default_rng([one, other, d, seed])
    return mean_correlation(draw.normal(size=(one, d)), draw.normal(size=(other, d)), seed)


def stabilities(decoders: Sequence[np.ndarray], kinds: Sequence[str]) -> list[Stability | None]:
    """For each dictionary, how alike those of the same kind are; None for one without others.

    decoders: [living latents, d] each: a latent that never fires is where it began, by chance.
    """
    alike: dict[tuple[int, int], tuple[float, float]] = {}
    for a, b in combinations(range(len(decoders)), 2):
        one, other = decoders[a], decoders[b]
        if kinds[a] == kinds[b] and len(one) and len(other):
            sizes = (len(one), len(other), one.shape[1])
            alike[a, b] = mean_correlation(one, other), random_floor(*sizes)
    found: list[Stability | None] = []
    for place in range(len(decoders)):
        own = [pair for places, pair in alike.items() if place in places]
        means = np.mean(own, axis=0).tolist() if own else None
        found.append(Stability(len(own), *means) if means else None)
    return found


def kind_of(sae: LoadedSAE, folder: Path) -> str:
    """What SAEs of other seeds share: their training's settings, or else those that were saved.

    folder: where the SAE lies, which has the settings where `sagescope train` made it.
    """
    record = folder / "train.json"
    if record.is_file():
        settings = json.loads(record.read_text())
    else:
        settings = sae.module.cfg.to_dict()
        about = settings.pop("metadata", {})
        settings["hook_name"] = about.get("hook_name")
    kept = {name: value for name, value in settings.items() if name not in MAY_DIFFER}
    return json.dumps(kept, sort_keys=True, default=str)


def decoder_of(sae: LoadedSAE, living: np.ndarray) -> np.ndarray:
    """The directions that latents write: [living, d], float32. living: bool or numbers."""
    return sae.module.W_dec.detach().float().cpu().numpy()[living]
