"""A zoo's table: what each SAE costs in reconstruction, and how well its features are explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from ..leaderboard.board import Board, board
from ..leaderboard.manifest import read_manifest
from ..leaderboard.rows import Entry
from ..quartiles import quarters_of
from ..scoring import Score, mean_with_interval
from ..scoring.compare import Difference
from . import adjusted
from .adjusted import Scored, Weighted
from .explaining import DRAWN, explained
from .place import Place
from .training import cost_of

#: The scores that SAEs are compared by, of those that the recipe has made.
COMPARED = ("coverage", "predictive_pearson", "input")
#: What the reconstruction side is kept under.
EVALUATION = "evaluation"


@dataclass(frozen=True)
class Row:
    """One SAE. measured: of `sae-eval`, as JSON values. cost: see `training.cost_of`.

    able, contextual: see `explaining.known_of`. features: that were explained, failed: of these
    without an explanation. raw, adjusted, weighted: score → it. against: score → adjusted
    difference to the reference, against_raw the same of raw scores; none for the reference itself.
    controls: control → score → mean. quarters: the share of the firings in each quarter of
    activation that explanations claim, the weakest first (see `quartiles`). contextual_raw: raw
    scores of contextual features alone. probes, seconds: of explaining, on average.
    """

    name: str
    arch: str
    measured: dict[str, Any]
    cost: dict[str, float]
    able: int
    contextual: int
    features: int
    failed: int
    raw: dict[str, Score]
    adjusted: dict[str, Score]
    weighted: dict[str, Weighted]
    against: dict[str, Difference]
    against_raw: dict[str, Difference]
    controls: dict[str, dict[str, Score]]
    quarters: tuple[Score, ...]
    contextual_raw: dict[str, Score]
    probes: float
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """JSON values."""

        def plain(scores: Mapping[str, Score | Difference]) -> dict[str, Any]:
            return {name: one.model_dump(mode="json") for name, one in scores.items()}

        scored = ("raw", "adjusted", "against", "against_raw", "contextual_raw")
        return {
            **vars(self),
            **{name: plain(getattr(self, name)) for name in scored},
            "weighted": {
                name: {**one.score.model_dump(mode="json"), "reached": one.reached}
                for name, one in self.weighted.items()
            },
            "controls": {name: plain(scores) for name, scores in self.controls.items()},
            "quarters": [one.model_dump(mode="json") for one in self.quarters],
        }


@dataclass(frozen=True)
class Table:
    """A zoo so far. rows: the highest adjusted headline first. slopes: score → b (see `adjusted`).

    asked: features of each SAE in the recipe; done: of each, in the order of the draw, that all
    SAEs have. boards: of the SAEs, in the recipe's order, with all that is explained.
    """

    reference: str
    rows: tuple[Row, ...]
    slopes: dict[str, float]
    asked: int
    done: int
    boards: tuple[Board, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "reference": self.reference,
            "asked": self.asked,
            "done": self.done,
            "slopes": self.slopes,
            "rows": [row.as_json() for row in self.rows],
        }


def table_of(place: Place) -> Table:
    """The table of what there is: features that every SAE has explained, no others.

    Raises SAEError for a folder without a zoo.
    """
    from ..journal import Journal

    recipe = place.recipe
    known = place.read(DRAWN) or {"drawn": {}, "known": {}}
    measured = place.read(EVALUATION) or {"rows": {}}
    drawn: dict[str, list[int]] = known["drawn"]
    done = min((explained(place, name) for name in drawn), default=0)
    boards: dict[str, Board] = {}
    if drawn and place.journal.exists():
        with Journal.open(place.journal) as journal:
            for name in drawn:
                boards[name] = board([journal], read_manifest(place.manifest(name)))
    entries = {
        name: _own(found, recipe.explaining.explainer, set(drawn[name][:done]))
        for name, found in boards.items()
        if done
    }
    compared = _compared(entries, recipe.reference, known["known"])
    rows = [
        _row(
            place,
            name,
            measured["rows"].get(name, {}),
            known["known"].get(name, {}),
            entries.get(name),
            compared,
        )
        for name in recipe.saes
    ]
    first = next(iter(compared.adjusted), "")
    rows.sort(key=lambda row: _rank(row.adjusted.get(first)))
    slopes = {score: adjusted.slope(saes) for score, saes in compared.scored.items()}
    made = (recipe.reference, tuple(rows), slopes, recipe.explaining.features, done)
    return Table(*made, tuple(boards.values()))


def _rank(score: Score | None) -> tuple[bool, float]:
    """Sorts the highest first, and what has no value, which is no zero, last."""
    value = score.value if score else None
    return value is None, -(value or 0.0)


def _own(found: Board, explainer: str, features: set[int]) -> Entry | None:
    """An explainer's run of a board, with the results of some features."""
    runs = [one for one in found.entries if one.kind == "run" and one.explainer == explainer]
    entry = next(iter(runs), None)
    if entry is None:
        return None
    return replace(entry, results=tuple(one for one in entry.results if one.index in features))


