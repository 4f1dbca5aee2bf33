"""The variational SAE (`vsae`): a TopK SAE whose codes are drawn, and held near N(0, 1).

Baker, Li 2025 (arXiv 2509.22994), after summaries and the released code. With means
m = ReLU(W_enc (x - b_dec) + b_enc) and log variances v, the codes in training are

    z = TopK by |z| of m + exp(v / 2) ε,   ε ~ N(0, 1)

signed values and all; afterwards they are TopK of m. The loss is SAELens's TopK loss (AuxK
included) plus the mean over the batch of

    kl_coefficient · Σ_i ½ (m_i² + exp v_i - 1 - v_i),

the divergence from N(0, 1), over all latents and not only those that fire. With `variance` fixed,
which is all that the published checkpoints had, v = 0 and nothing is drawn: what is left is ½ |m|²,
an L2 penalty. With `variance` learned, v = clamp(x W_var + b_var, -6, 2).

Means are in units of decoder rows of norm 1 (`rescale_acts_by_decoder_norm`): otherwise a longer
decoder row would make the same code cheaper. The coefficient of AuxK is SAELens's; the authors
trained without it. It is saved as `topk`, without what makes the variance.

Expect it to lose: more latents die as the coefficient grows, and with a learned variance the codes
soon say nothing at all, which `has_collapsed` finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from sae_lens import TopKSAEConfig, TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.saes.sae import SAEConfig, TrainCoefficientConfig, TrainStepInput
from torch import nn

#: Bounds of a log variance (released code).
LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE = -6.0, 2.0

#: Codes have collapsed that diverge from N(0, 1) by less than this a latent, in nats, and leave
#: more than this fraction of the variance unexplained.
COLLAPSED_KL, COLLAPSED_UNEXPLAINED = 1e-3, 0.95


@dataclass
class VariationalTrainingSAEConfig(TopKTrainingSAEConfig):
    """Settings of the module's formula.

    kl_warm_up_steps: over how many steps the coefficient grows from 0 (the authors: a tenth of the
    training).
    """

    variance: Literal["fixed", "learned"] = "fixed"
    kl_coefficient: float = 0.01
    kl_warm_up_steps: int = 1000

    @classmethod
    def architecture(cls) -> str:
        return "vsae"

    def get_inference_config_class(self) -> type[SAEConfig]:
        return TopKSAEConfig


class VariationalTrainingSAE(TopKTrainingSAE):
    """A TopK SAE with the loss of this module; its codes are random only in training mode.

    With a fixed variance and coefficient 0 it trains to the same numbers as SAELens's TopK.
    """

    cfg: VariationalTrainingSAEConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    W_var: nn.Parameter  # [d_in, d_sae], where the variance is learned
    b_var: nn.Parameter  # [d_sae]

    def initialize_weights(self) -> None:
        super().initialize_weights()
        if self.cfg.variance == "learned":
            weights = torch.empty(self.cfg.d_sae, self.cfg.d_in, dtype=self.dtype)
            nn.init.kaiming_uniform_(weights)
            self.W_var = nn.Parameter(weights.T.contiguous().to(self.device))
            self.b_var = nn.Parameter(torch.zeros_like(self.b_enc))

    def get_coefficients(self) -> dict[str, float | TrainCoefficientConfig]:
        return {"kl": TrainCoefficientConfig(self.cfg.kl_coefficient, self.cfg.kl_warm_up_steps)}

    def encode_with_hidden_pre(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        feature_acts, hidden_pre = super().encode_with_hidden_pre(x)
        if not (self.training and self.cfg.variance == "learned"):
            return feature_acts, hidden_pre
        deviation = (self.log_variance(x) / 2).exp()
        drawn = hidden_pre.relu() + deviation * torch.randn_like(deviation)
        largest = drawn.abs().topk(self.cfg.k, dim=-1, sorted=False).indices
        kept = torch.zeros_like(drawn).scatter(-1, largest, drawn.gather(-1, largest))
        return self.hook_sae_acts_post(kept), hidden_pre

    def log_variance(self, x: torch.Tensor) -> torch.Tensor:
        """v, [batch, d_sae], of inputs [batch, d_in]; zeros where the variance is fixed."""
        rows = self.process_sae_in(x)
        if self.cfg.variance == "fixed":
            return rows.new_zeros(*rows.shape[:-1], self.cfg.d_sae)
        found = rows @ self.W_var + self.b_var
        return found.clamp(LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE)

    def calculate_aux_loss(
        self,
        step_input: TrainStepInput,
        feature_acts: torch.Tensor,
        hidden_pre: torch.Tensor,
        sae_out: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        found = super().calculate_aux_loss(step_input, feature_acts, hidden_pre, sae_out)
        if self.cfg.variance == "fixed":
            divergence = hidden_pre.relu().square() / 2
        else:
            divergence = kl(hidden_pre.relu(), self.log_variance(step_input.sae_in))
        return found | {"kl_loss": step_input.coefficients["kl"] * divergence.sum(-1).mean()}

    @torch.no_grad()
    def fold_activation_norm_scaling_factor(self, scaling_factor: float) -> None:
        super().fold_activation_norm_scaling_factor(scaling_factor)
        if self.cfg.variance == "learned":
            self.W_var.data *= scaling_factor

    @torch.no_grad()
    def fold_activation_whitening(
        self,
        mean: torch.Tensor,
        whitening_matrix: torch.Tensor,
        unwhitening_matrix: torch.Tensor,
    ) -> None:
        super().fold_activation_whitening(mean, whitening_matrix, unwhitening_matrix)
        if self.cfg.variance == "fixed":
            return
        dtype = torch.promote_types(self.W_var.dtype, whitening_matrix.dtype)
        folded = whitening_matrix.to(self.device, dtype) @ self.W_var.to(dtype)
        self.W_var.data.copy_(folded)
        if not self.cfg.apply_b_dec_to_input:
            self.b_var.data.sub_(mean.to(self.device, dtype) @ folded)

    def process_state_dict_for_saving_inference(self, state_dict: dict[str, Any]) -> None:
        super().process_state_dict_for_saving_inference(state_dict)
        for name in ("W_var", "b_var"):
            state_dict.pop(name, None)


def kl(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """The divergence of N(mean, exp log_variance) from N(0, 1), in nats, element by element."""
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


@torch.no_grad()
def has_collapsed(sae: VariationalTrainingSAE, rows: torch.Tensor) -> bool:
    """Whether the codes of rows [n, d_in] say nothing of them, as COLLAPSED_KL and so on have it.

    A learned variance can come to this: each latent is N(0, 1) whatever the input. The rows are
    those that the SAE trains on, scaled as it trains on them.
    """
    training = sae.training
    sae.eval()
    codes, hidden_pre = sae.encode_with_hidden_pre(rows)
    made, log_variance = sae.decode(codes), sae.log_variance(rows)
    sae.train(training)
    unexplained = (rows - made).square().sum() / (rows - rows.mean(0)).square().sum()
    divergence = kl(hidden_pre.relu(), log_variance).mean()
    return bool(divergence < COLLAPSED_KL and unexplained > COLLAPSED_UNEXPLAINED)
