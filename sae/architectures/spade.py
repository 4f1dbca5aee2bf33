"""SpaDE (`spade`): a token is a mixture of the prototypes that are near it.

Hindupur, Lubana, Fel, Ba 2025 (arXiv 2503.01822), after their text and released code. Latent i has
a prototype w_i in the space of the activations, column i of W_enc, and

    z = sparsemax(-λ |x - w_i|²),   x̂ = W_dec z,
    loss: the mean over the batch of |x - x̂|² + distance_coefficient · Σ_i z_i |x - w_i|².

The codes of a token are not negative and sum to 1. λ > 0 is learned (a softplus of `raw_scale`, in
the paper at first 1 / (2 d_in), for activations with |x|² about d_in). There are no biases: b_dec stays 0.

Sparsemax does not change when the same number is added to all of a row, so that only
2 x·w_i - |w_i|² is ever made, one matrix product of [batch, d_sae] and no differences of
[batch, d_sae, d_in].

Prototypes are points and codes are shares, so decoder norms cannot be folded into the encoder; and
distances between whitened activations are no distances between activations. Both raise SAEError.
"""

from __future__ import annotations

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


def sparsemax(scores: torch.Tensor) -> torch.Tensor:
    """The nearest point of the simplex to each row: [..., n] -> [..., n], rows sum to 1.

    That is max(0, scores - τ), τ such that the row sums to 1. Entries at or below τ are exactly 0.
    """
    scores = scores - scores.detach().max(-1, keepdim=True).values
    inside = _support(scores.detach())
    return (scores - _cut(scores, inside)) * inside


def _support(scores: torch.Tensor) -> torch.Tensor:
    """Which entries of a row are above its τ; the row's largest is 0.

    τ is at least -1. Whatever is at or below the τ of too many entries is below that of the right
    ones, so leaving those out comes to the end without sorting anything.
    """
    inside = scores > -1
    while True:
        fewer = inside & (scores > _cut(scores, inside))
        if torch.equal(fewer, inside):
            return inside
        inside = fewer


