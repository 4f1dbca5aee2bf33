"""What is added up over batches, for one SAE."""

from __future__ import annotations

import numpy as np
import torch

from .figures import DENSITY_EDGES, Evaluation
from .passes import Encoded, SharedPass
from .stability import Stability


class Sums:
    """Everything that an `Evaluation` is made of. features: how many latents there are."""

    def __init__(self, features: int):
        self.tokens = self.loss_tokens = 0
        self.error = self.square = 0.0
        self.total: torch.Tensor | float = 0.0
        self.fired = np.zeros(features, np.int64)
        self.losses = np.zeros(3)
        self.smoothness: list[float] = []

    def add(self, batch: Encoded, lengths: list[int]) -> None:
        """One batch. lengths: of its windows, in tokens."""
        target = batch.target.double()
        self.tokens += len(target)
        self.error += float((target - batch.made.double()).square().sum())
        self.square += float(target.square().sum())
        self.total = self.total + target.sum(0).cpu()
        self.fired += (batch.codes != 0).sum(0).cpu().numpy()
        windows = zip(batch.codes.split(lengths), batch.inputs.split(lengths), strict=True)
        found = [smoothness(codes, inputs) for codes, inputs in windows]
        self.smoothness += [one for one in found if one is not None]

    def add_losses(self, shared: SharedPass, batch: Encoded) -> None:
        """The losses on one batch."""
        as_it_is, without = shared.losses
        self.losses += [as_it_is, shared.loss_with(batch), without]
        self.loss_tokens += len(batch.target)

    def evaluation(self, stability: Stability | None) -> Evaluation:
        """What it all comes to."""
        assert isinstance(self.total, torch.Tensor)
        variance = self.square - float(self.total.square().sum()) / self.tokens
        density = self.fired / self.tokens
        loss, with_sae, without = (self.losses / max(1, self.loss_tokens)).tolist()
        alive = density[density > 0]
        counts, _ = np.histogram(np.log10(alive), DENSITY_EDGES)
        return Evaluation(
            tokens=self.tokens,
            loss_tokens=self.loss_tokens,
            explained=1 - self.error / variance,
            l0=float(density.sum()),
            loss=loss,
            loss_with_sae=with_sae,
            loss_without=without,
            dead=1 - len(alive) / len(density),
            highest_density=float(density.max()),
            densities=tuple(counts.tolist()),
            smoothness=float(np.mean(self.smoothness)) if self.smoothness else None,
            stability=stability,
        )


def smoothness(codes: torch.Tensor, inputs: torch.Tensor) -> float | None:
    """T-SAE's S of one window, see `Evaluation`. codes: [n, latents]. inputs: [n, d].

    None where no two neighbouring tokens differ, or nothing fires.
    """
    distance = (inputs[1:] - inputs[:-1]).float().norm(dim=-1)
    moved = distance > 0
    active = (codes != 0).any(0)
    if not moved.any() or not active.any():
        return None
    own = codes[:, active].float()
    steps = (own[1:] - own[:-1]).abs()[moved] / distance[moved, None]
    return float(steps.amax(0).mean())
