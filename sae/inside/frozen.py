"""Linear maps inside a model, with what is not linear about them held: norms, output maps, encoders.

Everything here is written for pulling back: a direction that is read behind a map becomes the
direction that is read before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ..direction import alternating
from ..encoder import SEQUENTIAL, LatentReader
from ..errors import SAEError

#: How far the SAE's own pre-activation may be from the sum, as a share of the sum's scale.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class FrozenNorm:
    """A norm with its denominator held: x ↦ scale · gain ⊙ (x - mean(x), where it centres) + bias.

    gain, bias: float32 [d]. Families disagree on what a norm's weight means (Gemma adds one to it),
    so the norm is asked: signs that alternate come back as its gain, zeros as its bias.
    """

    module: torch.nn.Module
    gain: torch.Tensor
    bias: torch.Tensor
    centres: bool

    @classmethod
    def of(cls, module: torch.nn.Module, width: int, device: torch.device) -> FrozenNorm:
        """The norm of a model in float32."""
        signs = alternating(width, device)
        with torch.inference_mode():
            up, down = module(signs), module(-signs)
            constant = module(torch.ones_like(signs)) - module(-torch.ones_like(signs))
            bias = module(torch.zeros_like(signs))
        return cls(module, (up - down) * signs / 2, bias, not bool(constant.abs().max() > 1e-3))

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """What the norm multiplies with where it reads x [..., d]: [...], 1 over its denominator."""
        made = (self.module(x) - self.bias).double()
        plain = (self.gain * self._centred(x)).double()
        return ((made * plain).sum(-1) / plain.square().sum(-1).clamp_min(1e-30)).float()

    def pulled(self, direction: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """The direction that is read before the norm: both [..., d], scale [...]."""
        found = direction * self.gain
        if self.centres:
            found = found - found.mean(-1, keepdim=True)
        return found * scale[..., None]

    def _centred(self, x: torch.Tensor) -> torch.Tensor:
        return x - x.mean(-1, keepdim=True) if self.centres else x


def pulled(module: torch.nn.Module, direction: torch.Tensor) -> torch.Tensor:
    """A direction [..., out] that is read behind a linear map, before it: [..., in]."""
    weight = weight_of(module)
    return direction @ weight


def weight_of(module: torch.nn.Module) -> torch.Tensor:
    """The weight [out, in] of a linear map. Raises SAEError for what is none."""
    weight: Any = getattr(module, "weight", None)
    if isinstance(module, torch.nn.Linear):
        return weight
    if type(module).__name__ == "Conv1D":  # GPT-2's, which stores it the other way round
        return weight.T
    raise SAEError(
        f"A {type(module).__name__} stands where a linear map is expected, so this model's parts "
        f"cannot be told apart: take an explainer that needs activations alone."
    )


def bias_of(module: torch.nn.Module, direction: torch.Tensor) -> torch.Tensor:
    """What the bias of a linear map adds to what is read behind it: [...]."""
    bias: Any = getattr(module, "bias", None)
    return direction.new_zeros(direction.shape[:-1]) if bias is None else direction @ bias


@dataclass(frozen=True)
class Reading:
    """How an SAE reads one feature at some tokens, each an affine function of the hook point.

    direction: float32 [n, width], at all numbers of the hook point. bias: [n]. measured: [n], the
    SAE's own pre-activations. activation: [n], what it makes of them.
    """

    direction: torch.Tensor
    bias: torch.Tensor
    measured: torch.Tensor
    activation: torch.Tensor


def reading(reader: LatentReader, feature: int, at_hook: torch.Tensor) -> Reading:
    """How the SAE reads `feature` where the hook point has at_hook [n, width].

    The formulas are those of SAELens's own architectures (W_enc, gates, thresholds, decoder biases
    that are taken from the input, run-time norms, which are held); each is held against the SAE's own
    pre-activations. Raises SAEError for an SAE that reads otherwise.
    """
    module: Any = reader.sae.module
    refusal = SAEError(
        f"The latents of {reader.sae.name} ({reader.sae.architecture}) are no linear readings of "
        f"{reader.at.name}, so they cannot be taken apart: take an explainer that needs activations "
        f"alone."
    )
    x = reader.prepared(at_hook, reader.at).float()
    if reader.sae.architecture in SEQUENTIAL or not hasattr(module, "hook_sae_acts_pre"):
        raise refusal
    measured, activation = _encoded(module, feature, x)
    column = module.W_enc[:, feature].float()
    if measured is None or column.shape[-1] != x.shape[-1]:
        raise refusal
    if hasattr(module, "r_mag"):
        column = column * module.r_mag[feature].exp()
    direction, shift = _held_norm(module, x, column)
    bias = shift + _own_bias(module, feature)
    if module.cfg.apply_b_dec_to_input:
        bias = bias - column @ module.b_dec.float()
    ours = (x * direction).sum(-1) + bias
    size = (x * direction).abs().sum(-1) + bias.abs()
    if ((ours - measured).abs() > TOLERANCE * size).any():
        raise refusal
    return Reading(_at_hook(reader, direction, at_hook.shape[-1]), bias, measured, activation)


def _encoded(
    module: Any, feature: int, x: torch.Tensor
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """The SAE's own pre-activations of a feature, if it has any, and its activations: [n] each."""
    seen: list[torch.Tensor] = []
    handle = module.hook_sae_acts_pre.register_forward_hook(
        lambda _module, _args, made: seen.append(made[..., feature].clone())
    )
    try:
        made = module.encode(x)[..., feature]
    finally:
        handle.remove()
    return (seen[-1].float() if seen else None), made.float()


def _held_norm(
    module: Any, x: torch.Tensor, column: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The direction [n, d] before the SAE's own run-time norm, and the constant that it adds [n]."""
    kind = module.cfg.normalize_activations
    if kind == "constant_norm_rescale":
        scale = x.shape[-1] ** 0.5 / x.norm(dim=-1, keepdim=True)
        return scale * column, x.new_zeros(len(x))
    if kind == "layer_norm":
        centred = x - x.mean(-1, keepdim=True)
        scale = 1 / (centred.std(-1, keepdim=True) + 1e-5)
        return scale * (column - column.mean()), x.new_zeros(len(x))
    return column.expand(len(x), -1), x.new_zeros(len(x))


def _own_bias(module: Any, feature: int) -> torch.Tensor:
    for name, sign in (("b_mag", 1), ("b_enc", 1), ("threshold", -1)):
        found = getattr(module, name, None)
        if found is not None:
            return sign * found[feature].float()
    return torch.zeros(())


def _at_hook(reader: LatentReader, direction: torch.Tensor, width: int) -> torch.Tensor:
    """Directions [n, d_in] of what the SAE reads, at all `width` numbers of the hook point."""
    if reader.metadata.hook_head_index is not None:
        whole = direction.new_zeros(len(direction), width)
        return reader.restored(direction, whole, reader.at)
    mean = direction.mean(-1, keepdim=True)
    probe = direction.new_ones(1, width)
    return direction if bool(reader.prepared(probe, reader.at).any()) else direction - mean
