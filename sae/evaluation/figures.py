"""What is measured of an SAE, and by whose definition."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .stability import Stability

#: Edges of the histogram of densities, in powers of ten.
DENSITY_EDGES = (-6.0, -5.0, -4.5, -4.0, -3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0)


@dataclass(frozen=True)
class Evaluation:
    """What was measured, on `tokens` tokens (losses: on the first `loss_tokens` of them).

    explained: `explained_variance` of `sae_lens.evals` (SAEBench's `explained_variance` over all
    dimensions): 1 less the squared error of the reconstruction over that of the mean activation.
    l0: `l0` of both, latents that fire (are not zero) on a token, on average.
    loss, loss_with_sae, loss_without: `ce_loss_without_sae`, `ce_loss_with_sae` and
    `ce_loss_with_ablation` of both: next-token cross-entropy (nats a token) of the model as it is,
    with the reconstruction in place of the activations, and with zeros there.
    dead: share of latents that fired on no token; with more tokens it falls.
    densities: how many latents have a density (SAEBench's `freq_over_all_tokens`: share of tokens
    on which they fire) between the powers of ten in DENSITY_EDGES; those that never fired are in
    none. highest_density: the highest of them all, which tells latents that are always on.
    smoothness: S of T-SAE (arXiv 2511.05541), lower is smoother: the highest
    |f(x_t) - f(x_{t-1})| / ||x_t - x_{t-1}|| within a window, averaged over the latents that fire in
    it, then over windows. It has the unit of activations over inputs: compare SAEs of one hook
    point. None without two tokens in any window.
    stability: how alike SAEs of the same kind with other seeds are; None without others.
    """

    tokens: int
    loss_tokens: int
    explained: float
    l0: float
    loss: float
    loss_with_sae: float
    loss_without: float
    dead: float
    highest_density: float
    densities: tuple[int, ...]
    smoothness: float | None
    stability: Stability | None = None

    @property
    def loss_recovered(self) -> float:
        """`ce_loss_score` of SAELens and SAEBench: (loss_without - loss_with_sae) / (loss_without - loss).

        1 where the reconstruction does as well as the activations, 0 where as badly as zeros
        (zero ablation at the hook point, the BOS position spared).
        """
        return (self.loss_without - self.loss_with_sae) / (self.loss_without - self.loss)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            **asdict(self),
            "density_edges": DENSITY_EDGES,
            "loss_recovered": self.loss_recovered,
        }
