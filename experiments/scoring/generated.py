"""Generative accuracy and boundary rejection: fresh texts made from the explanation alone.

generative = share of texts that should fire whose maximum is at least half the feature's typical
maximum (SAGE's generative accuracy; the typical maximum is the mean of the ten strongest contexts
of the `explain` split). boundary = share of near misses that stay silent: maximum below `fires_at`
(boundary rejection, DAFI 2026). input = harmonic mean of the two, DAFI's input score.

The independent unit is the text. An explanation from which no text can be made scores 0 on both:
it says nothing that could be tried. A text that cannot be run is a failed item: reported with its
share, and counted on neither side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from ...sae.errors import TextError
from ...sae.tokens import TokenActivations
from .bench import Item, Marks, Target, reaches, scorer
from .score import Score, harmonic, interval, share
from .simulator import Simulator, settled

NAMES = ("generative", "boundary", "input")
#: Texts of each kind.
TEXTS = 24
#: Share of the typical maximum that a text made to fire must reach.
FIRES_WELL = 0.5


@scorer("generated", NAMES)
async def generated(target: Target, simulator: Simulator) -> Marks:
    """Generative accuracy, boundary rejection and their harmonic mean; each text as an item."""
    if not target.stats.typical_max:
        reason = "the feature never fires on the explain split"
        return Marks({name: Score.undefined(reason) for name in NAMES})
    firing, near = await settled(
        simulator.firing_texts(TEXTS, target.seed), simulator.near_miss_texts(TEXTS, target.seed)
    )
    should_fire, should_not = await asyncio.gather(
        _run(target, "generative", firing), _run(target, "boundary", near)
    )
    generative, boundary = _score(should_fire, target.seed), _score(should_not, target.seed)
    items = (*should_fire, *should_not)
    return Marks(
        {
            "generative": generative,
            "boundary": boundary,
            "input": _input(generative, boundary, should_fire, should_not, target.seed),
        },
        {
            "items": items,
            "failed": {
                name: sum(item.passed is None for item in kind) / len(kind)
                for name, kind in (("generative", should_fire), ("boundary", should_not))
                if kind
            },
        },
    )


async def _run(target: Target, name: str, texts: Sequence[str]) -> tuple[Item, ...]:
    """Each distinct text with what it did."""
    distinct = list(dict.fromkeys(texts))
    results = await _activations(target, distinct)
    return tuple(_item(target, name, *pair) for pair in zip(distinct, results, strict=True))


def _item(target: Target, name: str, text: str, result: TokenActivations | TextError) -> Item:
    if isinstance(result, TextError):
        return Item(scorer=name, text=text, error=str(result))
    maximum = result.maximum
    if not np.isfinite(maximum):
        return Item(scorer=name, text=text, error=f"an activation is {maximum}")
    if name == "generative":
        passed = bool(reaches(maximum, FIRES_WELL * target.stats.typical_max))
    else:
        passed = not target.fires(maximum)
    return Item(scorer=name, text=text, maximum=maximum, passed=passed)


async def _activations(
    target: Target, texts: Sequence[str]
) -> Sequence[TokenActivations | TextError]:
    """All texts at once; one by one when a text among them cannot be run."""
    if not texts:
        return []
    try:
        return await target.source.activations(target.feature, texts)
    except TextError as error:
        if len(texts) == 1:
            return [error]
    alone = await asyncio.gather(*(_activations(target, [text]) for text in texts))
    return [results[0] for results in alone]


def _score(items: Sequence[Item], seed: int) -> Score:
    passed = [item.passed for item in items if item.passed is not None]
    failed = len(items) - len(passed)
    if not items:
        return Score(value=0.0, reason="no such text can be made from the explanation")
    return share(passed, seed, undefined=f"none of {failed} texts could be run", failed=failed)


def _input(
    generative: Score,
    boundary: Score,
    should_fire: Sequence[Item],
    should_not: Sequence[Item],
    seed: int,
) -> Score:
    """The harmonic mean, its interval by resampling the texts of both sides together."""
    failed = generative.failed + boundary.failed
    if generative.value is None or boundary.value is None:
        reason = generative.reason if generative.value is None else boundary.reason
        return Score.undefined(str(reason), failed)
    low, high = _input_interval(generative, boundary, should_fire, should_not, seed)
    return Score(
        value=harmonic(generative.value, boundary.value),
        low=low,
        high=high,
        n=generative.n + boundary.n,
        failed=failed,
        reason=generative.reason or boundary.reason,
    )


def _input_interval(
    generative: Score,
    boundary: Score,
    should_fire: Sequence[Item],
    should_not: Sequence[Item],
    seed: int,
) -> tuple[float, float] | tuple[None, None]:
    if generative.low is None or boundary.low is None:
        return None, None
    if {generative.value, boundary.value} & {0.0, 1.0}:
        # A side that is all alike does not vary in a bootstrap: from its Wilson bounds instead.
        highs = harmonic(generative.high or 0.0, boundary.high or 0.0)
        return harmonic(generative.low, boundary.low), highs
    rows = [[item.passed, 1.0, 0.0, 0.0] for item in should_fire if item.passed is not None]
    rows += [[0.0, 0.0, item.passed, 1.0] for item in should_not if item.passed is not None]
    return interval(np.array(rows, np.float64), _harmonic_of_shares, seed) or (None, None)


def _harmonic_of_shares(totals: np.ndarray) -> np.ndarray:
    """From (fired, texts, silent, texts): [..., 4] → [...]; undefined when a side has no text."""
    fired, firing, silent, near = np.moveaxis(totals, -1, 0)
    known = (firing > 0) & (near > 0)
    left, right = fired / np.maximum(firing, 1), silent / np.maximum(near, 1)
    both = left + right
    mean = 2 * left * right / np.where(both > 0, both, 1.0)
    return np.where(known, mean, np.nan)
