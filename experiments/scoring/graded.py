"""Graded judgement: how much of what the feature does does an explanation foresee?

The coverage of explanations in words. Binary questions saturate; so every context of the panel (see
`contexts`) is graded from 0 to 1, in typical maxima, over the whole range of activation, the weak ones
too. g: the grade; a: the peak of the activation shown, in typical maxima (its positive part); m: the
sum of the activation shown; w: how many windows of the split the context stands for. An acting
context (a > 0) is *found* when g ≥ min(fires_from, a / 2), as tokens are in `predictive`.

| score | formula | over |
|---|---|---|
| graded_coverage | Σ w m over found contexts / Σ w m | acting contexts |
| graded_recall | Σ w over found ones / Σ w, averaged over the bands of activation | acting contexts |
| graded_specificity | contexts with g < fires_from / contexts | silent contexts |
| graded_auprc | average precision of g for "the context fires" | all contexts |
| graded_pearson | correlation of g and a | all contexts |

The bands are fifths of the peaks of the windows that act on `explain`. Coverage and recall alone are
at their best for "always fires": read them beside specificity, which is made hard by near misses and
by contexts in which a neighbour fires. Their weights make the first two speak of the whole split; the
last two speak of the panel, in which every third context fires and hardly any word is the commonest.
Grades without a unit (fires_from is None) have no coverage, recall or specificity. Intervals resample
documents.

Average precision and Pearson as in `predictive`, over contexts in place of tokens; a graded answer in
place of yes or no follows simulation scoring (Bills et al. 2023) rather than detection (Paulo et al.
2024).
"""

from __future__ import annotations

import numpy as np

from .bench import Blind, Marks, Target, scorer
from .classification import NO_UNIT, Answers, accuracy, grades_of, items_of
from .contexts import NEGATIVES
from .metrics import auprc, pearson, sums_of
from .score import Score, of_units, ratio
from .simulator import Simulator

NAMES = (
    "graded_coverage",
    "graded_recall",
    "graded_specificity",
    "graded_auprc",
    "graded_pearson",
)
#: What scores do not see of a label, as `sanity` measures it.
BLIND: dict[str, tuple[Blind, ...]] = {
    "graded_coverage": ("extra",),
    "graded_recall": ("extra",),
    "graded_specificity": ("missing",),
}
#: Fifths of the peaks of acting windows.
EDGES = (0.2, 0.4, 0.6, 0.8)


@scorer("graded", NAMES, blind=BLIND, version=2)
async def graded(target: Target, simulator: Simulator) -> Marks:
    """The five scores of this module's table; each context as an item."""
    drawn = target.panel.drawn
    grades = await grades_of(target, simulator)
    fires = [one.kind == "firing" for one in drawn]
    asked = Answers.of(drawn, fires, np.array([*grades.values()]), simulator)
    known = ~np.isnan(asked.grades)
    acts = ~np.isin(asked.kinds, NEGATIVES)
    # All that failed is told too, where nothing else can be.
    told = {
        "items": items_of("graded", target, drawn, asked),
        "failed": {"graded": asked.share_failed},
    }
    if reason := asked.lacks():
        undefined = {name: Score.undefined(reason, asked.failed) for name in NAMES}
        return Marks(undefined, told if drawn else {})
    peaks = np.array([one.peak for one in drawn]) / target.stats.typical_max
    seed, documents = target.seed, asked.documents[known]
    scores, bands = _found(target, asked, peaks)
    scores["graded_specificity"] = _specificity(asked.only(~acts), seed)
    scores["graded_auprc"] = auprc(asked.grades[known], asked.fires[known], documents, seed)
    scores["graded_pearson"] = pearson(asked.grades[known], peaks[known], documents, seed)
    return Marks(
        {name: scores[name].model_copy(update={"failed": asked.failed}) for name in NAMES},
        {
            **told,
            "more": {"graded": {"base_rate": float(asked.fires.mean()), "bands": bands}},
        },
    )


def _found(
    target: Target, asked: Answers, peaks: np.ndarray
) -> tuple[dict[str, Score], list[dict[str, float | int | None]]]:
    """Coverage and recall; and for each band its edges, in typical maxima, contexts and recall."""
    if asked.fires_from is None:
        undefined = Score.undefined(NO_UNIT, asked.failed)
        return {"graded_coverage": undefined, "graded_recall": undefined}, []
    drawn = target.panel.drawn
    acts = (peaks > 0) & ~np.isnan(asked.grades)
    needed = np.minimum(asked.fires_from, peaks[acts] / 2)
    found = asked.grades[acts] >= needed * (1 - 1e-6)
    weight = np.array([one.stands_for for one in drawn])[acts]
    mass = weight * np.array([one.activations.sum() for one in drawn])[acts]
    unit, seed = asked.documents[acts], target.seed
    rows = sums_of(np.stack([mass * found, mass], axis=1), unit)
    coverage = of_units(rows, ratio, seed, undefined="nothing to cover")
    edges = _edges(target)
    member = np.eye(len(edges) + 1)[np.searchsorted(edges, peaks[acts], side="right")]
    columns = member * weight[:, None]
    rows = sums_of(np.concatenate([columns * found[:, None], columns], axis=1), unit)
    recall = of_units(rows, _mean_of_bands, seed, undefined="nothing to find")
    hits, all_ = np.split(rows.sum(axis=0), 2)
    lows, highs = [0.0, *edges.tolist()], [*edges.tolist(), None]
    bands = [
        {
            "low": lows[k],
            "high": highs[k],
            "n": int(member[:, k].sum()),
            "recall": float(hits[k] / all_[k]) if all_[k] else None,
        }
        for k in range(len(lows))
    ]
    return {"graded_coverage": coverage, "graded_recall": recall}, bands


def _edges(target: Target) -> np.ndarray:
    """The edges of the bands, in typical maxima."""
    peaks = target.explain.peaks(target.feature)
    return np.quantile(peaks[peaks > 0], EDGES) / target.stats.typical_max


def _mean_of_bands(totals: np.ndarray) -> np.ndarray:
    """Mean of found / all over bands that hold contexts: [..., 2 × bands] → [...]."""
    hits, all_ = np.split(totals, 2, axis=-1)
    held = (all_ > 0).sum(axis=-1)
    recalls = np.where(all_ > 0, hits / np.where(all_ > 0, all_, 1.0), 0.0).sum(axis=-1)
    return np.where(held > 0, recalls / np.maximum(held, 1), np.nan)


def _specificity(silent: Answers, seed: int) -> Score:
    if silent.fires_from is None:
        return Score.undefined(NO_UNIT, silent.failed)
    own = silent.answered
    return accuracy((~own.said).astype(float), own.documents, seed, silent.failed)
