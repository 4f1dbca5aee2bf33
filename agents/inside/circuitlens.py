"""The explainer `circuitlens`: what brings a feature about inside the model, told apart by mechanism.

CircuitLens (Golimblevskaia et al. 2025, arXiv 2510.14936, section 4). Tokens of the `explain` split
over the whole range of the activation are drawn; the pre-activation on each is taken apart into what
heads, MLP neurons or upstream features, and the embedding add; samples that share contributors are
clustered, and each cluster gets a clause of its own from what its tokens are and what its heads read.
What differs from the paper: clusters are cut by silhouette beside a chance level, MLP neurons stand
where no transcoders are given, and no language model words the clusters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...sae.errors import BudgetExhausted, SAEError
from ...sae.evidence import SplitEvidence
from ...sae.inside.circuits import Circuits, PromotedHere, circuits_of
from ...sae.source import FeatureSource
from ...sae.visible import visible
from ..records import Conclusion, quoted
from ..rules.language import Clause, Rule
from ..rules.render import describe, describe_clause, label
from ..rules.sample import Sample
from ..task import Task
from .answer import begun, nothing_found, stated, status_of
from .circuit_graph import CircuitGraph, GraphGroup, group_of
from .clusters import clustered, presence
from .contributors import PLACES, Place, contributors, drawn
from .mechanisms import Sampled, clauses_of

#: Samples of a cluster on which promoted tokens are measured.
WRITTEN = 8
#: Texts that are taken apart between two looks at the clock.
AT_ONCE = 25


@dataclass(frozen=True)
class CircuitLens:
    """Explains features of sources that have circuits. places: tokens that are looked at."""

    places: int = PLACES

    def check(self, source: FeatureSource) -> None:
        """Raise SAEError for a source of which it cannot say anything."""
        circuits_of(source)

    async def explain(self, task: Task) -> Conclusion:
        """See Explainer. Raises SAEError for a source that has no circuits."""
        circuits = circuits_of(task.source)
        loop = begun(task)
        notebook = loop.notebook
        split = notebook.split
        taken = await _sampled(circuits, task, split, self.places)
        samples, status = taken.samples, status_of(taken.cut)
        if not samples:
            why = _why_none(loop.fires, taken)
            return loop.conclusion(nothing_found("no circuit", why, notebook), status)
        clusters = await asyncio.to_thread(_clusters, samples, task.seed)
        clauses, all_tried = await asyncio.to_thread(
            clauses_of, clusters, Sample(split, task.feature), task.spending.has_time
        )
        rule = Rule(clauses=tuple(clauses), unit=notebook.stats.typical_max)
        graph = await _graph(circuits, task, clusters, rule, split)
        task.record("circuit", graph)
        notes = [*_notes(graph), *_sums(taken)]
        if not all_tried:
            status = status_of(True)
            notes.append("The time ended before all clauses were tried.")
        if not clauses:
            why = (
                "No rule found: neither the tokens on which it fires nor those that its heads read "
                "from predict when it fires."
            )
            return loop.conclusion(nothing_found("no surface rule", why, notebook, notes), status)
        explanation = stated(rule, notebook, description=_described(graph, rule), notes=notes)
        return loop.conclusion(explanation, status)


@dataclass(frozen=True)
class _Drawn:
    """Places with their attributions. wanted: how many places there were to look at. run: how many
    texts were. cut: whether the budget left some of them out."""

    samples: list[Sampled]
    wanted: int
    run: int
    cut: bool


async def _sampled(circuits: Circuits, task: Task, split: SplitEvidence, n: int) -> _Drawn:
    """Take the feature apart at up to n places, as far as the budget of probes and seconds reaches.

    Each text of the corpus that is run again counts as a probe.
    """
    spending = task.spending
    wanted = drawn(split, task.feature, n, task.seed)
    # Fewer are drawn anew, so that they too are spread over the whole range.
    room = int(min(len(wanted), spending.left("probes")))
    places = drawn(split, task.feature, room, task.seed) if room else []
    # In no order of the corpus: what the clock leaves out is then as spread as what it does not.
    order = np.random.default_rng([task.seed, task.feature]).permutation(len(places))
    same = _as_the_corpus_has_them(task.source, split, [places[number] for number in order])
    found: list[Sampled] = []
    run = 0
    for first in range(0, len(same), AT_ONCE):
        part = same[first : first + AT_ONCE]
        try:
            spending.spend("probes", len(part))
        except BudgetExhausted:
            break
        run += len(part)
        attributed = await circuits.attributed(
            task.feature, [text for _, text in part], [place.place for place, _ in part]
        )
        found += [
            Sampled(place, one)
            for (place, _), one in zip(part, attributed, strict=True)
            if one.activation > 0
        ]
    found.sort(key=lambda one: one.at.token)
    return _Drawn(found, len(wanted), run, room < len(wanted) or run < len(same))


def _as_the_corpus_has_them(
    source: FeatureSource, split: SplitEvidence, places: Sequence[Place]
) -> list[tuple[Place, str]]:
    """Those places, with their texts, whose window has the same tokens when it stands alone.

    A window of a longer document may be cut otherwise.
    """
    windows = [tuple(split.tokens.window(one.window)) for one in places]
    texts = ["".join(window) for window in windows]
    return [
        (place, text)
        for place, text, window, now in zip(
            places, texts, windows, source.tokenize(texts), strict=True
        )
        if tuple(now) == window
    ]


def _why_none(fires: bool, taken: _Drawn) -> str:
    if not fires:
        return "The feature never fires on the text at hand, so there is nothing to take apart."
    if taken.cut and not taken.run:
        return "The budget left no text to be taken apart."
    return "None of its contexts could be run again as the corpus has them."


def _clusters(samples: Sequence[Sampled], seed: int) -> list[list[Sampled]]:
    """The samples by cluster, the largest first."""
    present, _ = presence([contributors(one.found) for one in samples])
    names = clustered(present, seed)
    return [
        [one for one, name in zip(samples, names, strict=True) if name == number]
        for number in range(int(names.max()) + 1)
    ]


async def _graph(
    circuits: Circuits,
    task: Task,
    clusters: Sequence[Sequence[Sampled]],
    rule: Rule,
    split: SplitEvidence,
) -> CircuitGraph:
    """The graph of all clusters; once the time has ended, without the tokens that they promote."""
    groups: list[GraphGroup] = []
    for members in clusters:
        promoted = (
            await _promoted(circuits, task.feature, members, split)
            if task.spending.has_time()
            else None
        )
        groups.append(group_of(_name(members, rule, split), members, promoted))
    return CircuitGraph(groups=tuple(groups))


async def _promoted(
    circuits: Circuits, feature: int, members: Sequence[Sampled], split: SplitEvidence
) -> PromotedHere | None:
    """The tokens promoted at some of a cluster's places; None where there is no straight way."""
    some = members[:: max(1, len(members) // WRITTEN)][:WRITTEN]
    texts = ["".join(split.tokens.window(one.at.window)) for one in some]
    try:
        return await circuits.promoted_here(feature, texts, [one.at.place for one in some])
    except SAEError:
        return None


def _name(members: Sequence[Sampled], rule: Rule, split: SplitEvidence) -> str:
    """What a cluster is of: the clause that holds on most of it, else its commonest tokens."""
    from ..rules.sample import matcher_of

    tokens = np.array([one.at.token for one in members])

    def held(clause: Clause) -> float:
        return float(matcher_of(split).clause(clause)[tokens].mean())

    best = max(rule.clauses, key=held, default=None)
    if best is not None and held(best) >= 0.5:
        return label(best)
    words, counts = np.unique(
        [visible(one.found.tokens[-1]).strip() for one in members], return_counts=True
    )
    return quoted([str(word) for word in words[np.argsort(-counts, kind="stable")][:3]], 3)


def _described(graph: CircuitGraph, rule: Rule) -> str:
    if len(graph.groups) == 1 or len(rule.clauses) < 2:
        return describe(rule)
    listed = "; ".join(describe_clause(clause) for clause in rule.clauses)
    return f"Fires for {len(rule.clauses)} unrelated reasons: on {listed}. {describe(rule)}"


def _notes(graph: CircuitGraph) -> list[str]:
    """What brings each cluster about, the largest terms first."""
    notes = []
    for number, group in enumerate(graph.groups, 1):
        terms = sorted(
            (node for node in group.nodes if node.kind != "rest"), key=lambda node: -node.value
        )
        told = ", ".join(f"{node.name} {node.value:+.2f}" for node in terms[:4])
        pushed = quoted([one.token for one in group.promoted[:5]])
        notes.append(
            f"Cluster {number} of {len(graph.groups)} ({group.samples} samples, {group.label}): "
            f"{told} of {group.pre_activation:.2f}."
            + (f" Promotes {pushed} there." if group.promoted else "")
        )
    return notes


def _sums(taken: _Drawn) -> list[str]:
    """Whether the terms add up, how many texts were run, and what was left out."""
    samples = taken.samples
    gaps = [
        abs(one.found.total - one.found.pre_activation) / abs(one.found.pre_activation)
        for one in samples
        if one.found.pre_activation
    ]
    notes = [f"The terms add up to the pre-activation to {max(gaps, default=0.0):.1e} (relative)."]
    if taken.cut:
        notes.append(
            f"The budget ended after {taken.run} of {taken.wanted} places (each text that "
            f"is run again is a probe)."
        )
    looked = taken.run if taken.cut else taken.wanted
    if lost := looked - len(samples):
        notes.append(
            f"{lost} of {looked} places were left out: their text is cut otherwise, or "
            f"does not fire, when the model runs in float32."
        )
    return notes
