"""The adaptive elastic net SAE (`aen`): L1 with a weight for each latent, and a little L2.

Chaudhry, Yano, Monod 2026 (arXiv 2605.05341), after their text and their released code. With codes
h = ReLU(W_enc (x - b_dec) + b_enc) and decoder rows of norm 1, the loss is the mean over the batch
of

    |x - x̂|² + d_in · l1 · Σ_i w_i h_i + d_in · l2 · Σ_i h_i².

The paper's first term is a mean over the elements of x, SAELens's a sum: hence the factor d_in. The
weights are those of the adaptive lasso. With m_i the running mean of h_i (decay `ema_decay`, 1 at
first) and m_ref the mean of the largest `top_share` of all m,

    w_i = clamp((m_ref / m_i)^gamma, .01, 10);

what is applied is 1 + (w_i - 1) · ramp, the ramp going from 0 to 1 over `ramp_steps` steps after
the penalty has warmed up. It is saved as `standard`, which it is once it is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from sae_lens import StandardSAEConfig, StandardTrainingSAE, StandardTrainingSAEConfig
from sae_lens.saes.sae import SAEConfig, TrainCoefficientConfig, TrainStepInput, TrainStepOutput

#: The least that a running mean counts as, and the bounds of a weight (released code).
LEAST_MEAN, LEAST_WEIGHT, MOST_WEIGHT = 1e-5, 0.01, 10.0


@dataclass
class AdaptiveElasticNetTrainingSAEConfig(StandardTrainingSAEConfig):
    """Settings of the module's formula.

    l1_coefficient, l2_coefficient: l1 and l2. l1_warm_up_steps: over how many steps both grow from
    0. The defaults are of the paper's synthetic runs.
    """

    l1_coefficient: float = 0.005
    l2_coefficient: float = 1e-4
    gamma: float = 0.5
    ema_decay: float = 0.999
    top_share: float = 0.05
    ramp_steps: int = 2000

    @classmethod
    def architecture(cls) -> str:
        return "aen"

    def get_inference_config_class(self) -> type[SAEConfig]:
        return StandardSAEConfig


class AdaptiveElasticNetTrainingSAE(StandardTrainingSAE):
    """A ReLU SAE that is trained with the loss of this module; decoder rows keep norm 1."""

    cfg: AdaptiveElasticNetTrainingSAEConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    mean_acts: torch.Tensor  # m, [d_sae]

    def __init__(self, cfg: AdaptiveElasticNetTrainingSAEConfig, use_error_term: bool = False):
        super().__init__(cfg, use_error_term)
        self.register_buffer("mean_acts", torch.ones(cfg.d_sae, device=self.W_dec.device))

    def get_coefficients(self) -> dict[str, float | TrainCoefficientConfig]:
        warm_up = self.cfg.l1_warm_up_steps
        return {
            "l1": TrainCoefficientConfig(self.cfg.l1_coefficient, warm_up),
            "l2": TrainCoefficientConfig(self.cfg.l2_coefficient, warm_up),
        }

    def training_forward_pass(self, step_input: TrainStepInput) -> TrainStepOutput:
        with torch.no_grad():
            self.W_dec.div_(self.W_dec.norm(dim=1, keepdim=True).clamp_min(1e-8))
        return super().training_forward_pass(step_input)

    def calculate_aux_loss(
        self,
        step_input: TrainStepInput,
        feature_acts: torch.Tensor,
        hidden_pre: torch.Tensor,
        sae_out: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            self.mean_acts.lerp_(feature_acts.mean(0).float(), 1 - self.cfg.ema_decay)
        ramp = (step_input.n_training_steps - self.cfg.l1_warm_up_steps) / self.cfg.ramp_steps
        weights = 1 + (self.weights() - 1) * min(1.0, max(0.0, ramp))
        l1, l2 = (step_input.coefficients[name] * self.cfg.d_in for name in ("l1", "l2"))
        return {
            "l1_loss": l1 * (weights * feature_acts).sum(-1).mean(),
            "l2_loss": l2 * feature_acts.square().sum(-1).mean(),
        }

    def weights(self) -> torch.Tensor:
        """w, [d_sae]."""
        means = self.mean_acts.clamp_min(LEAST_MEAN)
        top = means.topk(max(1, round(self.cfg.top_share * len(means)))).values.mean()
        return (top / means).pow(self.cfg.gamma).clamp(LEAST_WEIGHT, MOST_WEIGHT)

    def process_state_dict_for_saving_inference(self, state_dict: dict[str, Any]) -> None:
        super().process_state_dict_for_saving_inference(state_dict)
        del state_dict["mean_acts"]
