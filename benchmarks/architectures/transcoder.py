"""Transcoder: 64 sparse features, read in one space of 32 dimensions and written to another of 24.

The transcoder (m = 128, k = 4) never sees the features. Beside what it explains of what is to be
made stands the linear map that explains most.
"""

from __future__ import annotations

import torch

from . import planted

LATENTS, K, OUT = 128, 4, 24
STEPS, BATCH, LR = 1500, 128, 3e-3


def figures(seed: int) -> dict[str, float]:
    """Variance explained of the output, by the transcoder and linearly, and the features found."""
    from sae_lens.synthetic import mean_correlation_coefficient

    world = planted.SparseWorld.of(seed, features=64, width=32, active=4)
    written = planted.SparseWorld.of(seed + 100, features=64, width=OUT, active=4).directions
    torch.manual_seed(seed)
    coder = planted.loaded(trained(world, written))
    codes = world.codes(8192, seed=1000 + seed)
    rows, wanted = codes @ world.directions, codes @ written
    with torch.no_grad():
        made, fires = coder(rows), coder.encode(rows)
    linear = torch.linalg.lstsq(rows, wanted).solution
    variance = (wanted - wanted.mean(0)).square().sum()
    return {
        "explained variance": float(1 - (made - wanted).square().sum() / variance),
        "explained variance, linear map": float(
            1 - (rows @ linear - wanted).square().sum() / variance
        ),
        "L0": float((fires > 0).float().sum(-1).mean()),
        "directions written, matched cosine": mean_correlation_coefficient(
            coder.W_dec.detach(), written
        ),
    }


def trained(world: planted.SparseWorld, written: torch.Tensor):
    """A transcoder from this world's directions to those that are written [features, OUT]."""
    from sagescope.sae.architectures.transcoder import (
        TrainingTranscoder,
        TranscoderTrainingConfig,
    )

    coder = TrainingTranscoder(
        TranscoderTrainingConfig(d_in=world.width, d_out=OUT, d_sae=LATENTS, k=K)
    )

    def both() -> torch.Tensor:
        codes = world.codes(BATCH)
        return torch.cat([codes @ world.directions, codes @ written], dim=-1)

    return planted.fit(coder, both, steps=STEPS, batch=BATCH, lr=LR)
