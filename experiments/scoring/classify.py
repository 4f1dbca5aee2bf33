"""Classification: does the explanation tell contexts that fire from contexts that are silent?

After Delphi (Paulo et al. 2024, "Automatically Interpreting Millions of Features in Large Language
Models"). All contexts are those of the panel (see `contexts`): from the `score` split, which no
explainer reads; the firing ones spread over the whole range above the firing threshold; the silent
ones of three kinds, of which *near miss* and *neighbour* are hard.

| score | formula |
|---|---|
| detection, fuzzing | balanced accuracy against all silent contexts together |
| …_f1, …_auc | F1 and AUC of the same |
| …_random, …_near_miss, …_neighbour, fuzzing_misplaced | balanced accuracy against that kind alone |
| intruder | trials in which the intruder gets the lowest grade / trials; a tie of k counts 1 / k |
| intruder_random, … | the same for one kind of intruder |

The metrics' formulas are in `classification`. *Detection*: a grade for the whole context. *Fuzzing*:
a grade for marked tokens; right are the tokens of a firing context with at least RIGHT of its peak,
wrong are silent tokens of firing contexts ("misplaced") and tokens of silent contexts, as many at a
time as in a right one. *Intruder*: four firing contexts of one band of activation and a silent one;
the one that the explanation grades lowest is taken out. Chance is .2. Delphi asks for the intruder
without the explanation, which scores the feature; this scores the explanation. A firing context is
in several trials; intervals resample the intruders' documents.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bench import UNMEASURED, Blind, Item, Marks, Target, scorer
from .classification import AUC, F1, Answers, accuracy, balanced_accuracy, grades_of, items_of
from .contexts import NEGATIVES, Drawn, mixed
from .score import Score
from .simulator import Simulator

#: Share of a context's peak from which a token is rightly marked (Delphi's).
RIGHT = 0.3
MISPLACED = "misplaced"
#: Contexts of a trial, with the intruder.
TRIAL = 5


def _names(scorer: str, kinds: Sequence[str], metrics: Iterable[str] = ()) -> tuple[str, ...]:
    parts = [*metrics, *(kind.replace(" ", "_") for kind in kinds)]
    return (scorer, *(f"{scorer}_{part}" for part in parts))


def _unmeasured(scorer: str) -> dict[str, tuple[Blind, ...]]:
    """A feature of `sanity` has no neighbours, and no silent text with its words."""
    return dict.fromkeys((f"{scorer}_near_miss", f"{scorer}_neighbour"), UNMEASURED)


#: What scores do not see of a label, as `sanity` measures it.
BLIND_TO_MARKS: dict[str, tuple[Blind, ...]] = {
    **_unmeasured("fuzzing"),
    **dict.fromkeys(("fuzzing_auc", "fuzzing_misplaced", "fuzzing_random"), ("extra",)),
}
BLIND_TO_INTRUDERS: dict[str, tuple[Blind, ...]] = {
    **_unmeasured("intruder"),
    **dict.fromkeys(("intruder", "intruder_random"), ("extra", "missing")),
}
#: What is computed besides balanced accuracy.
METRICS = {"f1": F1, "auc": AUC}


@scorer(
    "detection",
    _names("detection", NEGATIVES, METRICS),
    blind=_unmeasured("detection"),
    version=2,
)
async def detection(target: Target, simulator: Simulator) -> Marks:
    """Whether contexts fire (see this module's table); each as an item."""
    drawn = mixed(target.panel.of("firing", *NEGATIVES), target.seed)
    grades = await grades_of(target, simulator)
    asked = Answers.of(drawn, _fire(drawn), np.array([grades[one] for one in drawn]), simulator)
    return _marks("detection", NEGATIVES, target, drawn, asked)


@scorer(
    "fuzzing",
    _names("fuzzing", (MISPLACED, *NEGATIVES), METRICS),
    default=False,
    blind=BLIND_TO_MARKS,
    version=2,
)
async def fuzzing(target: Target, simulator: Simulator) -> Marks:
    """Whether marked tokens fire (see this module's table); each context as an item."""
    drawn = mixed(tuple(_marked(target)), target.seed)
    grades = await simulator.grade_marked([one.context for one in drawn])
    asked = Answers.of(drawn, _fire(drawn), grades, simulator)
    return _marks("fuzzing", (MISPLACED, *NEGATIVES), target, drawn, asked)


def _fire(drawn: Sequence[Drawn]) -> list[bool]:
    return [one.kind == "firing" for one in drawn]


def _marks(
    name: str, kinds: Sequence[str], target: Target, drawn: Sequence[Drawn], asked: Answers
) -> Marks:
    """All scores of one scorer, and in `more` the other metrics against each kind."""
    seed = target.seed
    scores = {name: balanced_accuracy(asked, seed)}
    scores |= {f"{name}_{key}": one.score(asked, seed) for key, one in METRICS.items()}
    more: dict[str, Any] = {"firing": int(asked.fires.sum())}
    for kind in kinds:
        part = asked.against(kind)
        scores[f"{name}_{kind.replace(' ', '_')}"] = balanced_accuracy(part, seed)
        more[kind] = {
            "n": int((~part.fires).sum()),
            **{key: one.value(part) for key, one in METRICS.items()},
        }
    return Marks(
        scores,
        {
            "items": items_of(name, target, drawn, asked),
            "failed": {name: asked.share_failed},
            "more": {name: more},
        },
    )


# -------------------------------------------------------------------- fuzzing


def _marked(target: Target) -> Iterator[Drawn]:
    """The contexts of the panel with tokens marked, rightly and wrongly."""
    draw = np.random.default_rng([target.seed, target.feature])
    firing = target.panel.of("firing")
    right = [np.flatnonzero(one.activations >= RIGHT * one.peak * (1 - 1e-6)) for one in firing]
    for number, (one, places) in enumerate(zip(firing, right, strict=True)):
        yield _with_marks(one, places)
        silent = np.flatnonzero(one.activations <= 0)
        if number % 2 and len(silent):
            wrong = draw.permutation(silent)[: len(places)]
            yield _with_marks(dataclasses.replace(one, kind=MISPLACED), wrong)
    for number, one in enumerate(target.panel.of(*NEGATIVES) if firing else ()):
        # The token that it was cut around, which is what makes it hard, and others at random.
        anchor = one.anchor - one.context.first
        others = draw.permutation(np.delete(np.arange(len(one.activations)), anchor))
        count = len(right[number % len(right)])
        yield _with_marks(one, np.array([anchor, *others[: count - 1]], np.int64))


def _with_marks(one: Drawn, places: np.ndarray) -> Drawn:
    """places: of tokens shown, from 0."""
    marked = tuple((np.sort(places) + one.context.first).tolist())
    return dataclasses.replace(one, context=dataclasses.replace(one.context, marked=marked))


# -------------------------------------------------------------------- intruder


@dataclass(frozen=True)
class Trial:
    """Four firing contexts of one band, and one that is silent."""

    intruder: Drawn
    others: tuple[Drawn, ...]


@scorer(
    "intruder",
    _names("intruder", NEGATIVES),
    default=False,
    blind=BLIND_TO_INTRUDERS,
    version=2,
)
async def intruder(target: Target, simulator: Simulator) -> Marks:
    """Which of five contexts does not belong (see this module's table); each trial as an item."""
    trials = _trials(target)
    if not trials:
        reason = f"the score split has no {TRIAL - 1} firing contexts and an intruder"
        return Marks({name: Score.undefined(reason) for name in intruder.scores})
    grades = await grades_of(target, simulator)
    right = np.array([_right(trial, grades) for trial in trials])
    kinds = np.array([trial.intruder.kind for trial in trials])
    documents = np.array([trial.intruder.document for trial in trials])

    def score(kept: np.ndarray) -> Score:
        known = kept & ~np.isnan(right)
        failed = int((kept & np.isnan(right)).sum())
        return accuracy(right[known], documents[known], target.seed, failed)

    scores = {"intruder": score(np.ones(len(trials), bool))}
    scores |= {f"intruder_{kind.replace(' ', '_')}": score(kinds == kind) for kind in NEGATIVES}
    return Marks(
        scores,
        {
            "items": tuple(_item(*pair, grades) for pair in zip(trials, right, strict=True)),
            "failed": {"intruder": float(np.isnan(right).mean())},
        },
    )


def _trials(target: Target) -> list[Trial]:
    """A trial for each silent context; those of a kind meet the bands by turns."""
    firing = sorted(target.panel.of("firing"), key=lambda one: (-one.peak, one.start))
    if len(firing) < TRIAL - 1:
        return []
    draw = np.random.default_rng([target.seed, target.feature])
    bands = np.array_split(np.arange(len(firing)), len(firing) // (TRIAL - 1))
    trials = []
    for kind in NEGATIVES:
        for number, one in enumerate(target.panel.of(kind)):
            chosen = draw.permutation(bands[number % len(bands)])[: TRIAL - 1]
            trials.append(Trial(one, tuple(firing[place] for place in chosen)))
    return trials


def _right(trial: Trial, grades: dict[Drawn, float]) -> float:
    """1 / k where the intruder is one of k that got the lowest grade, else 0; NaN: failed."""
    own = grades[trial.intruder]
    all_ = np.array([own, *(grades[one] for one in trial.others)])
    if np.isnan(all_).any():
        return float("nan")
    lowest = all_ <= all_.min() + 1e-9
    return float(lowest[0] / lowest.sum())


def _item(trial: Trial, right: float, grades: dict[Drawn, float]) -> Item:
    failed = bool(np.isnan(right))
    return Item(
        scorer="intruder",
        text=trial.intruder.text,
        kind=trial.intruder.kind,
        maximum=trial.intruder.peak,
        grade=None if failed else float(grades[trial.intruder]),
        passed=None if failed else right == 1,
        error="one of the five was not graded" if failed else None,
    )
