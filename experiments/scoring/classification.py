"""Answers about contexts, and how well they tell those that fire from those that are silent.

TP, FN: firing contexts that are said to fire, and not to; TN, FP: silent ones that are said to be
silent, and not. g⁺, g⁻: the grade of a firing and of a silent context.

| metric | formula |
|---|---|
| balanced accuracy | (TP / (TP + FN) + TN / (TN + FP)) / 2; knowing nothing gives .5 |
| F1 | 2 TP / (2 TP + FP + FN); depends on how many of each are asked |
| AUC | P(g⁺ > g⁻) + ½ P(g⁺ = g⁻) (Mann & Whitney 1947); knowing nothing gives .5 |

Both sorts must be there: else a metric is undefined, never 0 or 1. What could not be graded counts
as failed and in nothing else. Intervals resample documents.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .bench import Item, Target, reaches
from .contexts import Drawn
from .metrics import sums_of
from .score import Score, Statistic, of_units, ratio, share
from .simulator import Simulator

#: Why there is no share of right answers. A threshold could be fitted to the feature's activations
#: on `explain`, but then the score would rest on more than what the explanation says.
NO_UNIT = "the grades have an order and no unit, so that nothing says from which one on it fires"


@dataclass(frozen=True)
class Answers:
    """What a simulator said of contexts, beside what the feature does.

    grades: float64 [n], NaN where it failed. fires: bool [n]. kinds: str [n]. documents: int [n].
    fires_from: see Simulator.
    """

    grades: np.ndarray
    fires: np.ndarray
    kinds: np.ndarray
    documents: np.ndarray
    fires_from: float | None

    @classmethod
    def of(
        cls, drawn: Sequence[Drawn], fires: Sequence[bool], grades: np.ndarray, simulator: Simulator
    ) -> Answers:
        """The answers about contexts. Raises ValueError where there is not one for each."""
        grades = np.asarray(grades, np.float64)
        if grades.shape != (len(drawn),):
            raise ValueError(f"{grades.shape} grades for {len(drawn)} contexts")
        return cls(
            np.where(np.isfinite(grades), grades, np.nan),
            np.array(fires, bool),
            np.array([one.kind for one in drawn], str),
            np.array([one.document for one in drawn], np.int64),
            simulator.fires_from,
        )

    def only(self, kept: np.ndarray) -> Answers:
        """Those that a bool [n] keeps."""
        return dataclasses.replace(
            self,
            grades=self.grades[kept],
            fires=self.fires[kept],
            kinds=self.kinds[kept],
            documents=self.documents[kept],
        )

    def against(self, kind: str) -> Answers:
        """The firing contexts, and of the silent ones those of one kind."""
        return self.only(self.fires | (self.kinds == kind))

    @property
    def answered(self) -> Answers:
        """Those that did not fail."""
        return self.only(~np.isnan(self.grades))

    @property
    def failed(self) -> int:
        """How many failed."""
        return int(np.isnan(self.grades).sum())

    @property
    def share_failed(self) -> float:
        """Their share, 0 where there are none at all."""
        return self.failed / max(1, len(self.grades))

    @property
    def said(self) -> np.ndarray:
        """bool [n]: what it says fires. Only for simulators whose grades have a unit."""
        return reaches(self.grades, np.float64(self.fires_from or 0.0))

    def lacks(self) -> str | None:
        """Why these tell nothing, None where they do."""
        for part in (True, False):
            name = "fires" if part else "is silent"
            asked = self.fires == part
            if not asked.any():
                return f"there is no context on the score split in which the feature {name}"
            if np.isnan(self.grades[asked]).all():
                return f"none of the {asked.sum()} contexts in which the feature {name} was graded"
        return None


async def grades_of(target: Target, simulator: Simulator) -> dict[Drawn, float]:
    """The grade of each context of the panel, NaN where it failed.

    All that ask about the panel ask the same question, so that a language model is asked once.
    """
    drawn = target.panel.drawn
    grades = np.asarray(await simulator.grade(target.panel.contexts), np.float64)
    if grades.shape != (len(drawn),):
        raise ValueError(f"{grades.shape} grades for {len(drawn)} contexts")
    return dict(zip(drawn, grades.tolist(), strict=True))


@dataclass(frozen=True)
class Metric:
    """A way to compare answers with what is so.

    rows: of the answered, float64 [n, k]; statistic: of their sums. threshold: whether it asks from
    which grade on a context is said to fire.
    """

    rows: Callable[[Answers], np.ndarray]
    statistic: Statistic
    threshold: bool

    def score(self, answers: Answers, seed: int) -> Score:
        """The metric with its interval."""
        if reason := self.undefined(answers):
            return Score.undefined(reason, answers.failed)
        own = answers.answered
        units = sums_of(self.rows(own), own.documents)
        score = of_units(units, self.statistic, seed, undefined="it has no value")
        return score.model_copy(update={"failed": answers.failed})

    def value(self, answers: Answers) -> float | None:
        """The metric alone."""
        if self.undefined(answers):
            return None
        return float(self.statistic(self.rows(answers.answered).sum(axis=0)))

    def undefined(self, answers: Answers) -> str | None:
        """Why there is no value, None where there is one."""
        return NO_UNIT if self.threshold and answers.fires_from is None else answers.lacks()


def _confusion(answers: Answers) -> np.ndarray:
    """Rows of (TP, FN, TN, FP)."""
    said, fires = answers.said, answers.fires
    return np.stack([said & fires, ~said & fires, ~said & ~fires, said & ~fires], 1).astype(float)


def _by_grade(answers: Answers) -> np.ndarray:
    """Rows of (firing, silent) at each grade, lowest first: float64 [n, 2 × grades]."""
    levels, place = np.unique(answers.grades, return_inverse=True)
    member = np.eye(len(levels))[place]
    fires = answers.fires[:, None]
    return np.concatenate([member * fires, member * ~fires], axis=1)


def _balanced(totals: np.ndarray) -> np.ndarray:
    tp, fn, tn, fp = np.moveaxis(totals, -1, 0)
    both = (tp + fn > 0) & (tn + fp > 0)
    mean = (tp / np.maximum(tp + fn, 1) + tn / np.maximum(tn + fp, 1)) / 2
    return np.where(both, mean, np.nan)


def _f1(totals: np.ndarray) -> np.ndarray:
    tp, fn, _, fp = np.moveaxis(totals, -1, 0)
    return np.where(tp + fn > 0, 2 * tp / np.maximum(2 * tp + fp + fn, 1), np.nan)


def _auc(totals: np.ndarray) -> np.ndarray:
    firing, silent = np.split(totals, 2, axis=-1)
    below = silent.cumsum(axis=-1) - silent / 2
    pairs = firing.sum(axis=-1) * silent.sum(axis=-1)
    return np.where(pairs > 0, (firing * below).sum(axis=-1) / np.maximum(pairs, 1), np.nan)


BALANCED = Metric(_confusion, _balanced, threshold=True)
F1 = Metric(_confusion, _f1, threshold=True)
AUC = Metric(_by_grade, _auc, threshold=False)


def balanced_accuracy(answers: Answers, seed: int) -> Score:
    """(TP / (TP + FN) + TN / (TN + FP)) / 2, its interval from Wilson's where a side is all alike.

    Such a side does not vary in a bootstrap, which would then claim to be certain of it.
    """
    score = BALANCED.score(answers, seed)
    if score.value is None:
        return score
    own = answers.answered
    right = own.said == own.fires
    sides = [right[own.fires == part].tolist() for part in (True, False)]
    if all(len(set(side)) > 1 for side in sides):
        return score
    bounds = [share(side, seed, undefined="") for side in sides]
    if any(side.low is None for side in bounds):
        return score.model_copy(update={"low": None, "high": None})
    low, high = (sum(getattr(side, end) for side in bounds) / 2 for end in ("low", "high"))
    return score.model_copy(update={"low": low, "high": high, "reason": None})


def accuracy(right: np.ndarray, unit: np.ndarray, seed: int, failed: int) -> Score:
    """Mean of `right`, float64 [n] from 0 to 1; whole units resampled, Wilson where all are alike."""
    none = f"none of {failed} items could be graded" if failed else "there is no item"
    if len(right) and np.ptp(right) == 0 and right[0] in (0, 1):
        return share((right == 1).tolist(), seed, undefined=none, failed=failed)
    rows = np.stack([right, np.ones_like(right)], axis=1)
    score = of_units(sums_of(rows, unit), ratio, seed, undefined=none)
    return score.model_copy(update={"failed": failed})


def items_of(
    scorer: str, target: Target, drawn: Sequence[Drawn], answers: Answers
) -> tuple[Item, ...]:
    """Each context as a record. passed stays None where the grades have no unit."""
    found = []
    for place, one in enumerate(drawn):
        grade = float(answers.grades[place])
        failed = np.isnan(grade)
        passed = None
        if not failed and answers.fires_from is not None:
            passed = bool(answers.said[place] == answers.fires[place])
        found.append(
            Item(
                scorer=scorer,
                text=one.text,
                kind=one.kind,
                maximum=one.peak,
                grade=None if failed else grade,
                passed=passed,
                error="the simulator gave no usable grade" if failed else None,
            )
        )
    return tuple(found)
