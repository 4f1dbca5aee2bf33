"""Which parts of a model add up to a hook point."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import SAEError
from ..hook_points import HookPoint
from ..subject import SubjectModel

_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
#: Places of the residual stream in a block: (attention of the block is in, its MLP is in).
_STREAM = {
    "hook_in": (False, False),
    "ln1.hook_in": (False, False),
    "ln2.hook_in": (True, False),
    "hook_out": (True, True),
}
#: Where a norm is between the stream and the hook point: the norm, and the place that it reads.
_NORMED = {
    "ln1.hook_out": ("ln1", "ln1.hook_in"),
    "attn.hook_in": ("ln1", "ln1.hook_in"),
    "ln2.hook_out": ("ln2", "ln2.hook_in"),
    "mlp.hook_in": ("ln2", "ln2.hook_in"),
}
_ATTENTION = {"attn.hook_out", "attn.o.hook_out"}
_MLP = {"mlp.hook_out", "mlp.out.hook_out"}


@dataclass(frozen=True)
class Stem:
    """What adds up to a hook point.

    reads: "stream" is the residual stream, "attention" and "mlp" what one of them writes to it,
    "heads" what heads have before their output map, "neurons" what MLP neurons have before theirs.
    attention, mlps: the layers whose attention and MLP are in the sum. embeds: whether the embedding
    is. norm: name of a norm between the stream and the hook point, None where there is none. depth: how many
    blocks have to run.
    """

    reads: Literal["stream", "attention", "mlp", "heads", "neurons"]
    attention: range
    mlps: range
    embeds: bool = False
    norm: str | None = None
    depth: int = 1


def stem_of(at: HookPoint, subject: SubjectModel) -> Stem:
    """What adds up to a hook point. Raises SAEError for one that is no such sum."""
    hooks = subject.bridge.hook_dict
    name = (hooks[at.canonical].name or at.canonical) if at.canonical in hooks else at.canonical
    if name in ("ln_final.hook_in", "ln_final.hook_out"):
        layers = range(subject.n_layers)
        norm = "ln_final" if name.endswith("out") else None
        return Stem("stream", layers, layers, True, norm, subject.n_layers)
    found = _BLOCK.fullmatch(name)
    layer, place = (int(found[1]), found[2]) if found else (0, "")
    if place in _STREAM:
        return _stream(layer, place)
    if place in _NORMED:
        norm, read = _NORMED[place]
        stream = _stream(layer, read)
        return replace(stream, norm=f"blocks.{layer}.{norm}")
    one, none = range(layer, layer + 1), range(0)
    if place in _ATTENTION:
        return Stem("attention", one, none, depth=layer + 1)
    if place == "attn.o.hook_in":
        return Stem("heads", one, none, depth=layer + 1)
    if place in _MLP:
        return Stem("mlp", none, one, depth=layer + 1)
    if place == "mlp.out.hook_in":
        return Stem("neurons", none, one, depth=layer + 1)
    raise SAEError(
        f"{at.name} of {subject.id} is no sum of what the model wrote, so nothing there can be "
        f"attributed to heads and MLPs: it goes for the residual stream, for what norms, attention "
        f"and MLPs make of it, and for hook_z."
    )


def _stream(layer: int, place: str) -> Stem:
    has_attention, has_mlp = _STREAM[place]
    attention, mlps = range(layer + has_attention), range(layer + has_mlp)
    return Stem("stream", attention, mlps, True, depth=layer + 1)
