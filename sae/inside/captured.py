"""One pass with what an attribution needs of it: patterns, values, neurons, and the stream."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import SAEError
from ..subject import SubjectModel

#: The level of hooks that `capture` puts on the bridge, and takes off again: the bridge's own contexts
#: count from 0 up, and what somebody else has put there has none.
OWN = -1


@dataclass
class Captured:
    """What rows of tokens made in one pass, at the last token of each row where nothing else is said.

    patterns: layer → [rows, heads, seq], how much of each token is taken. values: layer → [rows, seq,
    key-value heads, d_head], of all tokens. neurons: layer → [rows, width], after the nonlinearity.
    at: hook name → [rows, width]. everywhere: hook name → [rows, seq, d_model], of all tokens, for
    those that were asked for.
    """

    patterns: dict[int, torch.Tensor] = field(default_factory=dict)
    values: dict[int, torch.Tensor] = field(default_factory=dict)
    neurons: dict[int, torch.Tensor] = field(default_factory=dict)
    at: dict[str, torch.Tensor] = field(default_factory=dict)
    everywhere: dict[str, torch.Tensor] = field(default_factory=dict)


def capture(
    subject: SubjectModel,
    hooks: Mapping[str, Any],
    ids: torch.Tensor,
    ends: torch.Tensor,
    *,
    attention: Sequence[int],
    mlps: Sequence[int],
    at: Sequence[str],
    everywhere: Sequence[str] = (),
    depth: int,
) -> Captured:
    """Run rows through the first `depth` blocks and keep what is asked for.

    hooks: the bridge's hook points (it makes that table anew whenever it is asked). ids: [rows, seq],
    padded on the right. ends: [rows], the last token of each. attention, mlps: the
    layers whose patterns and values, and whose neurons are kept. at, everywhere: hook names. Hold the
    subject's `turn`. Raises SAEError where the model has no such places.
    """
    bridge: Any = subject.bridge
    found = Captured()
    rows = torch.arange(len(ids))

    def last(made: torch.Tensor) -> torch.Tensor:
        return made[rows, ends].flatten(1).float()

    wanted: list[tuple[str, Callable[[torch.Tensor], None]]] = []

    def keep(name: str, into: dict[Any, torch.Tensor], key: Any, of: Callable[..., Any]) -> None:
        if name not in hooks:
            raise SAEError(
                f"{subject.id} has no {name}, so what its parts write cannot be told apart (as in "
                f"mixtures of experts): take an explainer that needs activations alone."
            )

        def store(made: torch.Tensor) -> None:
            into[key] = of(made)

        wanted.append((hooks[name].name or name, store))

    for layer in attention:
        keep(
            f"blocks.{layer}.attn.hook_pattern",
            found.patterns,
            layer,
            lambda made: made[rows, :, ends].float(),
        )
        keep(f"blocks.{layer}.attn.v.hook_out", found.values, layer, lambda made: made.float())
    for layer in mlps:
        keep(f"blocks.{layer}.mlp.out.hook_in", found.neurons, layer, last)
    for name in dict.fromkeys(at):
        keep(name, found.at, name, last)
    for name in dict.fromkeys(everywhere):
        keep(name, found.everywhere, name, lambda made: made.float().clone())
    stop = {"stop_at_layer": depth} if depth < subject.n_layers else {}
    # The bridge's own `run_with_hooks` would make the table of hook points anew for each hook.
    with torch.inference_mode(), contextlib.ExitStack() as stack:
        for name, store in wanted:
            hooks[name].add_hook(_looking(store), level=OWN)
            stack.callback(hooks[name].remove_hooks, level=OWN)
        bridge(ids.to(subject.device), return_type=None, **stop)
    _check(found, wanted, subject)
    return found


def _looking(store: Callable[[torch.Tensor], None]) -> Callable[..., None]:
    def look(made: Any, hook: Any) -> None:
        store(made[0] if isinstance(made, tuple) else made)

    return look


def _check(found: Captured, wanted: Sequence[Any], subject: SubjectModel) -> None:
    kept = (found.patterns, found.values, found.neurons, found.at, found.everywhere)
    if sum(map(len, kept)) != len(wanted):
        raise SAEError(
            f"A pass of {subject.id} left out some of its own hook points, so its parts cannot be "
            f"told apart: take an explainer that needs activations alone."
        )