# -------------------------------------------------------------------- comparing


@dataclass(frozen=True)
class _Compared:
    """All by score, then SAE."""

    scored: dict[str, dict[str, Scored]]
    raw: dict[str, dict[str, Score]]
    adjusted: dict[str, dict[str, Score]]
    weighted: dict[str, dict[str, Weighted]]
    against: dict[str, dict[str, Difference]]
    against_raw: dict[str, dict[str, Difference]]


def _compared(
    entries: Mapping[str, Entry | None], reference: str, known: Mapping[str, Any]
) -> _Compared:
    firings = {
        name: {int(band): value for band, value in one["firings"].items()}
        for name, one in known.items()
    }
    scored = {}
    for score in COMPARED:
        found = {name: _scored(entry, score) for name, entry in entries.items() if entry}
        if any(len(one.value) for one in found.values()):
            scored[score] = {name: one for name, one in found.items() if len(one.value)}
    return _Compared(
        scored,
        {score: adjusted.raw(saes) for score, saes in scored.items()},
        {score: adjusted.at_one_density(saes) for score, saes in scored.items()},
        {score: adjusted.by_firings(saes, firings) for score, saes in scored.items()},
        _corrected(scored, reference, True),
        _corrected(scored, reference, False),
    )


def _corrected(
    scored: Mapping[str, Mapping[str, Scored]], reference: str, adjust: bool
) -> dict[str, dict[str, Difference]]:
    return adjusted.all_corrected(
        {score: adjusted.differences(saes, reference, adjust) for score, saes in scored.items()}
    )


def _scored(entry: Entry, score: str) -> Scored:
    """The features of an entry that have a value."""
    pairs = [
        (entry.densities[feature], found.value)
        for feature, found in entry.scores(score)
        if found and found.value is not None and entry.densities.get(feature)
    ]
    return Scored.of([density for density, _ in pairs], [value for _, value in pairs])


# -------------------------------------------------------------------- one row


def _row(
    place: Place,
    name: str,
    measured: dict[str, Any],
    known: Mapping[str, Any],
    entry: Entry | None,
    compared: _Compared,
) -> Row:
    results = entry.results if entry else ()

    def own(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return {score: by[name] for score, by in found.items() if name in by}

    return Row(
        name=name,
        arch=place.recipe.saes[name].arch,
        measured=measured,
        cost=cost_of(place.sae(name)),
        able=known.get("able", 0),
        contextual=known.get("contextual", 0),
        features=len(results),
        failed=sum(one.status == "failed" for one in results),
        raw=own(compared.raw),
        adjusted=own(compared.adjusted),
        weighted=own(compared.weighted),
        against=own(compared.against),
        against_raw=own(compared.against_raw),
        controls=_controls(entry, [*compared.scored]),
        quarters=_quarters(results),
        contextual_raw=_contextual(entry, [*compared.scored]),
        probes=fmean([one.cost.probes for one in results]) if results else 0.0,
        seconds=fmean([one.cost.seconds for one in results]) if results else 0.0,
    )


def _means(entry: Entry, scores: Sequence[str]) -> dict[str, Score]:
    return {
        score: mean_with_interval([found for _, found in entry.scores(score)], entry.units)
        for score in scores
    }


def _controls(entry: Entry | None, scores: Sequence[str]) -> dict[str, dict[str, Score]]:
    from ..scoring import CONTROL_NAMES

    if entry is None:
        return {}
    there = [name for name in CONTROL_NAMES if any(one.controls.get(name) for one in entry.results)]
    return {name: _means(replace(entry, of=name), scores) for name in there}


def _contextual(entry: Entry | None, scores: Sequence[str]) -> dict[str, Score]:
    if entry is None:
        return {}
    some = tuple(one for one in entry.results if one.stratum == "contextual")
    return _means(replace(entry, results=some), scores)


def _quarters(results: Sequence[Any]) -> tuple[Score, ...]:
    shares = [quarters_of(one) for one in results]
    return tuple(mean_with_interval(list(quarter)) for quarter in zip(*shares, strict=True))
