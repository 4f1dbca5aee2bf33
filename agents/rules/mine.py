"""Mining rules: greedy search for the clauses that explain most of a feature's activation.

The loss of a rule with predictions p is Σ w (y − p)², where y is the activation as a share of the
typical maximum. A clause with level L changes it, on each token it covers and that is predicted
less than L so far, by

    h = w [(y − p)² − (y − L)²]

so that the best set of values under L is the set of all values with positive Σ h: the search is
over levels, ways to name the current token, and what surrounds it. A value counts only with what
its Σ h has above Z standard errors (a lower confidence bound), and these are clustered by document:
sqrt(Σ over documents (Σ h in it)²), so that a word that fires ten times in one document proves as
little as a word seen once. Clauses are added, best first, until none gains what a condition costs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from .fitting import CONDITION_COST, prune, refit
from .language import (
    MAX_CONDITIONS,
    SHAPES,
    Clause,
    Condition,
    Match,
    Near,
    Position,
    Rule,
)
from .sample import Sample
from .spelling import spelled, without_repeats, words_apart
from .values import VALUE_COST, Values, Z
from .views import KINDS, views

LEVELS = (0.9, 0.6, 0.35, 0.18)
#: A clause holds at most this many conditions.
DEPTH = 3
#: Places in a text or sentence from this one on are not told apart.
FAR = 64
#: Stretches that are found are tried again with every length up to this; one that is to take the
#: place of the first must gain so much more, as a share of the energy.
REACH, WORTH_MOVING = 12, 0.002
#: Stretches before the token that contexts are looked for in: (first, last) offset.
WINDOWS: tuple[tuple[int | None, int], ...] = ((-1, -1), (-2, -2), (-3, -1), (-8, -1), (None, -1))


@dataclass(frozen=True)
class Language:
    """Which parts of the rule language a search may use.

    current: ways to name the current token; where two gain alike, words and forms come before tokens,
    since probes can show that case matters but the corpus often cannot show that it does not. windows: where contexts may lie. positions: whether
    places in text and sentence, and counts of earlier occurrences, may be conditions.
    """

    current: tuple[str, ...] = ("word", "form", "token", "stem", "suffix", "shape")
    windows: tuple[tuple[int | None, int], ...] = WINDOWS
    positions: bool = True


@dataclass(frozen=True)
class _Found:
    """A condition (or a whole clause) with its gain in units of the loss."""

    conditions: tuple[Condition, ...]
    gain: float
    level: float


class Miner:
    """The search over one sample. `language` bounds it; see `within` for several searches."""

    def __init__(self, sample: Sample, language: Language = Language()):
        self.sample = sample
        self.language = language
        self.energy = sample.weighted_energy
        self.places, self.weight = sample.focus
        self.target = sample.target[self.places]
        self.documents = sample.documents[self.places]
        self._contexts: dict[tuple[int | None, int], tuple[Values, ...]] = {}
        self._masks: dict[Condition, np.ndarray] = {}
        self._names: dict[str, tuple[Values, ...]] = {}

    def within(self, language: Language) -> Miner:
        """A search of the same sample in another language, which shares what either looks up."""
        other = copy.copy(self)
        other.language = language
        return other

    def mine(self, max_conditions: int = MAX_CONDITIONS, given: Sequence[Clause] = ()) -> Rule:
        """The best rule found with at most `max_conditions`, starting from `given` clauses.

        Of these, only how far they look back may change.
        """
        clauses = [self._refitted(clause, given) for clause in given]
        while True:
            room = max_conditions - sum(len(clause.conditions) for clause in clauses)
            found = self._best_clause(clauses, min(DEPTH, room)) if room > 0 else None
            if found is None:
                break
            clauses.append(Clause(conditions=found.conditions, level=found.level))
            clauses = refit(self.sample, clauses)
        clauses = words_apart(refit(self.sample, clauses), self.sample)
        pruned = without_repeats(prune(self.sample, clauses))
        named = tuple(spelled(clause, self.sample) for clause in pruned)
        return Rule(clauses=named, unit=self.sample.unit)

    # ------------------------------------------------------------ one clause

    def _best_clause(self, clauses: Sequence[Clause], depth: int) -> _Found | None:
        """The clause with the highest gain after costs, None where none is worth its cost."""
        predicted = self._predict(clauses)[self.places]
        best: _Found | None = None
        for level in LEVELS:
            gains = self._token_gains(predicted, level)
            seeds = sorted(self._current(gains, level), key=lambda found: -found.gain)
            grown = [seeds[0]] if seeds else []
            if depth > 1 and self.language.windows:
                starts = [*seeds[:2], *self._promising(gains, level), _Found((), 0.0, level)]
                grown += [self._grow(start, gains, depth) for start in starts]
            for found in grown:
                if found.conditions and (best is None or found.gain > best.gain):
                    best = found
        if best is None or best.gain <= 0:
            return None
        if not self.sample.is_tested:
            return best
        return self._fitted(best, self._token_gains(predicted, best.level))

    def _token_gains(self, predicted: np.ndarray, level: float) -> np.ndarray:
        """float [focus]: what predicting `level` there would gain over what is predicted now."""
        y, p = self.target, predicted
        gain = self.weight * (np.square(y - p) - np.square(y - level))
        return np.where(p < level, gain, 0.0)

    def _current(self, gains: np.ndarray, level: float) -> Iterator[_Found]:
        """For each way to name the current token, the best set of values."""
        for view in self._current_values():
            near = self._best(view, gains)
            if near:
                yield self._scored((near,), gains, level)

    def _promising(self, gains: np.ndarray, level: float) -> Iterator[_Found]:
        """Values of the current token that would gain much if something told when."""
        hopeful = np.maximum(gains, 0.0)
        best_of: dict[str, tuple[float, Near]] = {}
        for view in self._current_values():
            near = self._best(view, hopeful)
            if near and view.kind in ("token", "word", "shape"):
                hope = float(hopeful[self._mask(near)].sum())
                if hope > best_of.get(view.kind, (0.0,))[0]:
                    best_of[view.kind] = hope, near
        for _, near in best_of.values():
            yield self._scored((near,), gains, level)

    def _best(
        self, values: Values, gains: np.ndarray, window: tuple[int | None, int] = (0, 0)
    ) -> Near | None:
        """The best condition that names of one view allow, None where none gains anything."""
        return self._condition(values, values.best(gains, self.energy), window)

    def _condition(
        self,
        values: Values,
        chosen: np.ndarray,
        window: tuple[int | None, int],
        negated: bool = False,
    ) -> Near | None:
        if not len(chosen):
            return None
        near = _near(values.kind, values.named(chosen), *window, negated=negated)
        if near not in self._masks:
            holds = values.holds(chosen, len(self.places))
            self._masks[near] = ~holds if negated else holds
        return near

    def _grow(self, start: _Found, gains: np.ndarray, depth: int) -> _Found:
        """Add the conditions that help most, one at a time, then choose the current token anew."""
        found = start
        while len(found.conditions) < depth:
            places = np.flatnonzero(self._holds(found.conditions))
            options = []
            for extra in self._extras(places, gains, found):
                both = places[self._mask(extra)[places]]
                options.append(self._scored((*found.conditions, extra), gains, found.level, both))
            better = max(options, key=lambda option: option.gain, default=None)
            if better is None or better.gain <= max(found.gain, 0.0):
                break
            found = self._retoken(better, gains, depth)
        return found

    def _retoken(self, found: _Found, gains: np.ndarray, depth: int) -> _Found:
        """With the context fixed, the best current-token condition (or none)."""
        context = tuple(c for c in found.conditions if not (isinstance(c, Near) and c.is_current))
        if not context:
            return found
        inside = np.where(self._holds(context), gains, 0.0)
        options = [found]
        if len(context) == len(found.conditions) - 1:
            options.append(self._scored(context, gains, found.level))
        for view in self._current_values():
            near = self._best(view, inside)
            if near:
                options.append(self._scored((near, *context), gains, found.level))
        options = [option for option in options if len(option.conditions) <= depth]
        return max(options, key=lambda option: option.gain)

    def _refitted(self, clause: Clause, clauses: Sequence[Clause]) -> Clause:
        """The clause with its stretches as they fit best beside the other clauses."""
        others = self._predict([other for other in clauses if other is not clause])
        gains = self._token_gains(others[self.places], clause.level)
        found = self._fitted(self._scored(clause.conditions, gains, clause.level), gains)
        return clause.model_copy(update={"conditions": found.conditions})

    def _fitted(self, found: _Found, gains: np.ndarray) -> _Found:
        """The same clause with each stretch before the token as long as fits best."""
        for place, condition in enumerate(found.conditions):
            if not isinstance(condition, Near) or condition.is_current:
                continue
            best = found
            for first, last in _stretches(condition):
                moved = condition.model_copy(update={"first": first, "last": last})
                conditions = (*found.conditions[:place], moved, *found.conditions[place + 1 :])
                other = self._scored(conditions, gains, found.level)
                if other.gain > best.gain + (WORTH_MOVING * self.energy if best is found else 0):
                    best = other
            found = best
        return found

    def _extras(self, places: np.ndarray, gains: np.ndarray, found: _Found) -> Iterator[Condition]:
        """Conditions that could be added to a clause that holds at `places` of the focus."""
        inside = np.zeros_like(gains)
        inside[places] = gains[places]
        for window in self.language.windows:
            for values in self._before(window):
                best, worst = values.best_and_worst(inside, self.energy)
                for chosen, negated in ((best, False), (worst, True)):
                    near = self._condition(values, chosen, window, negated)
                    if near:
                        yield near
        yield from self._shapes_before(inside)
        if self.language.positions:
            yield from self._positions(inside)
            yield from _repeats(found)

    def _shapes_before(self, inside: np.ndarray) -> Iterator[Condition]:
        if (-1, -1) not in self.language.windows:
            return
        for name in SHAPES:
            near = _near("shape", (name,), -1, -1)
            total = inside[self._mask(near)].sum()
            yield near if total > 0 else _opposite(near)

    def _positions(self, inside: np.ndarray) -> Iterator[Condition]:
        """The best cut by place in the text and in the sentence, below and above."""
        yield from _cuts("text", self.sample.position[self.places], inside)
        yield from _cuts("sentence", self.sample.in_sentence[self.places], inside)

    # ------------------------------------------------------------ scores

    def _scored(
        self,
        conditions: tuple[Condition, ...],
        gains: np.ndarray,
        level: float,
        places: np.ndarray | None = None,
    ) -> _Found:
        """Exact gain of a clause, less standard errors and what its conditions cost.

        places: where in the focus it holds, if that is known.
        """
        if places is None:
            places = np.flatnonzero(self._holds(conditions))
        inside = gains[places]
        by_document = np.bincount(self.documents[places], weights=inside)
        error = float(np.sqrt(np.square(by_document).sum()))
        cost = self.energy * (CONDITION_COST * len(conditions) + VALUE_COST * _n_values(conditions))
        return _Found(conditions, float(inside.sum()) - Z * error - cost, level)

    def _holds(self, conditions: Iterable[Condition]) -> np.ndarray:
        holds = np.ones(len(self.places), bool)
        for condition in conditions:
            holds &= self._mask(condition)
        return holds

    def _mask(self, condition: Condition) -> np.ndarray:
        """bool [focus]: where a condition holds."""
        if condition not in self._masks:
            self._masks[condition] = self.sample.condition(condition)[self.places]
        return self._masks[condition]

    def _predict(self, clauses: Sequence[Clause]) -> np.ndarray:
        return self.sample.predict(Rule(clauses=tuple(clauses)))

    # ------------------------------------------------------------ views

    def _current_values(self) -> Iterator[Values]:
        """What names the current token, in each way that the language allows."""
        allowed = self.language.current
        for kind in KINDS:
            if kind.removeprefix("exact ") in allowed:
                yield from self._named(kind)

    def _named(self, kind: str) -> tuple[Values, ...]:
        if kind not in self._names:
            rows = np.arange(len(self.places))
            self._names[kind] = tuple(
                Values(view, rows, view.ids[self.places], self.documents)
                for view in views(self.sample, kind)
            )
        return self._names[kind]

    @cached_property
    def _tempting(self) -> np.ndarray:
        """bool [focus]: tokens whose string fires somewhere."""
        ids = self.sample.tokens.ids[self.places]
        fires = np.zeros(len(self.sample.tokens.names), bool)
        fires[ids[self.target > 0]] = True
        return fires[ids]

    def _before(self, window: tuple[int | None, int]) -> tuple[Values, ...]:
        """What stands in a window before each token of the focus, as words and as tokens."""
        if window not in self._contexts:
            rows, at = _window_places(self.sample, self.places, window)
            found = []
            for view in (v for kind in ("word", "form", "token") for v in views(self.sample, kind)):
                ids = view.ids[at]
                # A name that hardly ever stands before tokens that might fire tells nothing.
                seen = np.bincount(ids[self._tempting[rows]], minlength=len(view.names)) > 2
                seen[0] = False
                told = seen[ids]
                found.append(Values(view, rows[told], ids[told], self.documents))
            self._contexts[window] = tuple(found)
        return self._contexts[window]


def _window_places(
    sample: Sample, places: np.ndarray, window: tuple[int | None, int]
) -> tuple[np.ndarray, np.ndarray]:
    """All (place in `places`, token in its window) pairs, as two arrays."""
    first, last = window
    begin = sample.starts[places]
    low = begin if first is None else np.maximum(begin, places + first)
    counts = np.maximum(0, places + last + 1 - low)
    rows = np.repeat(np.arange(len(places)), counts)
    offsets = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, low[rows] + offsets


def _cuts(
    of: Literal["text", "sentence"], place: np.ndarray, inside: np.ndarray
) -> Iterator[Condition]:
    sums = np.bincount(np.minimum(place, FAR), weights=inside, minlength=FAR + 1)
    up_to = np.cumsum(sums)
    yield Position(of=of, low=0, high=int(up_to[:-1].argmax()))
    yield Position(of=of, low=int((up_to[-1] - up_to[:-1]).argmax()) + 1)


def _repeats(found: _Found) -> Iterator[Condition]:
    """Whether what fires now has occurred before."""
    for condition in found.conditions:
        if isinstance(condition, Near) and condition.is_current:
            for times in (1, 2, 3):
                before = condition.model_copy(update={"first": None, "last": -1, "at_least": times})
                yield before
                yield _opposite(before)


def _stretches(near: Near) -> Iterator[tuple[int | None, int]]:
    """Other stretches before the token, shorter and longer ones, with the same end or beginning."""
    if near.first == near.last and near.last < -1:
        return  # one place, chosen as such
    for first in (*range(near.last, near.last - REACH, -1), None):
        if first != near.first:
            yield first, near.last


def _opposite(near: Near) -> Near:
    return near.model_copy(update={"negated": not near.negated})


def _near(
    kind: str, values: Sequence[str], first: int | None, last: int, negated: bool = False
) -> Near:
    match = Match(kind=kind, values=tuple(values))  # pyright: ignore[reportArgumentType]
    return Near(match=match, first=first, last=last, negated=negated)


def _n_values(conditions: Iterable[Condition]) -> int:
    return sum(len(c.match.values) for c in conditions if isinstance(c, Near))
