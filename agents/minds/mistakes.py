"""Mistakes: where a hypothesis's rule is wrong on the `explain` split, for the mind to look at.

This is what the loop runs on (DESIGN, "Why the loop looks at its own mistakes"): the rule is run over
all of the split for nothing, and what fires unforeseen, or is foreseen and silent, is grouped by word
and shown with an example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...sae.evidence import FIRES_AT
from ..notebook import Notebook
from ..rules.language import Rule
from .exhibits import Tally, excerpt, heaviest
from .samples import sample_of

#: Words shown of each kind, and how many of these with an excerpt.
WORDS, EXCERPTS = 14, 8
#: Bands of activation, as shares of the typical maximum: name → lower edge.
STRENGTHS = {"strong": 0.6, "medium": 0.3, "weak": 0.0}


@dataclass(frozen=True)
class Mistake:
    """What a rule gets wrong on one word.

    word: as a JSON string. share: of all activation, for what is missed. wrong, seen: occurrences on
    which the rule is wrong, and all. strength: of the activation missed. example: an excerpt.
    """

    word: str
    share: float
    wrong: int
    seen: int
    strength: str
    example: str | None


@dataclass(frozen=True)
class Mistakes:
    """How a rule does on the `explain` split.

    coverage: share of all activation that is foreseen. precision: share of the tokens predicted to
    fire that do. recalls: by name in STRENGTHS, share of active tokens foreseen. missed, silent: the
    words it is wrong about, worst first.
    """

    coverage: float
    precision: float
    recalls: dict[str, float | None]
    missed: tuple[Mistake, ...]
    silent: tuple[Mistake, ...]

    @classmethod
    def of(cls, rule: Rule, notebook: Notebook) -> Mistakes:
        """The mistakes of a rule."""
        sample = sample_of(notebook)
        whole, said = sample.target, sample.predict(rule)
        # Where nothing fires and nothing is foreseen, which is nearly everywhere, is no mistake.
        looked = np.flatnonzero((whole > 0) | (said > 0))
        target, said = whole[looked], said[looked]
        total = whole.sum()
        active = target > 0
        found = active & (said >= np.minimum(FIRES_AT, target / 2))
        claimed = said >= FIRES_AT
        silent = claimed & (target < FIRES_AT)
        missed = active & ~found & (target >= FIRES_AT / 2)
        mass = float(total) or 1.0
        return cls(
            coverage=float(target[found].sum()) / mass,
            precision=float((claimed & ~silent).sum() / max(1, claimed.sum())),
            recalls=_recalls(target, found),
            missed=_by_word(looked[missed], whole, total, notebook, target[missed] / mass),
            silent=_by_word(looked[silent], whole, total, notebook, np.ones(silent.sum())),
        )


def _recalls(target: np.ndarray, found: np.ndarray) -> dict[str, float | None]:
    recalls: dict[str, float | None] = {}
    high = np.inf
    for name, low in STRENGTHS.items():
        band = (target > 0) & (target >= low) & (target < high)
        recalls[name] = float(found[band].mean()) if band.any() else None
        high = low
    return recalls


def _by_word(
    places: np.ndarray,
    target: np.ndarray,
    total: np.float32,
    notebook: Notebook,
    weights: np.ndarray,
) -> tuple[Mistake, ...]:
    """The words at the places where a rule is wrong, by weight; total: of all activation."""
    if not len(places):
        return ()
    tally = Tally.of(notebook)
    ids = tally.ids[places]
    weight = np.bincount(ids, weights=weights, minlength=len(tally.mass))
    count = np.bincount(ids, minlength=len(tally.mass))
    return tuple(
        _mistake(number, places[ids == number], rank, tally, target, total, notebook, count[number])
        for rank, number in enumerate(heaviest(weight, WORDS))
    )


def _mistake(
    number: int,
    places: np.ndarray,
    rank: int,
    tally: Tally,
    target: np.ndarray,
    total: np.float32,
    notebook: Notebook,
    count: int,
) -> Mistake:
    level = float(target[places].mean())
    strength = next(name for name, low in STRENGTHS.items() if level >= low)
    share = float(target[places].sum() / (total or 1.0))
    example = None
    if rank < EXCERPTS:
        middle = places[np.argsort(target[places], kind="stable")][len(places) // 2]
        example = _around(int(middle), notebook)
    return Mistake(
        tally.shown(number), share, int(count), int(tally.seen[number]), strength, example
    )


def _around(place: int, notebook: Notebook) -> str:
    table = notebook.split.tokens
    window = int(table.window_of[place])
    start, end = (int(edge) for edge in table.starts[window : window + 2])
    values = notebook.split.activations(notebook.feature)[start:end]
    tokens: Sequence[str] = table.window(window)
    return excerpt(tokens, values, place - start, notebook.stats.typical_max)
