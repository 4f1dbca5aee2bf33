"""The places of a block, in the order in which a pass comes by: what each holds, and what is in it.

One table, from which the others are derived: what adds up to a hook point (`inside.stem`), through
which norm it reads the residual stream (`inside.preactivation`), what is before what
(`inside.model_token_vectors`). It depends on where a family of models has its norms.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

from .hook_points import HookPoint

if TYPE_CHECKING:
    from .subject import SubjectModel

#: Where norms stand: before attention and MLP (Llama, GPT-2); before and behind them (Gemma 2); behind
#: them alone (OLMo 2); or before both, which read the block's input side by side (Pythia).
Layout = Literal["before", "both", "behind", "parallel"]
Holds = Literal["stream", "attention", "heads", "mlp", "neurons"]
#: Steps in a block.
LAST = 4
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


@dataclass(frozen=True)
class BlockPlace:
    """A place of a block.

    holds: "stream" is the residual stream, "attention" and "mlp" what one of them makes of it,
    "heads" what heads have before their output map, "neurons" what MLP neurons have before theirs.
    attention, mlp: whether the block's own are in the stream there, or have run. step: the order of a
    pass; 0 is the block's input, LAST its output, which is the next one's input. norm: the norm
    through which that is there, None where there is none. passes: the norm that what a part makes has
    still to pass before it is added to the stream. is_added: whether it is added as it is there.
    """

    holds: Holds
    attention: bool
    mlp: bool
    step: int
    norm: str | None = None
    passes: str | None = None
    is_added: bool = False


@dataclass(frozen=True)
class Norms:
    """Names of a block's norms before and behind attention and MLP; None where there is none."""

    before_attention: str | None
    before_mlp: str | None
    behind_attention: str | None
    behind_mlp: str | None


NORMS: dict[Layout, Norms] = {
    "before": Norms("ln1", "ln2", None, None),
    "both": Norms("ln1", "ln2", "ln1_post", "ln2_post"),
    "behind": Norms(None, None, "ln1", "ln2"),
    "parallel": Norms("ln1", "ln2", None, None),
}


def layout_of(subject: SubjectModel) -> Layout:
    """Where the subject model has its norms, by the names that the bridge gives its parts."""
    hooks = subject.bridge.hook_dict
    if "blocks.0.ln1_post.hook_in" in hooks:
        return "both"
    added = hooks.get("blocks.0.hook_attn_out")
    if added is not None and added.name == "blocks.0.ln1.hook_out":
        return "behind"
    return "before" if "blocks.0.hook_resid_mid" in hooks else "parallel"


def place_of(at: HookPoint | str, layout: Layout) -> tuple[int, BlockPlace] | None:
    """The block of a hook point (or of its canonical name), and the place in it; None outside of these."""
    found = _BLOCK.fullmatch(at if isinstance(at, str) else at.canonical)
    if found is None or found[2] not in _places(layout):
        return None
    return int(found[1]), _places(layout)[found[2]]


@cache
def _places(layout: Layout) -> dict[str, BlockPlace]:
    """The places of a block by name."""
    norms = NORMS[layout]
    found = {
        "hook_in": BlockPlace("stream", False, False, 0),
        "hook_out": BlockPlace("stream", True, True, LAST),
        "attn.hook_in": BlockPlace("stream", False, False, 0, norms.before_attention),
        "attn.o.hook_in": BlockPlace("heads", True, False, 1, passes=norms.behind_attention),
        "mlp.out.hook_in": BlockPlace("neurons", True, True, 3, passes=norms.behind_mlp),
    }
    is_after_attention = layout != "parallel"
    read_by_mlp = BlockPlace("stream", is_after_attention, False, 2 * is_after_attention)
    found["mlp.hook_in"] = replace(read_by_mlp, norm=norms.before_mlp)
    for norm, place in (
        (norms.before_attention, found["hook_in"]),
        (norms.before_mlp, read_by_mlp),
    ):
        if norm:
            found |= {f"{norm}.hook_in": place, f"{norm}.hook_out": replace(place, norm=norm)}
    for part, out, made, norm in (
        ("attn", "attn.o", BlockPlace("attention", True, False, 1), norms.behind_attention),
        ("mlp", "mlp.out", BlockPlace("mlp", True, True, 3), norms.behind_mlp),
    ):
        raw = replace(made, passes=norm, is_added=norm is None)
        found |= {f"{part}.hook_out": raw, f"{out}.hook_out": raw}
        if norm:
            behind = replace(made, norm=norm, is_added=True)
            found |= {f"{norm}.hook_in": raw, f"{norm}.hook_out": behind}
    return found
