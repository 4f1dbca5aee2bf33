"""Variational SAE: what its divergence costs, on sparse codes of 64 features in 32 dimensions.

Each feature fires with probability 1/16 (4 at a time), magnitudes around 1. The SAE (m = 128,
k = 4) is trained with a fixed variance and growing coefficients, and with a learned one, without
the loss that revives dead latents, as the published ones were.
"""

from __future__ import annotations

import torch

from . import planted

LATENTS, K = 128, 4
STEPS, BATCH, LR = 600, 128, 3e-3

#: Coefficients with a fixed variance, and with a learned one.
FIXED, LEARNED = (0.0, 0.1, 1.0), (0.01, 10.0)


def figures(seed: int) -> dict[str, float]:
    """Dead share and variance unexplained by coefficient, and whether the codes collapsed."""
    from sagescope.sae.architectures.vsae import has_collapsed

    world = planted.SparseWorld.of(seed, features=64, width=32, active=4)
    rows = world.draw(8192, seed=1000 + seed)
    found = {}
    for variance, coefficients in (("fixed", FIXED), ("learned", LEARNED)):
        for coefficient in coefficients:
            sae = trained(world, seed, variance, coefficient)
            collapsed = has_collapsed(sae, rows)
            saved = planted.loaded(sae)
            of = f"{variance}, coefficient {coefficient:g}: "
            found |= {
                f"{of}dead": planted.dead(saved, rows),
                f"{of}variance unexplained": 1 - planted.explained_variance(saved, rows),
                f"{of}collapsed": float(collapsed),
            }
    return found


def trained(world: planted.SparseWorld, seed: int, variance: str, coefficient: float):
    """A variational SAE of this world."""
    from sagescope.sae.architectures.vsae import (
        VariationalTrainingSAE,
        VariationalTrainingSAEConfig,
    )

    torch.manual_seed(seed)
    sae = VariationalTrainingSAE(
        VariationalTrainingSAEConfig(
            d_in=world.width,
            d_sae=LATENTS,
            k=K,
            variance=variance,
            kl_coefficient=coefficient,
            kl_warm_up_steps=STEPS // 10,
            aux_loss_coefficient=0.0,
        )
    )
    return planted.fit(sae, lambda: world.draw(BATCH), steps=STEPS, batch=BATCH, lr=LR)
