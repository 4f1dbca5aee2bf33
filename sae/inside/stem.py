"""Which parts of a model add up to a hook point."""

from __future__ import annotations

from dataclasses import dataclass

from ..block_places import NORMS, Holds, Norms, layout_of, place_of
from ..errors import SAEError
from ..hook_points import HookPoint
from ..subject import SubjectModel


@dataclass(frozen=True)
class Stem:
    """What adds up to a hook point.

    reads: what is there (see `block_places.BlockPlace`).
    attention, mlps: the layers whose attention and MLP are in the sum. embeds: whether the embedding
    is. norm: name of a norm between that and the hook point, None where there is none. depth: how many
    blocks have to run. norms: the model's, in each block.
    """

    reads: Holds
    attention: range
    mlps: range
    embeds: bool = False
    norm: str | None = None
    depth: int = 1
    norms: Norms = NORMS["before"]


def stem_of(at: HookPoint, subject: SubjectModel) -> Stem:
    """What adds up to a hook point. Raises SAEError for one that is no such sum."""
    layout = layout_of(subject)
    norms = NORMS[layout]
    if at.canonical in ("ln_final.hook_in", "ln_final.hook_out"):
        layers = range(subject.n_layers)
        norm = "ln_final" if at.canonical.endswith("out") else None
        return Stem("stream", layers, layers, True, norm, subject.n_layers, norms)
    found = place_of(at, layout)
    if found is None:
        raise SAEError(
            f"{at.name} of {subject.id} is no sum of what the model wrote, so nothing there can be "
            f"attributed to heads and MLPs: it goes for the residual stream, for what norms, attention "
            f"and MLPs make of it, and for hook_z."
        )
    layer, place = found
    norm = f"blocks.{layer}.{place.norm}" if place.norm else None
    if place.holds == "stream":
        attention, mlps = range(layer + place.attention), range(layer + place.mlp)
        return Stem("stream", attention, mlps, True, norm, layer + 1, norms)
    one, none = range(layer, layer + 1), range(0)
    of_attention = place.holds in ("attention", "heads")
    parts = (one, none) if of_attention else (none, one)
    return Stem(place.holds, *parts, False, norm, layer + 1, norms)
