"""Binary SAEs and a binary transcoder: every code is 0 or 1, magnitude lives in the decoder.

Quirke, Shabalin, Belrose 2025 (arXiv 2509.25596), after their text and released branches. With
p = W_enc (x - b_dec) and a positive threshold t_i for each latent, what is above is u = p - t and

    binary_dense       z_i = 1 where u_i > 0
    binary_topk        z_i = 1 where u_i > 0 and is among the k largest
    binary_transcoder  as binary_topk, of p = W_enc x, and makes another hook point's activations

    x̂ = W_dec z + b_dec,   loss: the mean over the batch of |x - x̂|².

A step has no gradient, so z passes on that of a softer function of u (`surrogate`), T being
`temperature`: sigmoid(u / T), the rectangle clamp(u / T, -1/2, 1/2), or u itself (identity). In
training t = exp(log_threshold); what is saved has t, which may then be any number.

`reach` says where that gradient goes: to all latents, or to those alone that are 1, which is
binary_transcoder's default. Other than in the released code, the optimiser is Adam and not Signum,
binary_dense has a penalty on the number of ones (`l0_coefficient`), for nothing else keeps them few,
and binary_topk is trained as `binary_topk` says. The paper's grouped and Gumbel kinds and a
transcoder's linear skip are not here.

Codes have no scale, so decoder norms cannot be folded into the encoder, and that raises SAEError.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from sae_lens.saes.sae import (
    SAE,
    SAEConfig,
    TrainCoefficientConfig,
    TrainingSAE,
    TrainingSAEConfig,
    TrainStepInput,
    TrainStepOutput,
)

from ..errors import SAEError

#: Softer functions of u / T, whose gradients stand in for that of the step.
SURROGATES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": torch.sigmoid,
    "rectangle": lambda scaled: scaled.clamp(-0.5, 0.5),
    "identity": lambda scaled: scaled,
}


def ones_above(above: torch.Tensor) -> torch.Tensor:
    """1 where u > 0, else 0."""
    return (above > 0).to(above.dtype)


def top_ones(above: torch.Tensor, k: int) -> torch.Tensor:
    """1 where u > 0 and is among the k largest of its row, else 0."""
    values, places = above.topk(k, dim=-1, sorted=False)
    return torch.zeros_like(above).scatter(-1, places, ones_above(values))


# --- Loaded ------------------------------------------------------------------------------------


@dataclass
class BinaryDenseSAEConfig(SAEConfig):
    """Of a loaded `binary_dense`."""

    @classmethod
    def architecture(cls) -> str:
        return "binary_dense"


@dataclass
class BinaryTopKSAEConfig(BinaryDenseSAEConfig):
    """Of a loaded `binary_topk`. k: the most codes of a token that can be 1."""

    k: int = 32

    @classmethod
    def architecture(cls) -> str:
        return "binary_topk"


@dataclass
class BinaryTranscoderConfig(BinaryTopKSAEConfig):
    """Of a loaded `binary_transcoder`. d_out: the width of what it makes."""

    apply_b_dec_to_input: bool = False
    d_out: int = 768

    @classmethod
    def architecture(cls) -> str:
        return "binary_transcoder"


class _Binary(SAE[Any]):
    """What loaded and trained ones have in common."""

    def thresholds(self) -> torch.Tensor:
        """t, [d_sae]."""
        raise NotImplementedError

    def ones(self, above: torch.Tensor) -> torch.Tensor:
        """The codes for u, both [..., d_sae]."""
        return ones_above(above)

    def above(self, x: torch.Tensor) -> torch.Tensor:
        """u, [..., d_sae], of x [..., d_in]."""
        return self.hook_sae_acts_pre(self.process_sae_in(x) @ self.W_enc - self.thresholds())

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Codes, exactly 0 or 1: [..., d_in] -> [..., d_sae]."""
        return self.hook_sae_acts_post(self.ones(self.above(x)))

    def decode(self, feature_acts: torch.Tensor) -> torch.Tensor:
        """[..., d_sae] -> [..., d_in]."""
        made = self.hook_sae_recons(feature_acts @ self.W_dec + self.b_dec)
        return self.reshape_fn_out(self.run_time_activation_norm_fn_out(made), self.d_head)

    def fold_and_get_W_dec_norm(self) -> torch.Tensor:
        """Raises SAEError: codes of 0 and 1 cannot be rescaled."""
        raise SAEError(
            f"Codes of {self.cfg.architecture()} are 0 or 1, so the decoder's norms stay in the "
            f"decoder: load it without fold_W_dec_norm."
        )

    @torch.no_grad()
    def fold_activation_whitening(
        self, mean: torch.Tensor, whitening_matrix: torch.Tensor, unwhitening_matrix: torch.Tensor
    ) -> None:
        """As SAELens; raises SAEError where no bias is there to take what it shifts."""
        if not self.cfg.apply_b_dec_to_input:
            raise SAEError(
                f"Whitening cannot be folded into {self.cfg.architecture()} without "
                f"apply_b_dec_to_input: train with normalize_activations expected_average_only_in."
            )
        super().fold_activation_whitening(mean, whitening_matrix, unwhitening_matrix)


