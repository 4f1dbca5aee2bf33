"""The adaptive elastic net against TopK, plain L1 and its own parts, on features that are alike.

Each of 128 features in 64 dimensions is √.2 of its own direction and √.8 of one that all share, so
that any two have a cosine of about .8. Six fire at a time, with magnitudes from 1 to 3. TopK's k is
the L0 that `aen` came to.
"""

from __future__ import annotations

from typing import Any

import torch
from sae_lens.registry import get_sae_training_class
from sae_lens.synthetic import FeatureDictionary

from .planted import dead, explained_variance, fit, l0

FEATURES, WIDE, FIRING, ALIKE = 128, 64, 6, 0.8
#: In the units of the paper, a mean over elements.
AEN = {"l1_coefficient": 0.005, "l2_coefficient": 1e-3, "ramp_steps": 1000}


def figures(seed: int, steps: int = 3000) -> dict[str, float]:
    """Dead latents, L0, explained variance and shrinkage of each, for a seed."""
    torch.manual_seed(seed)
    own = FeatureDictionary(FEATURES, WIDE, initializer=None, seed=seed).feature_vectors.detach()
    shared = torch.nn.functional.normalize(torch.randn(WIDE), dim=0)
    atoms = torch.nn.functional.normalize((1 - ALIKE) ** 0.5 * own + ALIKE**0.5 * shared)
    alike = (atoms @ atoms.T).fill_diagonal_(0)

    def draw(count: int = 256) -> torch.Tensor:
        places = torch.rand(count, FEATURES).topk(FIRING).indices
        return (
            torch.zeros(count, FEATURES).scatter(1, places, 1 + 2 * torch.rand(count, FIRING))
            @ atoms
        )

    def trained(name: str, arch: str, **options: Any) -> dict[str, float]:
        torch.manual_seed(seed)
        sae_class, config_class = get_sae_training_class(arch)
        sae = fit(
            sae_class(config_class(d_in=WIDE, d_sae=FEATURES, **options)),
            draw,
            steps=steps,
            batch=256,
        )
        rows = draw(20_000)
        return {
            f"{name}, L0": l0(sae, rows),
            f"{name}, dead": dead(sae, rows),
            f"{name}, explained variance": explained_variance(sae, rows),
            f"{name}, shrinkage": shrinkage(sae, rows),
        }

    found = {"coherence": float(alike.sum() / (FEATURES * (FEATURES - 1)))}
    found |= trained("aen", "aen", **AEN)
    k = max(1, round(found["aen, L0"]))
    return (
        found
        | trained("TopK", "topk", k=k)
        | trained("TopK without revival", "topk", k=k, aux_loss_coefficient=0.0)
        | trained("aen without l2", "aen", **AEN | {"l2_coefficient": 0.0})
        | trained("plain L1", "standard", l1_coefficient=0.01 * WIDE)
    )


@torch.no_grad()
def shrinkage(sae: Any, rows: torch.Tensor) -> float:
    """The mean of |x̂| / |x|, as `sae_lens.synthetic` has it: 1 where nothing shrinks."""
    return float((sae(rows).norm(dim=-1) / rows.norm(dim=-1)).mean())
