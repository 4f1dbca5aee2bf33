"""How a `binary_topk` is trained: from TopK's codes to codes of 0 and 1.

The formulas of `binary`, and around them a training that is this project's own, since with a
surrogate gradient from the start some latents never find a feature (see docs/log.md):

    soft       At first, for soft_steps, codes are TopK's: z = p where it is above 0 and among the k
               largest by p |W_dec|, with SAELens's AuxK for dead latents. Then all become 0 or 1 at
               once: each latent's mean activation goes from its encoder to its decoder row, so that
               it is about 1, and its threshold becomes 1/2.
    gradient   `difference`: u_i gets what turning z_i over would change of the loss, times the slope
               of the surrogate. With r = x - x̂ and d_i the decoder row that is

                   L(z_i = 1) - L(z_i = 0) = -2 r·d_i + (1 - 2 z_i) |d_i|²,

               the local expectation gradient (Titsias & Lázaro-Gredilla 2015) for independent codes
               that are 1 with probability sigmoid(u / T), taken at the codes that are. A silent
               latent is drawn up where it would help, and only there. `slope`: -2 r·d_i alone, which
               is what the surrogate passes on.
    places     In the second half of the cooling, a token that has k ones already has no place for
               another. There, what a silent latent gets is what taking the place of the weakest one,
               j, would change,

                   L(z_i = 1, z_j = 0) - L = |r + d_j - d_i|² - |r|²,

               times the slope of the surrogate at (u_i - u_j) / T, and u_j gets the opposite. Else
               thresholds grow till some of the k places stay empty.
    cooling    T falls from `temperature` to `cold`, in units of a mean activation, as a geometric
               series over cooling_steps.
    revival    While T falls, a latent that has not been 1 for revive_after steps begins anew, at what
               is left of a token that is drawn by its squared error.

soft_steps=0, gradient=slope, revive_after=0 and temperature=cold=2 give the released training.
`sagescope train` makes two fifths of the steps soft and the others cooling, unless they are set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from sae_lens.saes.sae import TrainStepInput, TrainStepOutput
from sae_lens.saes.topk_sae import calculate_topk_aux_acts

from ..errors import SAEError
from .binary import SURROGATES, BinaryTraining, BinaryTrainingConfig, top_ones

#: What a new mean activation counts, in the running mean of the soft steps.
NEW = 0.02


@dataclass(kw_only=True)
class BinaryTopKTrainingSAEConfig(BinaryTrainingConfig):
    """Settings of the module's formulas. k: the most codes of a token that can be 1.

    initial_threshold is for soft_steps=0. aux_loss_coefficient: of AuxK, in the soft steps.
    """

    decoder_init_norm: float | None = 0.1
    temperature: float = 0.2
    k: int = 32
    soft_steps: int = 1000
    cooling_steps: int = 1500
    cold: float = 0.03
    gradient: Literal["difference", "slope"] = "difference"
    revive_after: int = 30
    aux_loss_coefficient: float = 1.0

    @classmethod
    def architecture(cls) -> str:
        return "binary_topk"

    @classmethod
    def by_steps(cls, steps: int) -> dict[str, int]:
        """The settings that hang on how many steps a training has: two fifths soft, then cooling."""
        soft = steps * 2 // 5
        return {"soft_steps": soft, "cooling_steps": steps - soft}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.cold <= self.temperature:
            raise SAEError("cold of binary_topk must be above 0, and temperature no lower than it.")


class BinaryTopKTrainingSAE(BinaryTraining):
    """hard: whether codes are 0 or 1 by now. mean_activation, steps_silent: [d_sae].

    What is saved is binary, also of a training that ended in its soft steps.
    """

    cfg: BinaryTopKTrainingSAEConfig
    hard: torch.Tensor
    mean_activation: torch.Tensor
    steps_silent: torch.Tensor

    def initialize_weights(self) -> None:
        super().initialize_weights()
        place = self.W_enc.device
        self.register_buffer("hard", torch.tensor(self.cfg.soft_steps == 0, device=place))
        self.register_buffer("mean_activation", torch.ones(self.cfg.d_sae, device=place))
        self.register_buffer("steps_silent", torch.zeros(self.cfg.d_sae, device=place))
        self._step = 0

    def ones(self, above: torch.Tensor) -> torch.Tensor:
        return top_ones(above, self.cfg.k)

    def temperature(self) -> float:
        """T of the step that is taken."""
        done = (self._step - self.cfg.soft_steps) / max(1, self.cfg.cooling_steps)
        share = min(1.0, max(0.0, done))
        return self.cfg.temperature ** (1 - share) * self.cfg.cold**share

    def soft(self, above: torch.Tensor, hard: torch.Tensor) -> torch.Tensor:
        soft = super().soft(above, hard)
        return torch.where(self._shut_out(hard), soft.detach(), soft)

    def _shut_out(self, codes: torch.Tensor) -> torch.Tensor:
        """Where a latent is silent on a token that has no place for it; nowhere before places count."""
        cooling = self._step - self.cfg.soft_steps
        counts = self.cfg.gradient == "difference" and cooling >= self.cfg.cooling_steps / 2
        return counts * (codes.sum(-1, keepdim=True) >= self.cfg.k) & (codes == 0)

    def encode_with_hidden_pre(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes and u; in the soft steps, codes as TopK's and p."""
        if self.hard:
            return super().encode_with_hidden_pre(x)
        pre = self.hook_sae_acts_pre(self.process_sae_in(x) @ self.W_enc)
        kept = top_ones(pre.detach() * self.W_dec.detach().norm(dim=-1), self.cfg.k)
        return self.hook_sae_acts_post(pre * kept), pre

    def training_forward_pass(self, step_input: TrainStepInput) -> TrainStepOutput:
        self._step = step_input.n_training_steps
        cooling = self._step - self.cfg.soft_steps
        if not self.hard and cooling >= 0:
            self._harden()
        if self.hard and self.cfg.revive_after and cooling < self.cfg.cooling_steps:
            self._revive(step_input.sae_in)
        output = super().training_forward_pass(step_input)
        self._follow(output.feature_acts.detach())
        return output

    def calculate_aux_loss(
        self,
        step_input: TrainStepInput,
        feature_acts: torch.Tensor,
        hidden_pre: torch.Tensor,
        sae_out: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """What brings the gradient to `difference`, and is itself 0; in the soft steps, AuxK."""
        if not self.hard:
            return {"auxiliary_reconstruction_loss": self._aux(step_input, hidden_pre, sae_out)}
        if self.cfg.gradient == "slope":
            return {}
        codes = feature_acts.detach()
        soft = self.soft(hidden_pre, codes)
        turned = (1 - 2 * codes) * self.W_dec.detach().square().sum(-1)
        turning = ((soft - soft.detach()) * turned).sum(-1).mean()
        left = (step_input.sae_in - sae_out).detach()
        return {"turning_loss": turning + self._swapping(left, codes, hidden_pre)}

    def _swapping(
        self, left: torch.Tensor, codes: torch.Tensor, above: torch.Tensor
    ) -> torch.Tensor:
        """What gives latents that are shut out their gradient, and is itself 0. left: [batch, d_in]."""
        out, decoder = self._shut_out(codes), self.W_dec.detach()
        weakest = above.detach().masked_fill(codes == 0, torch.inf).argmin(-1, keepdim=True)
        apart = (above - above.gather(-1, weakest)) / self.temperature()
        soft = SURROGATES[self.cfg.surrogate](apart)
        without = left + decoder[weakest[..., 0]]
        change = (
            decoder.square().sum(-1)
            - 2 * without @ decoder.T
            + (without.square() - left.square()).sum(-1, keepdim=True)
        )
        return ((soft - soft.detach()) * change * out).sum(-1).mean()

    def _aux(
        self, step_input: TrainStepInput, pre: torch.Tensor, sae_out: torch.Tensor
    ) -> torch.Tensor:
        """How well dead latents make what is left: a scalar, scaled as SAELens's TopK does."""
        dead = step_input.dead_neuron_mask
        if dead is None or not (count := int(dead.sum())):
            return sae_out.new_zeros(())
        most = self.cfg.d_in // 2
        acts = calculate_topk_aux_acts(min(most, count), pre, dead)
        left = (step_input.sae_in - sae_out).detach()
        lost = (acts.relu() @ self.W_dec - left).square().sum(-1).mean()
        return self.cfg.aux_loss_coefficient * min(count / most, 1.0) * lost

    @torch.no_grad()
    def _follow(self, codes: torch.Tensor) -> None:
        """Keep count of when latents fired, and how much where they did."""
        fires = (codes > 0).sum(0)
        self.steps_silent = torch.where(fires > 0, 0, self.steps_silent + 1)
        if not self.hard:
            mean = codes.sum(0).float() / fires.clamp_min(1)
            first = self._step == 0
            moved = mean if first else torch.lerp(self.mean_activation, mean, NEW)
            self.mean_activation = torch.where(fires > 0, moved, self.mean_activation)

    @torch.no_grad()
    def _harden(self) -> None:
        for name, value in self._hardened(dict(self.named_parameters())).items():
            self.get_parameter(name).copy_(value)
        self.hard.fill_(True)

    def _hardened(self, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Of soft weights, those that change when codes become 0 or 1."""
        mean = self.mean_activation.to(weights["W_dec"].dtype)
        return {
            "W_enc": weights["W_enc"] / mean,
            "W_dec": weights["W_dec"] * mean[:, None],
            "log_threshold": torch.full_like(weights["log_threshold"], math.log(0.5)),
        }

    @torch.no_grad()
    def _revive(self, rows: torch.Tensor) -> None:
        """Latents that have been silent begin anew, at what is left of rows [batch, d_in]."""
        silent = (self.steps_silent > self.cfg.revive_after).nonzero()[:, 0]
        if not len(silent):
            return
        left = (rows - self.decode(self.encode(rows))).float()
        errors = left.square().sum(-1)
        count = min(len(silent), int((errors > 0).sum()))
        if not count:
            return
        silent, chosen = silent[:count], left[torch.multinomial(errors, count)].to(self.dtype)
        self.W_dec[silent] = chosen
        self.W_enc[:, silent] = (chosen / chosen.square().sum(-1, keepdim=True)).T
        self.log_threshold[silent] = math.log(0.5)
        self.steps_silent[silent] = 0

    @torch.no_grad()
    def fold_activation_norm_scaling_factor(self, scaling_factor: float) -> None:
        """As SAELens: the end of a training, so that codes are 0 or 1 from here on."""
        if not self.hard:
            self._harden()
        super().fold_activation_norm_scaling_factor(scaling_factor)

    @torch.no_grad()
    def fold_activation_whitening(
        self, mean: torch.Tensor, whitening_matrix: torch.Tensor, unwhitening_matrix: torch.Tensor
    ) -> None:
        """Likewise."""
        if not self.hard:
            self._harden()
        super().fold_activation_whitening(mean, whitening_matrix, unwhitening_matrix)

    def process_state_dict_for_saving_inference(self, state_dict: dict[str, Any]) -> None:
        if not state_dict.pop("hard"):
            state_dict |= self._hardened(state_dict)
        for name in ("mean_activation", "steps_silent"):
            state_dict.pop(name)
        super().process_state_dict_for_saving_inference(state_dict)
