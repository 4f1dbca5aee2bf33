"""FADE's two scores on natural text: does the feature answer to the concept, and to nothing else?

Windows of the `score` split are drawn over the range of their highest activation m, as FADE does: a
tenth are the strongest, the others in equal parts from the bands 0–50, 50–75, 75–95 and 95–100 %
of all windows. The simulator grades each; from `fires_from` on the concept is there, below half of
that it is not, and what lies between is left out, as FADE leaves out what is "partly" there.

| score | formula |
|---|---|
| responsiveness | 2 AUC − 1 of m, windows with the concept against windows without it |
| purity | average precision of m for "the concept is there" |

Puri et al. 2025, "FADE: Why Bad Descriptions Happen to Good Features". They take the absolute
value of the first; here −1 stays −1. Their clarity is a score of `generated`, their faithfulness one of the
output side. A window that could not be graded is a failed item.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ...sae.errors import CannotAnswer
from ...sae.mixture import lots, stretch_at_peak
from .bench import UNMEASURED, Item, Marks, Target, scorer
from .excerpts import evenly
from .metrics import auc, auprc, gini
from .score import Score
from .simulator import Context, Simulator

NAMES = ("responsiveness", "purity")
#: Windows that are graded, and how many tokens of each are shown.
WINDOWS, SHOWN = 100, 64
#: Share of them that are the strongest; the edges of the bands that the others come from.
TOP, BANDS = 0.1, (0.0, 0.5, 0.75, 0.95, 1.0)


@scorer("fade", NAMES, default=False, blind={"purity": UNMEASURED})
async def fade(target: Target, simulator: Simulator) -> Marks:
    """Responsiveness and purity; each window as an item."""
    if reason := target.silent:
        return Marks({name: Score.undefined(reason) for name in NAMES})
    if simulator.fires_from is None:
        raise CannotAnswer("this simulator ranks texts, and cannot say where a concept is")
    windows = draw_windows(target)
    contexts = [_context(target, int(window)) for window in windows]
    grades = np.asarray(await simulator.grade(contexts), np.float64)
    table = target.held_out.tokens
    # What is shown is all that is graded, so that what is outside of it must not count either.
    peaks = np.array(
        [_peak(target, int(window), one) for window, one in zip(windows, contexts, strict=True)]
    )
    there, absent = grades >= simulator.fires_from, grades < simulator.fires_from / 2
    known = there | absent
    failed = int(np.isnan(grades).sum())
    documents = table.documents[windows]
    if there.any() and absent.any():
        clear = peaks[known], there[known], documents[known], target.seed
        scores = {"responsiveness": gini(auc(*clear)), "purity": auprc(*clear)}
    elif failed == len(grades):
        scores = dict.fromkeys(NAMES, Score.undefined("no window could be graded"))
    elif there.any():
        # The concept is everywhere: it separates nothing.
        always = "the concept is said to be in every window, so that nothing can be told apart"
        scores = {
            "responsiveness": Score(value=0.0, n=len(windows), reason=always),
            "purity": Score.undefined(always),
        }
    else:
        never = "the concept is said to be in none of the windows"
        scores = dict.fromkeys(NAMES, Score(value=0.0, n=len(windows), reason=never))
    return Marks(
        {name: one.model_copy(update={"failed": failed}) for name, one in scores.items()},
        {
            "items": tuple(
                _item(target, simulator.fires_from, *row)
                for row in zip(contexts, peaks, grades, known, strict=True)
            ),
            "failed": dict.fromkeys(NAMES, failed / len(grades)),
        },
    )


def draw_windows(target: Target) -> np.ndarray:
    """int64: the windows that are graded, those that fire spread evenly among them."""
    split = target.held_out
    lot = lots(split.tokens, target.seed)
    order = np.lexsort((lot, split.peaks(target.feature)))
    order = order[np.diff(split.tokens.starts)[order] > 0]
    if len(order) > WINDOWS:
        edges = (np.array(BANDS) * len(order)).astype(int)
        in_band = int(WINDOWS * (1 - TOP)) // (len(BANDS) - 1)
        bands = [order[low:high] for low, high in pairwise(edges)]
        chosen = [band[np.argsort(lot[band], kind="stable")[:in_band]] for band in bands]
        spread = np.concatenate(chosen)
        strongest = order[~np.isin(order, spread)][::-1]
        order = np.concatenate([spread, strongest[: WINDOWS - len(spread)]])
    return order[evenly(target.fires(split.peaks(target.feature)[order]).tolist(), target.seed)]


def _context(target: Target, window: int) -> Context:
    """At most SHOWN tokens of a window, around its highest activation."""
    table = target.held_out.tokens
    start = int(table.starts[window])
    places = stretch_at_peak(target.held_out, target.feature, window, SHOWN)
    first, end = int(places[0]) - start, int(places[-1]) + 1 - start
    return Context(tuple(table.window(window)), first, end)


def _peak(target: Target, window: int, context: Context) -> float:
    start = int(target.held_out.tokens.starts[window])
    return float(target.measured[start + context.first : start + context.end].max())


def _item(
    target: Target, fires_from: float, context: Context, peak: float, grade: float, known: bool
) -> Item:
    text = "".join(context.shown)
    if np.isnan(grade):
        return Item(scorer="responsiveness", text=text, maximum=peak, error="it was not graded")
    fires = bool(target.fires(peak))
    said = grade >= fires_from
    return Item(
        scorer="responsiveness",
        text=text,
        maximum=peak,
        grade=float(grade),
        passed=(fires == said) if known else None,
    )
