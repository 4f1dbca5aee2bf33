"""The attribution graph of a feature: what brings it about, by cluster, and what it promotes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ...sae.inside.circuits import PromotedHere
from ...sae.visible import visible
from ..records import Record, short
from .contributors import head_at
from .mechanisms import Sampled

#: Heads, neurons and features that a graph names, and promoted tokens.
NAMED, PROMOTED = 7, 8
#: Texts that show a cluster, with so many tokens before the one that is explained.
EXAMPLES, BEFORE = 4, 12


class GraphNode(Record):
    """One term of the sum: its mean over the samples, in the units of the activation.

    kind: "head", "neuron", "feature", "embedding", "bias" or "rest". detail: what else is known of it.
    """

    kind: str
    name: str
    value: float
    detail: str = ""


class GraphToken(Record):
    """A token that the feature promotes or suppresses: logits added straight, on average."""

    token: str
    weight: float


class GraphGroup(Record):
    """One cluster of samples, or all of them.

    label: what it responds to. samples: how many. pre_activation: the mean, which the values of the
    nodes add up to. examples: texts up to the token, the token in ⟦ ⟧.
    """

    label: str
    samples: int
    pre_activation: float
    nodes: tuple[GraphNode, ...]
    promoted: tuple[GraphToken, ...] = ()
    suppressed: tuple[GraphToken, ...] = ()
    examples: tuple[str, ...] = ()


class CircuitGraph(Record):
    """The attribution graph of a feature, a group for each cluster."""

    groups: tuple[GraphGroup, ...]


def group_of(label: str, members: Sequence[Sampled], promoted: PromotedHere | None) -> GraphGroup:
    """The graph of one cluster. The values of its nodes add up to its mean pre-activation."""
    found = [one.found for one in members]
    mean = float(np.mean([one.pre_activation for one in found]))
    nodes = [
        *_part("head", _heads(members)),
        *_part("neuron", _neurons(members)),
        *_part("feature", _features(members)),
    ]
    for name in ("embedding", "position", "bias"):
        value = float(np.mean([getattr(one, name) for one in found]))
        kind = "bias" if name == "bias" else "embedding"
        what = {"embedding": "the token's embedding", "position": "its place", "bias": "biases"}
        if value:
            nodes.append(GraphNode(kind=kind, name=what[name], value=value))
    for place, sae in enumerate(one.sae for one in found[0].upstream):
        error = float(np.mean([one.upstream[place].error for one in found]))
        bias = float(np.mean([one.upstream[place].bias for one in found]))
        nodes.append(GraphNode(kind="rest", name=f"error of {sae}", value=error))
        nodes.append(GraphNode(kind="bias", name=f"bias of {sae}", value=bias))
    rounding = mean - sum(node.value for node in nodes)
    nodes.append(GraphNode(kind="rest", name="rounding", value=rounding))
    up, down = (
        tuple(GraphToken(token=visible(one.token), weight=one.weight) for one in listed[:PROMOTED])
        for listed in ((promoted.promoted, promoted.suppressed) if promoted else ((), ()))
    )
    order = sorted(members, key=lambda one: -one.found.pre_activation)[:EXAMPLES]
    return GraphGroup(
        label=label,
        samples=len(members),
        pre_activation=mean,
        nodes=tuple(nodes),
        promoted=up,
        suppressed=down,
        examples=tuple(_example(one) for one in order),
    )


_Terms = dict[str, tuple[float, str]]


def _part(kind: str, terms: _Terms) -> list[GraphNode]:
    """The largest terms of a kind by name, and the others as one."""
    order = sorted(terms, key=lambda name: -abs(terms[name][0]))
    named = [
        GraphNode(kind=kind, name=name, value=terms[name][0], detail=terms[name][1])
        for name in order[:NAMED]
    ]
    rest = order[NAMED:]
    if rest:
        value = sum(terms[name][0] for name in rest)
        named.append(GraphNode(kind="rest", name=f"{len(rest):,} other {kind}s", value=value))
    return named


def _heads(members: Sequence[Sampled]) -> _Terms:
    found = [one.found for one in members]
    if not found[0].heads.size:
        return {}
    sums = np.mean([one.heads.sum(-1, dtype=np.float64) for one in found], axis=0)
    strongest = set(np.argsort(-np.abs(sums), axis=None)[:NAMED].tolist())
    return {
        f"head {layer}.{head}": (
            float(sums[layer, head]),
            _reads(members, layer, head) if layer * sums.shape[1] + head in strongest else "",
        )
        for layer in range(sums.shape[0])
        for head in range(sums.shape[1])
        if sums[layer, head]
    }


def _reads(members: Sequence[Sampled], layer: int, head: int) -> str:
    """Where a head reads from in most samples, in words."""
    places: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for one in members:
        brought = one.found.heads[layer, head]
        source = int(np.abs(brought).argmax())
        at = head_at(one.found, layer, head, source)
        if at.offset is None:
            places["the start of the text"] += 1
            continue
        back = len(brought) - 1 - source
        near = "the token itself" if not back else f"{back} before" if back <= 8 else "further back"
        places[near] += 1
        words[visible(one.found.tokens[source]).strip()] += 1
    where = ", ".join(f"{place} ({n}/{len(members)})" for place, n in places.most_common(2))
    what = ", ".join(f"“{word}”" for word, _ in words.most_common(4) if word)
    return f"reads {where}" + (f": {what}" if what else "")


def _neurons(members: Sequence[Sampled]) -> _Terms:
    if not members[0].found.neurons.size:
        return {}
    mean = np.stack([one.found.neurons for one in members]).mean(axis=0, dtype=np.float64)
    return {
        f"neuron {layer}.{neuron}": (float(mean[layer, neuron]), "")
        for layer, neuron in zip(*np.nonzero(mean), strict=True)
    }


def _features(members: Sequence[Sampled]) -> _Terms:
    sums: dict[str, float] = {}
    for one in members:
        for share in one.found.upstream:
            for feature, value in zip(share.features, share.values, strict=True):
                name = f"{share.sae}/{feature}"
                sums[name] = sums.get(name, 0.0) + float(value) / len(members)
    return {name: (value, "") for name, value in sums.items()}


def _example(one: Sampled) -> str:
    tokens = one.found.tokens[one.found.has_bos :]
    before = "".join(tokens[-BEFORE - 1 : -1])
    return short(visible(f"{before}⟦{tokens[-1]}⟧"), 200)
