"""Mechanisms in words: for each cluster of samples a clause, from what its circuit reads.

What the token itself may be comes from the tokens of the cluster's samples; what must stand before it
from the tokens that heads read from there. Which of these make the clause is decided by what it costs
on the `explain` split (`rules.fitting`), as everywhere in the rule language.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...sae.inside.circuits import Attribution
from ..rules.fitting import cost, prune, refit
from ..rules.language import (
    MAX_CONDITIONS,
    MAX_VALUES,
    SHAPES,
    Clause,
    Condition,
    Match,
    Near,
    Rule,
)
from ..rules.sample import Sample, View
from ..rules.values import VALUE_COST, Z
from .contributors import Place

#: Stretches before the token in which heads' sources are looked for.
WINDOWS: tuple[tuple[int | None, int], ...] = ((-1, -1), (-2, -2), (-3, -1), (-8, -1), (None, -1))
#: A token counts as read where heads bring this share of the pre-activation from it.
READ_FROM = 0.05
#: Words that may stand before the token: at most so many are tried.
MOST_BEFORE = 24
#: A shape, stem or ending is tried where this share of a cluster's tokens has it.
COMMON = 0.6
STEMS, ENDINGS = (4, 5, 6), (2, 3, 4)


@dataclass(frozen=True)
class Sampled:
    """A place on which a feature fires, with the attribution of its pre-activation there."""

    at: Place
    found: Attribution

    @property
    def sources(self) -> list[int]:
        """How far back the tokens are that heads read from, as offsets below 0."""
        heads = self.found.heads
        if not heads.size:
            return []
        brought = heads.sum((0, 1))
        if self.found.has_bos:
            brought[0] = 0.0
        last = len(brought) - 1
        enough = READ_FROM * max(self.found.pre_activation, 1e-9)
        return [int(source) - last for source in np.flatnonzero(brought[:last] >= enough)]


def clauses_of(
    clusters: Sequence[Sequence[Sampled]],
    sample: Sample,
    has_time: Callable[[], bool] = lambda: True,
) -> tuple[list[Clause], bool]:
    """At most a clause for each cluster, the strongest first; none for those that none is worth.

    has_time: asked before each candidate; once it says no, the best so far stand. And whether all
    candidates were tried.
    """
    clauses: list[Clause] = []
    for members in clusters:
        room = MAX_CONDITIONS - sum(len(clause.conditions) for clause in clauses)
        now = cost(sample, Rule(clauses=tuple(clauses)))
        best = clauses
        for candidate in _candidates(members, sample) if room else ():
            if not has_time():
                return _merged(prune(sample, best)), False
            if len(candidate.conditions) > room:
                continue
            fitted = refit(sample, [*clauses, candidate])
            price = cost(sample, Rule(clauses=tuple(fitted)))
            if price < now:
                best, now = fitted, price
        clauses = best
    return _merged(prune(sample, clauses)), True


def _merged(clauses: Sequence[Clause]) -> list[Clause]:
    """Clusters that came to the same conditions are one."""
    found: dict[tuple[Condition, ...], Clause] = {}
    for clause in clauses:
        found.setdefault(clause.conditions, clause)
    return list(found.values())


def _candidates(members: Sequence[Sampled], sample: Sample) -> Iterator[Clause]:
    """What could be said of a cluster: of the token itself, of what stands before, of both."""
    tokens = np.array([one.at.token for one in members])
    level = float(np.median(sample.target[tokens]))
    gains = sample.weight * (np.square(sample.target) - np.square(sample.target - level))
    before = _read_words(members, sample)
    for current in (*_currents(tokens, gains, sample), None):
        if current:
            yield Clause(conditions=(current,), level=level)
        inside = sample.condition(current) if current else np.ones(len(sample), bool)
        for window in WINDOWS:
            context = _context(before, window, np.where(inside, gains, 0.0), sample)
            if context:
                conditions = (current, context) if current else (context,)
                yield Clause(conditions=conditions, level=level)


def _currents(tokens: np.ndarray, gains: np.ndarray, sample: Sample) -> Iterator[Near]:
    """Ways to name the tokens of a cluster."""
    for view in (sample.words, sample.tokens):
        if near := _named(view, tokens, gains, sample):
            yield near
    # Words that gain nothing wherever they stand may do so where something stands before them.
    if near := _commonest(sample.words, tokens):
        yield near
    words = [sample.words.names[number] for number in sample.words.ids[tokens]]
    for kind, parts in (
        ("stem", [[word[:n] for word in words if len(word) > n] for n in STEMS]),
        ("suffix", [[word[-n:] for word in words if len(word) > n] for n in ENDINGS]),
    ):
        for found in parts:
            yield from (
                Near(match=Match(kind=kind, values=(part,)))  # pyright: ignore[reportArgumentType]
                for part, n in Counter(found).most_common(1)
                if n >= COMMON * len(words)
            )
    for name in SHAPES:
        near = Near(match=Match(kind="shape", values=(name,)))
        if name != "anything" and sample.condition(near)[tokens].mean() >= COMMON:
            yield near


def _named(view: View, tokens: np.ndarray, gains: np.ndarray, sample: Sample) -> Near | None:
    """The words (or tokens) of a cluster that gain something wherever they stand.

    As in the miner, a word gains only what is above its standard error, clustered by document: one
    that the corpus has once was drawn because it fires there, and proves nothing.
    """
    seen = np.unique(view.ids[tokens])
    seen = seen[seen > 0]
    places = np.flatnonzero(np.isin(view.ids, seen))
    if not len(places):
        return None
    documents = sample.documents[places]
    n = int(documents.max()) + 1
    pairs, of_pair = np.unique(
        view.ids[places].astype(np.int64) * n + documents, return_inverse=True
    )
    sums = np.bincount(of_pair, weights=gains[places])
    names = pairs // n
    size = len(view.names)
    total = np.bincount(names, weights=sums, minlength=size)
    error = np.sqrt(np.bincount(names, weights=np.square(sums), minlength=size))
    sure = total - Z * error - VALUE_COST * sample.weighted_energy
    kept = [number for number in seen if sure[number] > 0]
    kept = sorted(kept, key=lambda number: -sure[number])[:MAX_VALUES]
    if not kept:
        return None
    values = tuple(view.names[number] for number in kept)
    return Near(match=Match(kind=view.kind, values=values))  # pyright: ignore[reportArgumentType]


def _commonest(view: View, tokens: np.ndarray) -> Near | None:
    """The words that at least two of a cluster's samples have, the commonest first."""
    counts = Counter(int(number) for number in view.ids[tokens] if number > 0)
    values = tuple(view.names[one] for one, n in counts.most_common(MAX_VALUES) if n >= 2)
    if not values:
        return None
    return Near(match=Match(kind=view.kind, values=values))  # pyright: ignore[reportArgumentType]


