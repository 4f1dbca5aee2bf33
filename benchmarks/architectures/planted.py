"""Training on planted data, and what is measured of what was trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import sagescope.sae.architectures  # noqa: F401 – registers them


def fit(
    sae: Any,
    draw: Callable[[], torch.Tensor],
    *,
    steps: int,
    batch: int,
    lr: float = 1e-3,
    dead_after: int = 200,
) -> Any:
    """Train an SAE with SAELens's trainer and return it, in eval mode.

    draw gives the rows of one step, of which `batch` count (of pairs, half of them). lr warms up
    over the first 5 % of the steps and falls linearly to a tenth over the last 30 %. A latent is
    dead that has not fired for `dead_after` steps.
    """
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    trainer = SAETrainer(
        SAETrainerConfig(
            total_training_samples=steps * batch,
            train_batch_size_samples=batch,
            lr=lr,
            lr_end=lr / 10,
            lr_warm_up_steps=steps // 20,
            lr_decay_steps=steps * 3 // 10,
            dead_feature_window=dead_after,
            n_batches_for_norm_estimate=1,
            autocast=False,
            device="cpu",
            n_checkpoints=0,
            checkpoint_path=None,
            save_final_checkpoint=False,
        ),
        sae,
        iter(()),  # its own loop, which draws from here, is not used
    )
    for _ in range(steps):
        trainer.step(draw())
        trainer.n_training_steps += 1
    return sae.eval()


@torch.no_grad()
def explained_variance(sae: Any, rows: torch.Tensor) -> float:
    """1 - the fraction of variance unexplained, of rows [n, d]."""
    error = (sae.decode(sae.encode(rows)) - rows).square().sum()
    return float(1 - error / (rows - rows.mean(0)).square().sum())


@torch.no_grad()
def dead(sae: Any, rows: torch.Tensor) -> float:
    """The share of latents that fire on none of the rows [n, d]."""
    return float((sae.encode(rows) == 0).all(0).float().mean())


@torch.no_grad()
def l0(sae: Any, rows: torch.Tensor) -> float:
    """How many latents fire on a row [n, d], on average."""
    return float((sae.encode(rows) != 0).float().sum(-1).mean())
