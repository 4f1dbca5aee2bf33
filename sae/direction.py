"""The direction of a feature: what its SAE writes to the subject model for it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch

from .block_places import layout_of, place_of
from .encoder import LatentReader
from .errors import SAEError
from .subject import Edit

#: What a linear map carries on to the residual stream.
_THROUGH_LINEAR = re.compile(r"blocks\.\d+\.(attn\.o|mlp\.out)\.hook_in")
#: The residual stream as a norm reads it: the stream itself goes on beside this point.
_BESIDE = re.compile(r"blocks\.\d+\.ln[12]\.hook_in")


@dataclass(frozen=True)
class Direction:
    """The direction of one feature, at the hook point that its SAE writes to.

    reader: the SAE on its subject model; hold its subject's `turn` while the direction is used.
    random: the seed of a random direction in its place, isotropic and of the same norm wherever
    that is added.
    """

    reader: LatentReader
    feature: int
    random: int | None = None

    def decoded(self, read: torch.Tensor) -> torch.Tensor:
        """What the SAE writes for an activation of 1 where it read `read` [..., d_in].

        [..., d_out], or [d_out] where that does not depend on what was read. It is what the SAE's
        own `decode` gives, which would multiply with the whole decoder.
        """
        module = self.reader.sae.module
        row = module.W_dec[self.feature].float()
        if getattr(module.cfg, "rescale_acts_by_decoder_norm", False):
            row = row / row.norm()
        if hasattr(module.cfg, "d_out"):  # transcoders do not scale what they write
            return self._drawn(row)
        module.run_time_activation_norm_fn_in(read)
        written = module.run_time_activation_norm_fn_out(row)
        module.run_time_activation_norm_fn_in(read)
        return self._drawn(written - module.run_time_activation_norm_fn_out(torch.zeros_like(row)))

    def _drawn(self, own: torch.Tensor) -> torch.Tensor:
        """The random direction with the norm of the feature's own, where one is asked for."""
        if self.random is None:
            return own
        draw = np.random.default_rng([self.random, self.feature])  # the same on every device
        found = torch.as_tensor(draw.normal(size=own.shape[-1]), dtype=own.dtype, device=own.device)
        return found / found.norm() * own.norm(dim=-1, keepdim=True)

    def edit(self, amount: float) -> Edit:
        """Add the direction at each token but the BOS token, as for an activation of `amount`.

        Raises SAEError where the model would not take notice of it.
        """
        self.check()

        def change(found: torch.Tensor) -> torch.Tensor:
            whole = found.float()
            push = self.pushed(whole, amount).expand(whole.shape).clone()
            push[:, : int(self.reader.prepend_bos)] = 0
            return (whole + push).to(found.dtype)

        return Edit(self.reader.written, change)

    def check(self) -> None:
        """Raise SAEError where the model would not take notice of what is added."""
        reader, at = self.reader, self.reader.written
        if _BESIDE.fullmatch(at.canonical):
            raise SAEError(
                f"{at.name} is the residual stream as one norm of {reader.subject.id} reads it, and "
                f"what is added there reaches nothing else: to steer, take an SAE on "
                f"hook_resid_pre or hook_resid_post."
            )

    def pushed(self, found: torch.Tensor, amount: float) -> torch.Tensor:
        """What is added for an activation of `amount` where the model has `found` [..., width].

        float32, of that shape or one that expands to it.
        """
        reader, at = self.reader, self.reader.written
        made = amount * self.decoded(reader.prepared(found, at))
        return reader.restored(made, torch.zeros_like(found), at)

    def in_residual_stream(self) -> torch.Tensor:
        """The direction of norm 1 that reaches the residual stream: float32 [d_model].

        What attention or MLP compute before their output map is taken through that map. Raises
        SAEError where no linear map leads to the residual stream.
        """
        subject, at = self.reader.subject, self.reader.written
        _, place = place_of(at, layout_of(subject)) or (0, None)
        if place is not None and place.passes:
            raise SAEError(
                f"What {at.name} writes passes another norm of {subject.id} before the residual "
                f"stream: steer the feature instead."
            )
        if at.in_residual_stream or (place is not None and place.is_added):
            return self._at_hook_point()
        if not _THROUGH_LINEAR.fullmatch(at.canonical):
            raise SAEError(
                f"{self.reader.sae.name} writes to {at.name}, from where no direction leads straight "
                f"to the logits of {subject.id}: steer the feature instead."
            )
        linear = subject.model.get_submodule(at.module)
        found = self._at_hook_point().to(subject.dtype)
        return _of_norm_1((linear(found) - linear(torch.zeros_like(found))).float())

    def _at_hook_point(self) -> torch.Tensor:
        """The direction of norm 1 among all numbers of a token at the hook point: [width]."""
        reader = self.reader
        made = self.decoded(alternating(reader.sae.module.cfg.d_in, reader.subject.device))
        width = made.shape[-1]
        if reader.metadata.hook_head_index is not None:
            ids = torch.zeros(1, 1, dtype=torch.long)
            width = reader.subject.activations(ids, reader.written).shape[-1]
        return _of_norm_1(reader.restored(made, made.new_zeros(width), reader.written))


def alternating(n: int, device: torch.device) -> torch.Tensor:
    """Signs that alternate: n numbers whose root mean square is 1 and whose mean is 0, for even n."""
    found = torch.ones(n, device=device)
    found[1::2] = -1
    return found


def _of_norm_1(found: torch.Tensor) -> torch.Tensor:
    return found / found.norm().clamp_min(torch.finfo(found.dtype).tiny)
