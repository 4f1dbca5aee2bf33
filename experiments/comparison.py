"""Runs compared: how their explanations differ on the features that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ..sae.errors import JournalError
from .journal import Run
from .results import Result, results_of
from .scoring import Score
from .scoring.compare import NOT_SHOWN, Difference, corrected, difference
from .summary import by_stratum, columns_of, simulator_in


@dataclass(frozen=True)
class Row:
    """One score of two runs in one stratum. group: "lexical", "contextual" or "all".

    score: its name. left, right: the runs' names. found: the difference left − right, corrected over
    all rows of the group.
    """

    group: str
    score: str
    left: str
    right: str
    found: Difference

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        about = {"stratum": self.group, "score": self.score, "left": self.left, "right": self.right}
        numbers = self.found.model_dump()
        # The means stand under the names of what they are of, the runs' names under theirs.
        means = {"mean_left": numbers.pop("left"), "mean_right": numbers.pop("right")}
        said = {"shown": self.found.shown} | ({} if self.found.shown else {"says": NOT_SHOWN})
        return {**about, **means, "difference": numbers.pop("value"), **numbers, **said}


@dataclass(frozen=True)
class Comparison:
    """Runs side by side. names: of the runs. features: how many all of them have explained.

    left_out: how many features only some of them have. rows: every pair, score and stratum; "all" is
    always there.
    """

    names: tuple[str, ...]
    features: int
    left_out: int
    rows: tuple[Row, ...]


def compare_runs(runs: Sequence[Run], scores: Sequence[str] | None = None) -> Comparison:
    """The runs' explanations, every pair of runs.

    Raises JournalError for runs that were not scored on the same text.
    """
    for first, other in combinations(runs, 2):
        if first.config.get("evidence") != other.config.get("evidence"):
            raise JournalError(
                f"The runs {first.name} and {other.name} were scored on other text, so their scores "
                f"cannot be compared: make both with the same subject, SAE, --corpus and --tokens."
            )
    return compare({run.name: results_of(run) for run in runs}, scores)


def compare(
    results: Mapping[str, Sequence[Result]], scores: Sequence[str] | None = None
) -> Comparison:
    """Results by the name of their run, every pair of runs on the features that all runs have.

    scores: names of scores; None for those of every table. Features are paired by their whole name.
    Holm's correction is over all pairs and scores of a stratum. Raises JournalError for fewer than
    two runs, for runs without a common feature, for runs that different simulators answered for, and
    for a score that no run has.
    """
    if len(results) < 2:
        raise JournalError("There is nothing to compare: name two runs or more.")
    by_run = {name: {one.feature: one for one in found} for name, found in results.items()}
    common = set.intersection(*(set(found) for found in by_run.values()))
    if not common:
        raise JournalError(f"The runs {', '.join(by_run)} have no feature in common.")
    _check_simulators(by_run, common)
    known = {name for found in by_run.values() for one in found.values() for name in one.scores}
    usual = columns_of([one for found in by_run.values() for one in found.values()])
    chosen = [name for name in usual if name in known] if scores is None else list(scores)
    if missing := [name for name in chosen if name not in known]:
        raise JournalError(
            f"No run has the score {missing[0]!r}: `sagescope score` makes more; there are "
            f"{', '.join(sorted(known))}."
        )
    first = next(iter(by_run.values()))
    groups = by_stratum([one for feature, one in first.items() if feature in common])
    rows = [
        row
        for group, members in groups.items()
        for row in _rows(group, by_run, chosen, [one.feature for one in members])
    ]
    every = set.union(*(set(found) for found in by_run.values()))
    return Comparison(tuple(by_run), len(common), len(every - common), tuple(rows))


def _check_simulators(by_run: Mapping[str, Mapping[str, Result]], common: set[str]) -> None:
    """Raise JournalError where two runs were scored by different simulators on a feature."""
    for feature in sorted(common):
        by = {name: simulator_in(found[feature]) for name, found in by_run.items()}
        scored = [(name, simulator) for name, simulator in by.items() if simulator]
        for name, simulator in scored[1:]:
            if simulator != scored[0][1]:
                raise JournalError(
                    f"For {feature} the simulator {scored[0][1]} answered in {scored[0][0]} and "
                    f"{simulator} in {name}, so their scores cannot be compared: score both runs "
                    f"with the same --simulator and --scorer-mind."
                )


def _rows(
    group: str,
    by_run: Mapping[str, Mapping[str, Result]],
    scores: Sequence[str],
    features: Sequence[str],
) -> list[Row]:
    def values(run: str, score: str) -> dict[str, Score | None]:
        return {feature: by_run[run][feature].scores.get(score) for feature in features}

    found = {
        (score, left, right): difference(values(left, score), values(right, score))
        for score in scores
        for left, right in combinations(by_run, 2)
    }
    return [Row(group, *about, one) for about, one in corrected(found).items()]
