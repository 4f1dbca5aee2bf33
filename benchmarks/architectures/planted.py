"""Training on planted data, and what is measured of what was trained."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import sagescope.sae.architectures  # noqa: F401 – registers them


@dataclass(frozen=True)
class SparseWorld:
    """Features that fire independently of each other, `active` at a time on average.

    directions: [features, width], of norm 1. Magnitudes are uniform from .5 to 1.5.
    """

    directions: torch.Tensor
    active: float

    @classmethod
    def of(cls, seed: int, *, features: int, width: int, active: float) -> SparseWorld:
        """Random directions."""
        draw = torch.Generator().manual_seed(seed)
        directions = torch.randn(features, width, generator=draw)
        return cls(directions / directions.norm(dim=-1, keepdim=True), active)

    @property
    def width(self) -> int:
        """Numbers a row."""
        return self.directions.shape[1]

    def codes(self, count: int, seed: int | None = None) -> torch.Tensor:
        """What the features do in `count` rows: [count, features]. Without a seed, torch's own."""
        draw = None if seed is None else torch.Generator().manual_seed(seed)
        features = len(self.directions)
        fires = torch.rand(count, features, generator=draw) < self.active / features
        return fires * (0.5 + torch.rand(count, features, generator=draw))

    def draw(self, count: int, seed: int | None = None) -> torch.Tensor:
        """Rows [count, width]."""
        return self.codes(count, seed) @ self.directions


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


def loaded(sae: Any) -> Any:
    """What SAELens loads after the SAE was saved: what a user has of it."""
    from sae_lens import SAE

    with tempfile.TemporaryDirectory() as folder:
        sae.save_inference_model(folder)
        return SAE.load_from_disk(folder).eval()


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