def _cut(scores: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """τ, [..., 1], were these the entries above it."""
    total = (scores * inside).sum(-1, keepdim=True)
    return (total - 1) / inside.sum(-1, keepdim=True)


@dataclass
class SpaDESAEConfig(SAEConfig):
    """Of a loaded `spade`."""

    apply_b_dec_to_input: bool = False

    @classmethod
    def architecture(cls) -> str:
        return "spade"


@dataclass(kw_only=True)
class SpaDETrainingSAEConfig(TrainingSAEConfig):
    """Settings of the module's formula. decoder_init_norm is None: W_dec starts as the prototypes.

    distance_coefficient: at .1 the toy of the paper gets worse, and at its default it does nothing
    that could be measured. start: where prototypes begin, at tokens of the first batch, with
    λ = 1 / (2 · summed variance), or at points of N(0, 1) (released code, whose data are standardised).
    From there they do not reach what they should lie among where that is far from 0, as a language
    model's activations are, or has many dimensions and not as many steps as the paper's 8,000.
    """

    lr: ClassVar[float] = 1e-2
    #: A distance is a small difference of large numbers.
    autocast: ClassVar[bool] = False

    apply_b_dec_to_input: bool = False
    decoder_init_norm: float | None = None
    distance_coefficient: float = 1e-8
    start: Literal["normal", "tokens"] = "tokens"

    @classmethod
    def architecture(cls) -> str:
        return "spade"


class _SpaDE(SAE[Any]):
    """What loaded and trained ones have in common."""

    def scale(self) -> torch.Tensor:
        """λ, a number."""
        raise NotImplementedError

    def initialize_weights(self) -> None:
        super().initialize_weights()
        torch.nn.init.normal_(self.W_enc)
        self.W_dec.data = self.W_enc.data.T.clone().contiguous()
        self.b_dec.requires_grad_(False)

    def nearness(self, x: torch.Tensor) -> torch.Tensor:
        """2 x·w_i - |w_i|², float32 [..., d_sae], of prepared x [..., d_in]."""
        prototypes = self.W_enc.float()
        return 2 * (x.float() @ prototypes) - prototypes.square().sum(0)

    def shares(self, nearness: torch.Tensor) -> torch.Tensor:
        """Codes, in the SAE's dtype."""
        scores = self.hook_sae_acts_pre(self.scale().float() * nearness)
        return self.hook_sae_acts_post(sparsemax(scores).to(self.dtype))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Codes, not negative, that sum to 1: [..., d_in] -> [..., d_sae]."""
        return self.shares(self.nearness(self.process_sae_in(x)))

    def decode(self, feature_acts: torch.Tensor) -> torch.Tensor:
        """[..., d_sae] -> [..., d_in]."""
        made = self.hook_sae_recons(feature_acts @ self.W_dec + self.b_dec)
        return self.reshape_fn_out(self.run_time_activation_norm_fn_out(made), self.d_head)

    def fold_and_get_W_dec_norm(self) -> torch.Tensor:
        """Raises SAEError: codes that sum to 1 cannot be rescaled."""
        raise SAEError(
            "Codes of spade sum to 1, so the decoder's norms stay in the decoder: load it without "
            "fold_W_dec_norm."
        )

    def fold_activation_whitening(
        self, mean: torch.Tensor, whitening_matrix: torch.Tensor, unwhitening_matrix: torch.Tensor
    ) -> None:
        """Raises SAEError: no prototypes have those distances to what is not whitened."""
        raise SAEError(
            "Whitening cannot be folded into spade, whose latents are distances: train it with "
            "normalize_activations expected_average_only_in."
        )

    @torch.no_grad()
    def fold_activation_norm_scaling_factor(self, scaling_factor: float) -> None:
        """Prototypes move to where unscaled activations are, and λ follows their distances."""
        for points in (self.W_enc, self.W_dec, self.b_dec):
            points.data /= scaling_factor
        self.rescale(scaling_factor**2)
        self.cfg.normalize_activations = "none"

    def rescale(self, factor: float) -> None:
        """Multiply λ."""
        raise NotImplementedError


class SpaDESAE(_SpaDE):
    """A loaded SpaDE. kernel_scale: λ, float of shape [1]."""

    cfg: SpaDESAEConfig
    kernel_scale: torch.nn.Parameter

    def initialize_weights(self) -> None:
        super().initialize_weights()
        self.kernel_scale = torch.nn.Parameter(
            torch.full((1,), 1 / (2 * self.cfg.d_in), dtype=self.dtype, device=self.device)
        )

    def scale(self) -> torch.Tensor:
        return self.kernel_scale

    def rescale(self, factor: float) -> None:
        self.kernel_scale.data *= factor


class SpaDETrainingSAE(_SpaDE, TrainingSAE[Any]):
    """SpaDE in training. raw_scale: λ before its softplus, float of shape [1]."""

    cfg: SpaDETrainingSAEConfig
    raw_scale: torch.nn.Parameter

    def initialize_weights(self) -> None:
        super().initialize_weights()
        start = _before_softplus(torch.tensor([1 / (2 * self.cfg.d_in)], dtype=torch.float64))
        self.raw_scale = torch.nn.Parameter(start.to(self.device, self.dtype))

    def scale(self) -> torch.Tensor:
        return torch.nn.functional.softplus(self.raw_scale)

    def rescale(self, factor: float) -> None:
        self.raw_scale.data = _before_softplus(self.scale().double() * factor).to(self.dtype)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.encode_with_hidden_pre(x)[0]

    def encode_with_hidden_pre(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes, and 2 x·w_i - |w_i|²."""
        nearness = self.nearness(self.process_sae_in(x))
        return self.shares(nearness), nearness

    def training_forward_pass(self, step_input: TrainStepInput) -> TrainStepOutput:
        if self.cfg.start == "tokens" and step_input.n_training_steps == 0:
            self._start_at(self.process_sae_in(step_input.sae_in))
        return super().training_forward_pass(step_input)

    @torch.no_grad()
    def _start_at(self, tokens: torch.Tensor) -> None:
        """Prototypes become tokens [n, d_in], a little apart where one is drawn twice."""
        chosen = tokens[torch.randint(len(tokens), (self.cfg.d_sae,), device=tokens.device)]
        spread = tokens.std(0)
        points = (chosen + 0.1 * spread * torch.randn_like(chosen)).to(self.dtype)
        self.W_enc.copy_(points.T)
        self.W_dec.copy_(points)
        scale = 1 / (2 * spread.double().square().sum().clamp_min(1e-8))
        self.raw_scale.copy_(_before_softplus(scale.reshape(1)).to(self.dtype))

    def get_coefficients(self) -> dict[str, float | TrainCoefficientConfig]:
        return {"distance": self.cfg.distance_coefficient}

    def calculate_aux_loss(
        self,
        step_input: TrainStepInput,
        feature_acts: torch.Tensor,
        hidden_pre: torch.Tensor,
        sae_out: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        # Codes sum to 1, so |x|² is in the weighted sum of distances once.
        length = self.process_sae_in(step_input.sae_in).square().sum(-1)
        distance = (length - (feature_acts * hidden_pre).sum(-1)).mean()
        return {"distance_loss": step_input.coefficients["distance"] * distance}

    def process_state_dict_for_saving_inference(self, state_dict: dict[str, Any]) -> None:
        super().process_state_dict_for_saving_inference(state_dict)
        del state_dict["raw_scale"]
        state_dict["kernel_scale"] = self.scale().detach()


def _before_softplus(value: torch.Tensor) -> torch.Tensor:
    """What softplus makes `value` of."""
    return value + torch.log(-torch.expm1(-value))
