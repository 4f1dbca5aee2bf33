"""The graph-regularised SAE (`gsae`): decoder directions are smooth over neurons that fire together.

GSAE 2025 (arXiv 2512.06655), after its text and its released code. It is a ReLU SAE with a graph
over the d_in numbers of its input ("neurons"): two are joined where their activations correlate by
at least `edge_threshold`. With L the graph's normalised Laplacian, w_f a decoder row and h the
codes, the loss is the mean over the batch of

    |x - x̂|² + l1_coefficient · Σ_f |w_f| h_f + d_in · graph_coefficient · mean_f (w_fᵀ L w_f / |w_f|²).

The quotient lies between 0, where joined neurons have the same weight (for equal degrees), and 2.
The paper's mean squared error is over the elements of x, SAELens's a sum: hence the factor d_in.
Three things differ from the released code:

- it penalises w_fᵀ L w_f itself, which shorter rows lower as well; here length does not count;
- its coefficient, .001, has no effect that could be measured on planted data; the default is .3;
- it has a further loss that predicts a label (harmful or not) from the codes. This SAE knows no
  labels: `concept_direction` fits them afterwards.

A neuron without a neighbour has quotient 1, as in the released code: directions are drawn towards
the neurons that have some. Activations are centred first (the paper standardises its inputs).

The graph is estimated in training from the first `graph_rows` rows, or given (`set_graph`). It is
saved as `standard`, which it is once it is trained. The paper's gates, which decide when to steer,
are not part of the SAE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from sae_lens import StandardSAEConfig, StandardTrainingSAE, StandardTrainingSAEConfig
from sae_lens.saes.sae import SAEConfig, TrainCoefficientConfig, TrainStepInput, TrainStepOutput

from ..errors import SAEError

#: Correlation from which the paper joins two neurons.
EDGE_THRESHOLD = 0.6

#: Latents that make up the direction of a concept (paper).
TOP_LATENTS = 40


@dataclass
class GraphTrainingSAEConfig(StandardTrainingSAEConfig):
    """Settings of the module's formula."""

    l1_coefficient: float = 0.5
    graph_coefficient: float = 0.3
    edge_threshold: float = EDGE_THRESHOLD
    graph_rows: int = 100_000

    @classmethod
    def architecture(cls) -> str:
        return "gsae"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.normalize_activations == "covariance_whitening":
            raise SAEError(
                "Whitened activations do not correlate, so there is no graph over them: choose "
                "another normalize_activations for gsae."
            )

    def get_inference_config_class(self) -> type[SAEConfig]:
        return StandardSAEConfig


