"""Exhibits: what a language model is shown of a feature, as short lines of text.

Only the `explain` split. Excerpts are JSON strings on one line, so that no corpus text can end the
block it stands in; in them [[token|7]] marks a token with its activation in tenths of the typical
maximum. Characters that would act or hide are shown by their number.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...sae.evidence import Exemplar, FeatureStats, SplitEvidence
from ...sae.visible import visible
from ..notebook import Notebook
from ..records import Outcome
from ..rules.match import Matcher
from ..rules.sample import matcher_of

#: Tokens of an excerpt before and after its peak.
BEFORE, AFTER = 18, 8
#: Activations from this share of the typical maximum on are marked.
MARKED = 0.05
#: Windows shown first: top ones, then from bands of activation, then silent ones with favourites.
TOP, IN_BAND, NEAR_MISSES = 5, 8, 8
#: Bands of activation, as shares of the typical maximum: name → edges.
BANDS = {
    "8 and more": (0.8, np.inf),
    "6 to 8": (0.6, 0.8),
    "4 to 6": (0.4, 0.6),
    "2 to 4": (0.2, 0.4),
    "below 2": (0.0, 0.2),
}
#: Words listed with what they do.
WORDS = 24


@dataclass(frozen=True)
class WordRow:
    """What a word does. share: of all activation; fires: of its occurrences; level: mean, in tenths."""

    word: str
    share: float
    fired: int
    seen: int
    level: float


def excerpt(tokens: Sequence[str], values: np.ndarray, peak: int, unit: float) -> str:
    """The stretch around a token, marked."""
    low, high = max(0, peak - BEFORE), min(len(tokens), peak + AFTER + 1)
    parts = list(tokens[low:high])
    shares = values[low:high] / unit if unit > 0 else np.zeros(len(parts))
    for place in np.flatnonzero(shares >= MARKED):
        shown = visible(parts[place])
        lead = shown[: len(shown) - len(shown.lstrip())]
        parts[place] = f"{lead}[[{shown.lstrip()}|{min(10, round(10 * shares[place]))}]]"
    text = visible("".join(parts))
    text = ("… " if low else "") + text + (" …" if high < len(tokens) else "")
    return json.dumps(text, ensure_ascii=False)


def of_exemplar(exemplar: Exemplar, unit: float) -> str:
    """A window around its peak."""
    return excerpt(exemplar.tokens, exemplar.activations, exemplar.peak, unit)


def of_outcome(outcome: Outcome, unit: float) -> str:
    """A probe as it was measured."""
    values = np.asarray(outcome.activations, np.float32)
    peak = int(values.argmax()) if len(values) else 0
    return excerpt(outcome.tokens, values, peak, unit)


def bands(notebook: Notebook, each: int = IN_BAND) -> list[tuple[str, list[str]]]:
    """Excerpts of firing windows, drawn from each band of their peak, the strongest band first.

    The bands are equal shares of the typical maximum, not of the windows: most windows hardly fire.
    What one band lacks of `each` the others fill up, so that the number of windows stays the same.
    """
    split, feature, unit = notebook.split, notebook.feature, notebook.stats.typical_max
    share = split.peaks(feature) / (unit or 1.0)
    draw = np.random.default_rng([notebook.seed, feature])
    drawn = {
        name: draw.permutation(np.flatnonzero((share > low) & (share <= high)))
        for name, (low, high) in BANDS.items()
    }
    found = []
    for name, taken in _filled(
        {name: len(windows) for name, windows in drawn.items()}, each
    ).items():
        chosen = np.sort(drawn[name][:taken])
        if taken:
            lines = [of_exemplar(split.exemplar(feature, int(w)), unit) for w in chosen]
            found.append((name, lines))
    return found


def _filled(there: dict[str, int], each: int) -> dict[str, int]:
    """How many to take of each kind: `each`, and in turn one more of those that have more."""
    taken = {name: min(each, count) for name, count in there.items()}
    places = min(each * len(there), sum(there.values()))
    while sum(taken.values()) < places:
        for name, count in there.items():
            if taken[name] < count and sum(taken.values()) < places:
                taken[name] += 1
    return taken


def top(notebook: Notebook, n: int = TOP) -> list[str]:
    """Excerpts of the strongest windows."""
    unit = notebook.stats.typical_max
    return [of_exemplar(one, unit) for one in notebook.split.top(notebook.feature, n)]


def near_misses(notebook: Notebook, n: int = NEAR_MISSES) -> list[str]:
    """Silent windows, around an occurrence of a word that fires elsewhere."""
    split, tally = notebook.split, Tally.of(notebook)
    favourites = tally.heaviest(10)
    shown = []
    for one in split.near_misses(notebook.feature, n, notebook.seed):
        start = int(split.tokens.starts[one.window])
        ids = tally.ids[start : start + len(one.tokens)]
        places = np.flatnonzero(np.isin(ids, favourites))
        peak = int(places[0]) if len(places) else 0
        shown.append(excerpt(one.tokens, one.activations, peak, 0.0))
    return shown


def words(notebook: Notebook, n: int = WORDS) -> list[WordRow]:
    """The words that carry most of the activation."""
    tally = Tally.of(notebook)
    return [tally.row(number) for number in tally.heaviest(n)]


def heaviest(weights: np.ndarray, n: int) -> list[int]:
    """The places of the n highest weights above 0, the highest first, the first of equal ones."""
    places = np.flatnonzero(weights > 0)
    return places[np.argsort(-weights[places], kind="stable")[:n]].tolist()


@dataclass(frozen=True)
class Tally:
    """What each word of the `explain` split does.

    names: case-folded words, "" where a token is no word. ids: int32 [tokens]. mass: each word's
    share of all activation. fired, seen: its occurrences that fire, and all. level: mean activation,
    in tenths of the typical maximum.
    """

    matcher: Matcher
    ids: np.ndarray
    mass: np.ndarray
    fired: np.ndarray
    seen: np.ndarray
    level: np.ndarray

    @classmethod
    def of(cls, notebook: Notebook) -> Tally:
        """The tally of the notebook's feature."""
        return _tally(notebook.split, notebook.feature, notebook.stats)

    @classmethod
    def _made(cls, split: SplitEvidence, feature: int, stats: FeatureStats) -> Tally:
        matcher = matcher_of(split)
        values = split.activations(feature)
        names, ids = matcher.words
        active = np.flatnonzero(values > 0)
        mass = np.bincount(ids[active], weights=values[active], minlength=len(names))
        seen = matcher.seen
        fires = active[values[active] >= stats.fires_at]
        fired = np.bincount(ids[fires], minlength=len(names))
        level = 10 * mass / np.maximum(seen, 1) / (stats.typical_max or 1.0)
        return cls(matcher, ids, mass / (mass.sum() or 1.0), fired, seen, level)

    def heaviest(self, n: int) -> list[int]:
        """The numbers of the words with the most activation."""
        return heaviest(self.mass, n)

    def row(self, number: int) -> WordRow:
        """One word as a row of a table."""
        return WordRow(
            self.shown(number),
            float(self.mass[number]),
            int(self.fired[number]),
            int(self.seen[number]),
            float(self.level[number]),
        )

    def shown(self, number: int) -> str:
        """A word as a JSON string, as it is mostly spelled."""
        word = self.matcher.words[0][number]
        if not word:
            return "(tokens that are no words)"
        return json.dumps(visible(self.matcher.spelling(word)), ensure_ascii=False)


# Few, as of samples (see `samples`): all that asks for the same one is in the same step.
_tally = lru_cache(maxsize=4)(Tally._made)
