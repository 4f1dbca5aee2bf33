"""Linear maps inside a model, with what is not linear about them held: norms, output maps, encoders.

Everything here is written for pulling back: a direction that is read behind a map becomes the
direction that is read before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ..direction import alternating
from ..encoder import LatentReader
from ..errors import SAEError
from ..norms import LinearNorm
from ..subject import SubjectModel
from .preactivation import encoder_row, pre_activations

#: How far the SAE's pre-activation may be from what its weights say, or from what the model's parts
#: add up to, as a share of all that is summed.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class FrozenNorm:
    """A norm with its denominator held: x ↦ scale · linear(x) + bias.

    linear: its linear part. bias: float32 [d], what it makes of nothing.
    """

    module: torch.nn.Module
    linear: LinearNorm
    bias: torch.Tensor

    @classmethod
    def of(cls, module: torch.nn.Module, subject: SubjectModel) -> FrozenNorm:
        """That of a module of a subject model in float32; hold its `turn`."""
        nothing = torch.zeros(subject.d_model, device=subject.device)
        return cls(module, LinearNorm.of(module, subject), module(nothing))

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """What the norm multiplies with where it reads x [..., d]: [...], 1 over its denominator."""
        made, plain = (self.module(x) - self.bias).double(), self.linear.passed(x).double()
        return ((made * plain).sum(-1) / plain.square().sum(-1).clamp_min(1e-30)).float()

    def pulled(self, direction: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """The direction that is read before the norm: both [..., d], scale [...]."""
        return self.linear.read(direction) * scale[..., None]


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

    direction: float32 [n, width], at all numbers of the hook point. bias: what is read of nothing.
    pre_activation, activation: [n], the SAE's own.
    """

    direction: torch.Tensor
    bias: torch.Tensor
    pre_activation: torch.Tensor
    activation: torch.Tensor


def reading(reader: LatentReader, feature: int, at_hook: torch.Tensor) -> Reading:
    """How the SAE reads `feature` where the hook point has at_hook [n, width].

    The SAE's own run-time norms are held. Raises SAEError for an SAE whose latents are no linear
    readings, or that reads otherwise than its architecture says.
    """
    row = encoder_row(reader, feature)
    found = at_hook.float()
    constant = alternating(found.shape[-1], found.device)[None]

    def read(x: torch.Tensor) -> torch.Tensor:
        return _at_hook(reader, _scale(reader, x) * row, x.shape[-1])

    direction = read(found)
    # The constant is found in one place and held against the SAE in others.
    bias = pre_activations(reader, constant, feature) - (constant * read(constant)).sum(-1)
    measured = pre_activations(reader, found, feature)
    parts = found * direction
    gap = (parts.sum(-1) + bias - measured).abs()
    if (gap > TOLERANCE * (parts.abs().sum(-1) + bias.abs())).any():
        raise SAEError(
            f"{reader.sae.name} does not read {reader.at.name} as a {reader.sae.architecture} SAE "
            f"does, so its latents cannot be taken apart: take an explainer that needs activations "
            f"alone."
        )
    activation = reader.sae.module.encode(reader.prepared(found, reader.at))[..., feature]
    return Reading(direction, bias.expand(len(found)), measured, activation.float())


def _scale(reader: LatentReader, found: torch.Tensor) -> torch.Tensor:
    """What the SAE's own run-time norm multiplies with, at each token: [n, 1]."""
    x = reader.prepared(found, reader.at).float()
    kind = reader.sae.module.cfg.normalize_activations
    if kind == "constant_norm_rescale":
        return x.shape[-1] ** 0.5 / x.norm(dim=-1, keepdim=True)
    if kind == "layer_norm":
        return 1 / (x.std(-1, keepdim=True) + 1e-5)
    return torch.ones_like(x[..., :1])


def _at_hook(reader: LatentReader, direction: torch.Tensor, width: int) -> torch.Tensor:
    """Directions [n, d_in] of what the SAE reads, at all `width` numbers of the hook point."""
    if reader.metadata.hook_head_index is None:
        return direction
    return reader.restored(direction, direction.new_zeros(len(direction), width), reader.at)
