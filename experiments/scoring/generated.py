"""Scores from fresh texts that are made from the explanation alone: do they do as it says?

m: a text's highest activation. The typical maximum M is the mean of the ten strongest contexts of
the `explain` split, fires_at a fifth of it, and maximum the highest activation there.

| score | formula | source |
|---|---|---|
| generative | share of texts that should fire with m ≥ M / 2 | SAGE's generative accuracy |
| generative_half_max | the same with m ≥ maximum / 2 | SAGE, its other threshold |
| activation_coverage | the same with m ≥ fires_at | DAFI 2026 |
| boundary | share of near misses with m < fires_at | DAFI's boundary rejection |
| input | harmonic mean of generative and boundary | DAFI's input score, made stricter |
| input_any | harmonic mean of activation_coverage and boundary | DAFI's input score |
| clarity | 2 AUC − 1 of m, made texts against windows of the `score` split | FADE (Puri et al. 2025) |

Clarity takes windows at random. They are longer than the texts, and a longer text has more chances
to fire, so that clarity is on the low side. FADE takes the absolute value; here −1 stays −1: texts
that silence the feature.

The independent unit is the text. An explanation from which no text can be made scores 0 on all of
these: it says nothing that could be tried. A text that cannot be run is a failed item: reported
with its share, and counted nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from ...sae.errors import TextError
from ...sae.mixture import lots
from ...sae.tokens import TokenActivations
from .bench import Blind, Item, Marks, Target, reaches, scorer
from .metrics import auc, gini
from .score import Score, harmonic, interval, share
from .simulator import Simulator, settled

NAMES = (
    "generative",
    "generative_half_max",
    "activation_coverage",
    "boundary",
    "input",
    "input_any",
    "clarity",
)
#: Texts made from a label that is too narrow work as well as those from the whole truth.
BLIND: dict[str, tuple[Blind, ...]] = {
    **dict.fromkeys(NAMES, ("missing",)),
    "boundary": ("extra", "missing"),
}
#: Texts of each kind.
TEXTS = 24
#: Share of the typical maximum, or of the maximum, that a text made to fire must reach.
FIRES_WELL = 0.5
#: Windows that clarity compares with.
WINDOWS = 500


@scorer("generated", NAMES, blind=BLIND)
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
    boundary = _share([item.passed for item in should_not], target.seed)
    fired = {
        name: _share([_reached(item, threshold) for item in should_fire], target.seed)
        for name, threshold in _thresholds(target).items()
    }
    inputs = {
        name: _input(fired[of], boundary, threshold, should_fire, should_not, target.seed)
        for name, of, threshold in _inputs(target)
    }
    return Marks(
        {**fired, "boundary": boundary, **inputs, "clarity": _clarity(target, should_fire)},
        {
            "items": (*should_fire, *should_not),
            "failed": {
                name: sum(item.passed is None for item in kind) / len(kind)
                for name, kind in (("generative", should_fire), ("boundary", should_not))
                if kind
            },
        },
    )


def _thresholds(target: Target) -> dict[str, float]:
    """Score → what the highest activation of a text that should fire must reach for it."""
    stats = target.stats
    return {
        "generative": FIRES_WELL * stats.typical_max,
        "generative_half_max": FIRES_WELL * stats.maximum,
        "activation_coverage": stats.fires_at,
    }


def _inputs(target: Target) -> list[tuple[str, str, float]]:
    """The two input scores: name, the side of it that should fire, and that side's threshold."""
    pairs = (("input", "generative"), ("input_any", "activation_coverage"))
    return [(name, of, _thresholds(target)[of]) for name, of in pairs]


def _reached(item: Item, threshold: float) -> bool | None:
    """Whether a text reached a threshold; None where it could not be run."""
    return None if item.maximum is None else bool(reaches(item.maximum, threshold))


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


def _share(passed: Sequence[bool | None], seed: int) -> Score:
    """The share of texts that passed; None is one that could not be run."""
    if not passed:
        return Score(value=0.0, reason="no such text can be made from the explanation")
    known = [one for one in passed if one is not None]
    failed = len(passed) - len(known)
    return share(known, seed, undefined=f"none of {failed} texts could be run", failed=failed)


def _clarity(target: Target, made: Sequence[Item]) -> Score:
    """2 AUC − 1 of the highest activations of made texts against those of random windows."""
    if not made:
        return Score(value=0.0, reason="no such text can be made from the explanation")
    run = [item.maximum for item in made if item.maximum is not None]
    failed = len(made) - len(run)
    if not run:
        return Score.undefined(f"none of {failed} texts could be run", failed)
    peaks = target.held_out.peaks(target.feature)
    chosen = np.argsort(lots(target.held_out.tokens, target.seed), kind="stable")[:WINDOWS]
    values = np.concatenate([run, np.maximum(peaks[chosen], 0)]).astype(np.float64)
    is_made = np.arange(len(values)) < len(run)
    area = auc(values, is_made, np.arange(len(values)), target.seed)
    return gini(area).model_copy(update={"failed": failed})


def _input(
    fired: Score,
    boundary: Score,
    threshold: float,
    should_fire: Sequence[Item],
    should_not: Sequence[Item],
    seed: int,
) -> Score:
    """The harmonic mean, its interval by resampling the texts of both sides together."""
    failed = fired.failed + boundary.failed
    if fired.value is None or boundary.value is None:
        reason = fired.reason if fired.value is None else boundary.reason
        return Score.undefined(str(reason), failed)
    rows = [
        [float(passed), 1.0, 0.0, 0.0]
        for item in should_fire
        if (passed := _reached(item, threshold)) is not None
    ]
    rows += [[0.0, 0.0, item.passed, 1.0] for item in should_not if item.passed is not None]
    low, high = _input_interval(fired, boundary, np.array(rows, np.float64), seed)
    return Score(
        value=harmonic(fired.value, boundary.value),
        low=low,
        high=high,
        n=fired.n + boundary.n,
        failed=failed,
        reason=fired.reason or boundary.reason,
    )


def _input_interval(
    fired: Score, boundary: Score, rows: np.ndarray, seed: int
) -> tuple[float, float] | tuple[None, None]:
    if fired.low is None or boundary.low is None:
        return None, None
    if {fired.value, boundary.value} & {0.0, 1.0}:
        # A side that is all alike does not vary in a bootstrap: from its Wilson bounds instead.
        highs = harmonic(fired.high or 0.0, boundary.high or 0.0)
        return harmonic(fired.low, boundary.low), highs
    return interval(rows, _harmonic_of_shares, seed) or (None, None)


def _harmonic_of_shares(totals: np.ndarray) -> np.ndarray:
    """From (fired, texts, silent, texts): [..., 4] → [...]; undefined when a side has no text."""
    fired, firing, silent, near = np.moveaxis(totals, -1, 0)
    known = (firing > 0) & (near > 0)
    left, right = fired / np.maximum(firing, 1), silent / np.maximum(near, 1)
    both = left + right
    mean = 2 * left * right / np.where(both > 0, both, 1.0)
    return np.where(known, mean, np.nan)