class BinaryDenseSAE(_Binary):
    """A latent is 1 wherever it is above its threshold. threshold: t, [d_sae]."""

    threshold: torch.nn.Parameter

    def initialize_weights(self) -> None:
        super().initialize_weights()
        self.threshold = torch.nn.Parameter(
            torch.zeros(self.cfg.d_sae, dtype=self.dtype, device=self.device)
        )

    def thresholds(self) -> torch.Tensor:
        return self.threshold


class BinaryTopKSAE(BinaryDenseSAE):
    """At most k latents of a token are 1."""

    cfg: BinaryTopKSAEConfig

    def ones(self, above: torch.Tensor) -> torch.Tensor:
        return top_ones(above, self.cfg.k)


class _FromInToOut(SAE[Any]):
    """What makes a transcoder of a binary SAE: a decoder of its own width, and no bias to read."""

    def initialize_weights(self) -> None:
        super().initialize_weights()
        torch.nn.init.kaiming_uniform_(self.W_enc)
        wide = {"dtype": self.dtype, "device": self.device}
        self.W_dec = torch.nn.Parameter(torch.zeros(self.cfg.d_sae, self.cfg.d_out, **wide))
        self.b_dec = torch.nn.Parameter(torch.zeros(self.cfg.d_out, **wide))

    def process_sae_in(self, sae_in: torch.Tensor) -> torch.Tensor:
        return self.run_time_activation_norm_fn_in(self.hook_sae_input(sae_in.to(self.dtype)))

    def decode(self, feature_acts: torch.Tensor) -> torch.Tensor:
        """[..., d_sae] -> [..., d_out], never scaled: what is read says nothing of its scale."""
        return self.hook_sae_recons(feature_acts @ self.W_dec + self.b_dec)


class BinaryTranscoder(_FromInToOut, BinaryTopKSAE):
    """Codes of 0 and 1 between two hook points."""

    cfg: BinaryTranscoderConfig  # pyright: ignore[reportIncompatibleVariableOverride]


# --- Trained -----------------------------------------------------------------------------------


@dataclass(kw_only=True)
class BinaryTrainingConfig(TrainingSAEConfig):
    """surrogate, temperature, initial_threshold: see the module. reach: the latents that the
    gradient goes to, all or those whose code is 1.
    """

    decoder_init_norm: float | None = 1.0
    surrogate: Literal["sigmoid", "rectangle", "identity"] = "sigmoid"
    temperature: float = 2.0
    initial_threshold: float = 0.004
    reach: Literal["all", "ones"] = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature <= 0 or self.initial_threshold <= 0:
            raise SAEError(
                f"temperature and initial_threshold of {self.architecture()} must be above 0."
            )


@dataclass(kw_only=True)
class BinaryDenseTrainingSAEConfig(BinaryTrainingConfig):
    """Settings of `binary_dense`.

    l0_coefficient: how much a one costs, as a share of d_in (which is about |x|² of a token, where
    activations are scaled as SAELens scales them): about the share of |x|² that it has to explain.
    l0_warm_up_steps: over how many steps that grows from 0.
    """

    l0_coefficient: float = 0.01
    l0_warm_up_steps: int = 0

    @classmethod
    def architecture(cls) -> str:
        return "binary_dense"


@dataclass(kw_only=True)
class BinaryTranscoderTrainingConfig(BinaryTrainingConfig):
    """Settings of `binary_transcoder`. k: the most codes of a token that can be 1. d_out: the width
    of what it makes.
    """

    rows: ClassVar[str] = "in and out"

    reach: Literal["all", "ones"] = "ones"
    k: int = 32
    apply_b_dec_to_input: bool = False
    d_out: int = 768

    @classmethod
    def architecture(cls) -> str:
        return "binary_transcoder"