def _read_words(members: Sequence[Sampled], sample: Sample) -> list[str]:
    """The words that heads read from in at least two samples of a cluster, the commonest first."""
    words = sample.words
    counts: Counter[str] = Counter()
    for one in members:
        counts.update({words.names[words.ids[one.at.token + back]] for back in one.sources})
    return [word for word, n in counts.most_common() if n >= 2 and word][:MOST_BEFORE]


def _context(
    words: Sequence[str], window: tuple[int | None, int], gains: np.ndarray, sample: Sample
) -> Near | None:
    """Those of the words whose standing in a stretch before the token gains something (see `_named`)."""
    first, last = window
    worth = []
    for word in words:
        near = Near(match=Match(kind="word", values=(word,)), first=first, last=last)
        holds = np.flatnonzero(sample.condition(near))
        by_document = np.bincount(sample.documents[holds], weights=gains[holds])
        error = float(np.sqrt(np.square(by_document).sum()))
        gain = float(by_document.sum()) - Z * error - VALUE_COST * sample.weighted_energy
        if gain > 0:
            worth.append((gain, word))
    if not worth:
        return None
    chosen = tuple(word for _, word in sorted(worth, reverse=True)[:MAX_VALUES])
    return Near(match=Match(kind="word", values=chosen), first=first, last=last)