class GraphTrainingSAE(StandardTrainingSAE):
    """A ReLU SAE that is trained with the loss of this module."""

    cfg: GraphTrainingSAEConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    graph: torch.Tensor  # L, [d_in, d_in]
    # What the graph is estimated from: rows seen, their sum and the sum of their outer products.
    seen: torch.Tensor
    total: torch.Tensor
    products: torch.Tensor

    def __init__(self, cfg: GraphTrainingSAEConfig, use_error_term: bool = False):
        super().__init__(cfg, use_error_term)
        exact: dict[str, Any] = {"dtype": torch.float64, "device": self.W_dec.device}
        self.register_buffer("graph", torch.zeros(cfg.d_in, cfg.d_in, device=self.W_dec.device))
        self.register_buffer("seen", torch.zeros((), **exact))
        self.register_buffer("total", torch.zeros(cfg.d_in, **exact))
        self.register_buffer("products", torch.zeros(cfg.d_in, cfg.d_in, **exact))

    def set_graph(self, laplacian: torch.Tensor) -> None:
        """Train with this Laplacian [d_in, d_in] (see `neuron_graph`) and estimate none."""
        if laplacian.shape != self.graph.shape:
            raise SAEError(
                f"A graph over {self.cfg.d_in} neurons is needed, not {tuple(laplacian.shape)}: "
                f"make it of activations at the hook point that the SAE reads."
            )
        self.graph.copy_(laplacian)
        self.seen.fill_(torch.inf)

    def get_coefficients(self) -> dict[str, float | TrainCoefficientConfig]:
        return super().get_coefficients() | {"graph": self.cfg.graph_coefficient}

    def training_forward_pass(self, step_input: TrainStepInput) -> TrainStepOutput:
        if self.seen < self.cfg.graph_rows:
            self._look(step_input.sae_in.detach())
        return super().training_forward_pass(step_input)

    @torch.no_grad()
    def _look(self, rows: torch.Tensor) -> None:
        """Estimate the graph anew, of these rows and those before."""
        rows = rows.double()
        self.seen += len(rows)
        self.total += rows.sum(0)
        self.products += rows.T @ rows
        mean = self.total / self.seen
        covariance = self.products / self.seen - torch.outer(mean, mean)
        self.graph.copy_(_laplacian(covariance, self.cfg.edge_threshold))

    def calculate_aux_loss(
        self,
        step_input: TrainStepInput,
        feature_acts: torch.Tensor,
        hidden_pre: torch.Tensor,
        sae_out: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        found = super().calculate_aux_loss(step_input, feature_acts, hidden_pre, sae_out)
        weight = step_input.coefficients["graph"] * self.cfg.d_in
        # A quotient of sums in bfloat16 would be a percent off.
        with torch.autocast(self.device.type, enabled=False):
            energy = graph_energy(self.W_dec, self.graph).mean()
        return found | {"graph_loss": weight * energy}

    def process_state_dict_for_saving_inference(self, state_dict: dict[str, Any]) -> None:
        super().process_state_dict_for_saving_inference(state_dict)
        for name in ("graph", "seen", "total", "products"):
            del state_dict[name]


def neuron_graph(activations: torch.Tensor, threshold: float = EDGE_THRESHOLD) -> torch.Tensor:
    """The normalised Laplacian [d, d] of neurons that correlate in activations [n, d].

    Two neurons are joined, by their correlation, where it is at least `threshold`.
    """
    centred = activations.double() - activations.double().mean(0)
    return _laplacian(centred.T @ centred / len(centred), threshold).to(activations.dtype)


def _laplacian(covariance: torch.Tensor, threshold: float) -> torch.Tensor:
    deviation = covariance.diagonal().clamp_min(0).sqrt().clamp_min(1e-12)
    joined = covariance / torch.outer(deviation, deviation)
    joined = torch.where(joined >= threshold, joined, 0.0).fill_diagonal_(0)
    degree = joined.sum(1)
    scale = torch.where(degree > 0, degree.clamp_min(1e-12).rsqrt(), 0.0)
    return torch.eye(len(joined), dtype=joined.dtype, device=joined.device) - joined * torch.outer(
        scale, scale
    )


def graph_energy(directions: torch.Tensor, laplacian: torch.Tensor) -> torch.Tensor:
    """The Rayleigh quotient wᵀ L w / |w|² of each of directions [n, d]: [n], from 0 to 2."""
    laplacian = laplacian.to(directions.dtype)
    length = directions.square().sum(-1).clamp_min(1e-12)
    return (directions @ laplacian * directions).sum(-1) / length


@torch.no_grad()
def concept_direction(
    sae: Any,
    rows: torch.Tensor,
    labels: torch.Tensor,
    top: int = TOP_LATENTS,
    by: Literal["means", "weights"] = "means",
) -> torch.Tensor:
    """The direction of a concept in the space of rows [n, d], of norm 1, by the SAE's latents.

    labels: [n], true where the concept is. A balanced logistic regression (C = .1, the paper's) on
    the codes, each in units of what its latent adds to the row, chooses the `top` latents of the
    largest weight. Their decoder rows are summed

    - by `means`: by how much more they fire, on average, where the concept is;
    - by `weights`: by the regression's own, which is where its verdict points. Of latents that are
      alike it sets some against the others, so that this is less near wherever both were measured.

    The paper weights by |weight| times influence times smoothness among the chosen and has no signs.
    """
    from sklearn.linear_model import LogisticRegression

    length = sae.W_dec.norm(dim=-1).to(rows.dtype)
    codes = sae.encode(rows) * length
    fitted = LogisticRegression(C=0.1, class_weight="balanced", max_iter=5000)
    fitted.fit(codes.cpu().numpy(), labels.cpu().numpy())
    weights = torch.as_tensor(fitted.coef_[0], device=rows.device, dtype=rows.dtype)
    chosen = weights.abs().topk(min(top, len(weights))).indices
    with_it = labels.bool()
    if by == "means":
        weights = codes[with_it].mean(0) - codes[~with_it].mean(0)
    unit = sae.W_dec[chosen].to(rows.dtype) / length[chosen, None].clamp_min(1e-12)
    direction = weights[chosen] @ unit
    return direction / direction.norm().clamp_min(1e-12)


def difference_of_means(rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Where the concept lies by the means of rows [n, d] with it and without, of norm 1."""
    with_it = labels.bool()
    direction = rows[with_it].mean(0) - rows[~with_it].mean(0)
    return direction / direction.norm().clamp_min(1e-12)