class BinaryTraining(_Binary, TrainingSAE[Any]):
    """log_threshold: log t, [d_sae]."""

    log_threshold: torch.nn.Parameter

    def initialize_weights(self) -> None:
        super().initialize_weights()
        start = math.log(self.cfg.initial_threshold)
        self.log_threshold = torch.nn.Parameter(
            torch.full((self.cfg.d_sae,), start, dtype=self.dtype, device=self.device)
        )

    def thresholds(self) -> torch.Tensor:
        return self.log_threshold.exp()

    def temperature(self) -> float:
        """T."""
        return self.cfg.temperature

    def soft(self, above: torch.Tensor, hard: torch.Tensor) -> torch.Tensor:
        """What passes a gradient on to u, where it reaches: of u and codes, all [..., d_sae]."""
        soft = SURROGATES[self.cfg.surrogate](above / self.temperature())
        return soft * hard if self.cfg.reach == "ones" else soft

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.encode_with_hidden_pre(x)[0]

    def encode_with_hidden_pre(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes, through which gradients pass as through the surrogate, and u."""
        above = self.above(x)
        hard = self.ones(above.detach())
        soft = self.soft(above, hard)
        # In this order the difference is exactly 0, and the sum exactly 0 or 1.
        return self.hook_sae_acts_post(hard + (soft - soft.detach())), above

    def get_coefficients(self) -> dict[str, float | TrainCoefficientConfig]:
        return {}

    def calculate_aux_loss(
        self,
        step_input: TrainStepInput,
        feature_acts: torch.Tensor,
        hidden_pre: torch.Tensor,
        sae_out: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        return {}

    def process_state_dict_for_saving_inference(self, state_dict: dict[str, Any]) -> None:
        super().process_state_dict_for_saving_inference(state_dict)
        state_dict["threshold"] = state_dict.pop("log_threshold").exp()


class BinaryDenseTrainingSAE(BinaryTraining):
    """`binary_dense` in training."""

    cfg: BinaryDenseTrainingSAEConfig

    def get_coefficients(self) -> dict[str, float | TrainCoefficientConfig]:
        warm_up = self.cfg.l0_warm_up_steps
        return {"l0": TrainCoefficientConfig(self.cfg.l0_coefficient, warm_up)}

    def calculate_aux_loss(
        self,
        step_input: TrainStepInput,
        feature_acts: torch.Tensor,
        hidden_pre: torch.Tensor,
        sae_out: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        cost = step_input.coefficients["l0"] * self.cfg.d_in
        return {"l0_loss": cost * feature_acts.sum(-1).mean()}


class BinaryTranscoderTraining(_FromInToOut, BinaryTraining):
    """`binary_transcoder` in training: rows are [batch, d_in + d_out].

    What a model reads and what it makes of it can differ tenfold in norm. out_scale brings the
    latter to √d_out, by the first batch; what is saved has it in the decoder.
    """

    cfg: BinaryTranscoderTrainingConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    out_scale: torch.Tensor

    def __init__(self, cfg: BinaryTranscoderTrainingConfig, use_error_term: bool = False):
        super().__init__(cfg, use_error_term)
        self.register_buffer("out_scale", torch.ones((), device=self.W_dec.device))

    def ones(self, above: torch.Tensor) -> torch.Tensor:
        return top_ones(above, self.cfg.k)

    def decode(self, feature_acts: torch.Tensor) -> torch.Tensor:
        return super().decode(feature_acts) / self.out_scale

    def training_forward_pass(self, step_input: TrainStepInput) -> TrainStepOutput:
        read, wanted = step_input.sae_in.split([self.cfg.d_in, self.cfg.d_out], dim=-1)
        if step_input.n_training_steps == 0:
            self.out_scale.copy_(self.cfg.d_out**0.5 / wanted.norm(dim=-1).mean().clamp_min(1e-8))
        codes, above = self.encode_with_hidden_pre(read)
        made = self.decode(codes)
        loss = self.mse_loss_fn(made * self.out_scale, wanted * self.out_scale).sum(-1).mean()
        return TrainStepOutput(
            sae_in=step_input.sae_in,
            sae_out=made,
            feature_acts=codes,
            hidden_pre=above,
            loss=loss,
            losses={"mse_loss": loss},
        )

    def process_state_dict_for_saving_inference(self, state_dict: dict[str, Any]) -> None:
        super().process_state_dict_for_saving_inference(state_dict)
        scale = state_dict.pop("out_scale")
        for name in ("W_dec", "b_dec"):
            state_dict[name] = state_dict[name] / scale


# --- Afterwards --------------------------------------------------------------------------------


@torch.no_grad()
def binarize(sae: SAE[Any], threshold: float, magnitudes: torch.Tensor | float = 1.0) -> SAE[Any]:
    """A trained SAE with codes of 0 and 1: the baseline that a trained binary one has to beat.

    sae: of the architecture standard, jumprelu or topk. A latent is 1 where its activation is above
    `threshold`. magnitudes: what a 1 stands for, such as each latent's mean activation above the
    threshold: [d_sae] or a number.

    Raises SAEError for other architectures.
    """
    kind, own = sae.cfg.architecture(), sae.cfg.to_dict()
    if kind not in ("standard", "jumprelu", "topk") or own.get("rescale_acts_by_decoder_norm"):
        raise SAEError(
            f"An SAE of the architecture {kind} cannot be made binary: give one of standard, "
            f"jumprelu or topk, its decoder's norms folded."
        )
    sae_class, config_class = (
        (BinaryTopKSAE, BinaryTopKSAEConfig)
        if kind == "topk"
        else (BinaryDenseSAE, BinaryDenseSAEConfig)
    )
    made = sae_class(config_class.from_dict(own | {"architecture": config_class.architecture()}))
    least = torch.full_like(sae.b_dec.new_empty(sae.cfg.d_sae), max(threshold, 0.0))
    if kind == "jumprelu":
        least = torch.maximum(least, sae.get_parameter("threshold"))
    made.load_state_dict(
        {
            "W_enc": sae.W_enc,
            "W_dec": sae.W_dec * torch.as_tensor(magnitudes).reshape(-1, 1),
            "b_dec": sae.b_dec,
            "threshold": least - sae.get_parameter("b_enc"),
        }
    )
    return made
