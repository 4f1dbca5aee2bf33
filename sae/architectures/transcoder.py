"""A transcoder (`transcoder`): it reads activations at one hook point and makes those at another.

Dunefsky, Chlenski, Nanda 2024 (arXiv 2406.11944), with BatchTopK (Bussmann, Leask, Nanda 2024) in
place of their L1. With x what is read and y what is to be made, codes f = BatchTopK(x W_enc + b_enc)
and the loss is the mean over the batch of

    |c y - f W_dec - b_dec|² + AuxK,

AuxK being SAELens's, on what is missing of c y. The factor c makes the mean norm of y in the first
batch √d_out: what a model reads and what it makes of that can differ tenfold. Afterwards it is in
the decoder. SAELens trains no transcoders, and loads them: it is saved as its `jumprelu_transcoder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, JumpReLUTranscoderConfig
from sae_lens.saes.sae import SAEConfig, TrainStepInput, TrainStepOutput
from torch import nn

from ..errors import SAEError


@dataclass
class TranscoderTrainingConfig(BatchTopKTrainingSAEConfig):
    """d_out: numbers that are made a token. Normalisations that are of the input's form, and not a
    mere factor, are refused."""

    rows: ClassVar[str] = "in and out"

    d_out: int = 768
    k: float = 32
    apply_b_dec_to_input: bool = False

    @classmethod
    def architecture(cls) -> str:
        return "transcoder"

    def __post_init__(self) -> None:
        super().__post_init__()
        refused = {
            f"normalize_activations={self.normalize_activations}": (
                self.normalize_activations not in ("none", "expected_average_only_in")
            ),
            "apply_b_dec_to_input": self.apply_b_dec_to_input,
        }
        for setting in (name for name, given in refused.items() if given):
            raise SAEError(
                f"A transcoder makes other activations than it reads, so {setting} makes no "
                f"sense: leave it out."
            )

    def get_inference_config_class(self) -> type[SAEConfig]:
        return JumpReLUTranscoderConfig


class TrainingTranscoder(BatchTopKTrainingSAE):
    """Trains on rows [batch, d_in + d_out], what is read and then what is to be made."""

    cfg: TranscoderTrainingConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    out_scale: torch.Tensor  # c
    measured: torch.Tensor  # whether c has been measured

    def __init__(self, cfg: TranscoderTrainingConfig, use_error_term: bool = False):
        super().__init__(cfg, use_error_term)
        self.register_buffer("out_scale", torch.ones((), device=self.W_dec.device))
        self.register_buffer("measured", torch.zeros((), dtype=torch.bool, device=self.device))

    def initialize_weights(self) -> None:
        sizes = self.cfg.d_in, self.cfg.d_sae, self.cfg.d_out
        like: dict[str, Any] = {"dtype": self.dtype, "device": self.device}
        into, out_of = torch.empty(sizes[1], sizes[0], **like), torch.empty(*sizes[1:], **like)
        for weights in (into, out_of):
            nn.init.kaiming_uniform_(weights)
        norm = self.cfg.decoder_init_norm
        if norm is not None:
            out_of *= norm / out_of.norm(dim=-1, keepdim=True)
        self.W_enc = nn.Parameter(into.T.contiguous())
        self.b_enc = nn.Parameter(torch.zeros(sizes[1], **like))
        self.W_dec = nn.Parameter(out_of)
        self.b_dec = nn.Parameter(torch.zeros(sizes[2], **like))

    def process_sae_in(self, sae_in: torch.Tensor) -> torch.Tensor:
        return self.run_time_activation_norm_fn_in(self.hook_sae_input(sae_in.to(self.dtype)))

    def decode(self, feature_acts: torch.Tensor) -> torch.Tensor:
        return super().decode(feature_acts) / self.out_scale

    def fold_activation_whitening(
        self, mean: torch.Tensor, whitening_matrix: torch.Tensor, unwhitening_matrix: torch.Tensor
    ) -> None:
        """Raises SAEError: what unwhitens the input says nothing of the output."""
        raise SAEError(
            "Whitening cannot be folded into a transcoder, which makes other activations than it "
            "reads: train it with normalize_activations expected_average_only_in."
        )

    def training_forward_pass(self, step_input: TrainStepInput) -> TrainStepOutput:
        rows, wanted = step_input.sae_in.split([self.cfg.d_in, self.cfg.d_out], dim=-1)
        if not self.measured:
            self.out_scale.copy_(self.cfg.d_out**0.5 / wanted.norm(dim=-1).mean().clamp_min(1e-8))
            self.measured.fill_(True)
        feature_acts, hidden_pre = self.encode_with_hidden_pre(rows)
        made = self.decode(feature_acts)
        scaled, scaled_wanted = made * self.out_scale, wanted * self.out_scale
        losses = {
            "mse_loss": self.mse_loss_fn(scaled, scaled_wanted).sum(-1).mean(),
            "auxiliary_reconstruction_loss": self.calculate_topk_aux_loss(
                scaled_wanted, scaled, hidden_pre, step_input.dead_neuron_mask
            ),
        }
        self.update_topk_threshold(feature_acts)
        return TrainStepOutput(
            sae_in=step_input.sae_in,
            sae_out=made,
            feature_acts=feature_acts,
            hidden_pre=hidden_pre,
            loss=losses["mse_loss"] + losses["auxiliary_reconstruction_loss"],
            losses=losses,
            metrics={"topk_threshold": self.topk_threshold},
        )

    def process_state_dict_for_saving_inference(self, state_dict: dict[str, Any]) -> None:
        super().process_state_dict_for_saving_inference(state_dict)
        del state_dict["measured"]
        scale = state_dict.pop("out_scale")
        for name in ("W_dec", "b_dec"):
            state_dict[name] = state_dict[name] / scale
