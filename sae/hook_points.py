"""Hook points: from a TransformerLens name to a module whose input or output it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .errors import HookPointError, did_you_mean

if TYPE_CHECKING:
    from .subject import SubjectModel


#: The residual stream, by legacy and bridge name, and what is written to it.
_RESIDUAL = re.compile(
    r"(embed|pos_embed)\.hook_out|ln_final\.hook_in|blocks\.\d+\.("
    r"hook_in|hook_out|hook_(resid_(pre|mid|post)|attn_out|mlp_out)|ln[12]\.hook_in|"
    r"(attn|mlp|attn\.o|mlp\.out)\.hook_out)"
)


@dataclass(frozen=True)
class HookPoint:
    """A place in the subject model: the input or output of one module.

    name: as the user gave it. canonical: the bridge's own name for it. module: the dotted path of
    the Hugging Face module. layer: index of the block it is in, or None.
    """

    name: str
    canonical: str
    module: str
    side: Literal["in", "out"]
    layer: int | None

    @property
    def in_residual_stream(self) -> bool:
        """Whether this is the residual stream, or something that is added to it."""
        return _RESIDUAL.fullmatch(self.canonical) is not None


def resolve_hook_point(name: str, subject: SubjectModel) -> HookPoint:
    """Find `name` (legacy or bridge form) in the subject model.

    Raises HookPointError for a name the model does not have (with the near ones), and for one that
    is computed inside a module, so that no module's input or output equals it.
    """
    bridge = subject.bridge
    known = bridge.hook_dict
    if name not in known:
        raise HookPointError(
            f"{subject.id} has no hook point {name!r}. {did_you_mean(name, known)}"
        )
    canonical = known[name].name or name
    owner, _, kind = canonical.rpartition(".")
    side = {"hook_in": "in", "hook_out": "out"}.get(kind)
    if side is None or not owner:
        raise HookPointError(
            f"{name!r} is computed inside a module of {subject.id}: only inputs and outputs of "
            f"modules can be read, such as blocks.0.hook_resid_post, blocks.0.hook_mlp_out or "
            f"blocks.0.attn.hook_z."
        )
    module = bridge.adapter.translate_transformer_lens_path(owner)
    if not has_module(subject, module):
        raise HookPointError(f"{name!r} names {module}, which {subject.id} does not have.")
    parts = owner.split(".")
    layer = int(parts[1]) if parts[0] == "blocks" and len(parts) > 1 else None
    return HookPoint(name, canonical, module, "in" if side == "in" else "out", layer)


def has_module(subject: SubjectModel, path: str) -> bool:
    """Whether the subject model has a module at that dotted path."""
    try:
        subject.model.get_submodule(path)
    except AttributeError:
        return False
    return True
