"""A leaderboard's table: a row for each explainer with its mind, coverage first.

    skill = (score − random) / (1 − random)

is a score adjusted for what another feature's explanation scores (`random`, means over the same
features): 0 for an explanation that knows nothing of its feature, 1 for a perfect one. It is defined
for every score whose best is 1.

Means, skills and differences come with 95 % intervals from resampling features (`scoring.score`,
`scoring.compare`); several seeds of a feature count as their mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import numpy as np

from ..journal import Journal
from ..scoring import Score, blind_to, mean_with_interval
from ..scoring.compare import NOT_SHOWN, Difference, corrected, difference
from ..scoring.score import RESAMPLES_OF_MEAN, of_units
from ..summary import COLUMNS, MARKS, STRATA
from .manifest import Manifest
from .rows import Entry, Kind, entries_of

#: Groups of features: all of them, then each stratum.
GROUPS = ("all", *STRATA)
#: The score that rows are ranked by.
HEADLINE = "coverage"


@dataclass(frozen=True)
class Cells:
    """A row in one group of features.

    features: how many have a result. scores, skills: by the score's name. against: the row's
    difference to the top row, for each score; none for the top row itself and for controls.
    """

    features: int
    scores: dict[str, Score]
    skills: dict[str, Score]
    against: dict[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One row. kind, explainer, mind, about, runs: see Entry. groups: by name in GROUPS.

    done: how many results there are, of `expected` (features × seeds). failed: how many of these
    have no explanation. failed_items: mean share of a score's items that could not be run, None
    where no score has items. calls, tokens, probes, seconds, dollars: of explaining, in all; None for
    a control or, of dollars, where a price is not known. controlled: see Entry.
    """

    kind: Kind
    explainer: str
    mind: str
    about: str
    runs: tuple[str, ...]
    groups: dict[str, Cells]
    done: int
    expected: int
    failed: int
    failed_items: float | None
    calls: int | None
    tokens: int | None
    probes: int | None
    seconds: float | None
    dollars: float | None
    controlled: bool

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        values = {name: value for name, value in vars(self).items() if name != "groups"}
        groups = {
            group: {
                "features": cells.features,
                "scores": {name: score.model_dump() for name, score in cells.scores.items()},
                "skills": {name: score.model_dump() for name, score in cells.skills.items()},
                "against_top": {
                    name: {**one.model_dump(), "says": says(one)}
                    for name, one in cells.against.items()
                },
            }
            for group, cells in self.groups.items()
        }
        return {**values, "runs": list(self.runs), "groups": groups}


@dataclass(frozen=True)
class Board:
    """A benchmark's table. columns: score → heading, coverage first. rows: the best first.

    entries: what the rows were made from, in their order. left_out: a sentence for each run without a place.
    """

    manifest: Manifest
    columns: dict[str, str]
    rows: tuple[Row, ...]
    entries: tuple[Entry, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def blind(self) -> dict[str, list[str]]:
        """Score → what it does not see of a label, for those that do not see all."""
        return {name: [*kinds] for name in self.columns if (kinds := blind_to(name))}

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that have any feature; a stratum that has all of them is not named apart."""
        sizes = {
            group: max((row.groups[group].features for row in self.rows), default=0)
            for group in GROUPS
        }
        strata = [name for name in STRATA if 0 < sizes[name] < sizes["all"]]
        return ("all", *strata) if self.rows else ()

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "benchmark": self.manifest.name,
            "digest": self.manifest.digest,
            "manifest": self.manifest.model_dump(mode="json"),
            "blind": self.blind,
            "rows": [row.as_json() for row in self.rows],
            "left_out": list(self.left_out),
        }


#: Scores whose best is not 1, so that there is no share of the way to it.
UNBOUNDED = ("steering_ratio", "steering_effect", "surprisal_gain")


def says(found: Difference) -> str:
    """What a comparison shows, in words."""
    if not found.shown or found.value is None:
        return NOT_SHOWN
    return "higher" if found.value > 0 else "lower"


def board(
    journals: Iterable[Journal], manifest: Manifest, names: Sequence[str] | None = None
) -> Board:
    """The table of a benchmark from journals.

    names: only these runs. Raises BenchmarkError for a named run that is of another benchmark.
    """
    found = entries_of(journals, manifest, names)
    columns = _columns(manifest)
    entries = sorted(found.entries, key=lambda entry: _rank(entry, columns, manifest))
    top = next((entry for entry in entries if entry.kind != "control"), None)
    against = _against(top, entries, columns)
    rows = [_row(entry, manifest, columns, against.get(id(entry), {})) for entry in entries]
    return Board(manifest, columns, tuple(rows), tuple(entries), found.left_out)


def _columns(manifest: Manifest) -> dict[str, str]:
    """The headings of the benchmark's scores, with their marks: those of every table first."""
    ordered = [name for name in COLUMNS if name in manifest.scores]
    others = [name for name in manifest.scores if name not in COLUMNS]
    return {name: COLUMNS.get(name) or _heading(name) for name in [*ordered, *others]}


def _heading(name: str) -> str:
    return name.replace("_", " ") + "".join(MARKS[kind] for kind in blind_to(name))


def _expected(entry: Entry, manifest: Manifest) -> int:
    """How many results there are when an entry is whole. Submissions are scored with one seed."""
    seeds = 1 if entry.kind == "submitted" else len(manifest.seeds)
    return len(manifest.features) * seeds


def _rank(
    entry: Entry, columns: dict[str, str], manifest: Manifest
) -> tuple[bool, bool, float, str]:
    """Sorts the highest first, then what lacks scores (easy features may be left), then undefined."""
    first = next(iter(columns))
    values = [score.value for _, score in entry.scores(first) if score and score.value is not None]
    lacks = len(values) < _expected(entry, manifest)
    return not values, lacks, -fmean(values) if values else 0.0, entry.explainer


# -------------------------------------------------------------------- one row


def _row(
    entry: Entry,
    manifest: Manifest,
    columns: dict[str, str],
    against: dict[str, dict[str, Difference]],
) -> Row:
    costs = [one.cost for one in entry.results] if entry.kind == "run" else None
    dollars = [cost.dollars for cost in costs or ()]
    known = [price for price in dollars if price is not None]
    return Row(
        kind=entry.kind,
        explainer=entry.explainer,
        mind=entry.mind,
        about=entry.about,
        runs=entry.runs,
        groups={
            group: cells_of(group_of(entry, group), columns, against.get(group, {}))
            for group in GROUPS
        },
        done=len(entry.results),
        expected=_expected(entry, manifest),
        failed=sum(one.status == "failed" for one in entry.results),
        failed_items=_failed_items(entry),
        calls=None if costs is None else sum(cost.calls for cost in costs),
        tokens=None if costs is None else sum(cost.tokens for cost in costs),
        probes=None if costs is None else sum(cost.probes for cost in costs),
        seconds=None if costs is None else round(sum(cost.seconds for cost in costs), 3),
        dollars=sum(known) if costs is not None and len(known) == len(dollars) else None,
        controlled=entry.controlled,
    )


def group_of(entry: Entry, group: str) -> Entry:
    """An entry with the results of one group of GROUPS."""
    if group == "all":
        return entry
    return replace(entry, results=tuple(one for one in entry.results if one.stratum == group))


def cells_of(
    entry: Entry,
    columns: Mapping[str, str],
    against: Mapping[str, Difference] | None = None,
    skilled: bool = True,
) -> Cells:
    """An entry's means, and its skills unless they are not wanted. columns: the scores' names."""
    scores = {name: mean_of(entry, name) for name in columns}
    skills = {name: _skill_of(entry, name) for name in columns if skilled}
    return Cells(len({one.index for one in entry.results}), scores, skills, dict(against or {}))


def _skill_of(entry: Entry, name: str) -> Score:
    if name in UNBOUNDED:
        return Score.undefined("it has no best value to compare with")
    return skill(entry.scores(name), entry.random(name))


def mean_of(entry: Entry, name: str) -> Score:
    """An entry's mean of one score over its features, with its interval."""
    found = entry.scores(name)
    return mean_with_interval(
        [score for _, score in found], clusters=[feature for feature, _ in found]
    )


def _failed_items(entry: Entry) -> float | None:
    shares = [
        share
        for one in entry.results
        for share in one.details.get(entry.of, {}).get("failed", {}).values()
    ]
    return fmean(shares) if shares else None


def skill(
    own: Sequence[tuple[int, Score | None]], random: Sequence[tuple[int, Score | None]]
) -> Score:
    """How far scores lie between those of another feature's explanation and 1.

    own, random: (feature, score), result by result. (S − R) / (1 − R) of the means over the features
    that have both; features are resampled, each with its control.
    """
    sums: dict[int, list[tuple[float, float]]] = {}
    for (feature, score), (_, control) in zip(own, random, strict=True):
        if score and control and score.value is not None and control.value is not None:
            sums.setdefault(feature, []).append((score.value, control.value))
    units = np.array([[*np.mean(pairs, axis=0), 1.0] for pairs in sums.values()], np.float64)
    return of_units(
        units.reshape(-1, 3),
        _skill_of_sums,
        0,
        undefined="no feature has both the score and its random control"
        if not sums
        else "the random explanation is perfect, so nothing can be better",
        resamples=RESAMPLES_OF_MEAN,
    )


def _skill_of_sums(totals: np.ndarray) -> np.ndarray:
    """From sums of score, control and 1 over features: float64 [..., 3] → [...]."""
    score, control, n = np.moveaxis(totals, -1, 0)
    room = n - control
    return np.where(room > 1e-9, (score - control) / np.where(room > 1e-9, room, 1.0), np.nan)


# -------------------------------------------------------------------- against the top row


def _against(
    top: Entry | None, entries: Sequence[Entry], columns: dict[str, str]
) -> dict[int, dict[str, dict[str, Difference]]]:
    """Entry (its id) → group → score → difference to the top entry, paired by feature.

    Holm's correction is over all rows and scores of a group. Controls are not compared.
    """
    others = [entry for entry in entries if entry.kind != "control" and entry is not top]
    found: dict[int, dict[str, dict[str, Difference]]] = {}
    for group in GROUPS if top and others else ():
        best = group_of(top, group)  # pyright: ignore[reportArgumentType]
        pairs = {
            (id(entry), name): difference(
                _by_feature(group_of(entry, group), name), _by_feature(best, name)
            )
            for entry in others
            for name in columns
        }
        for (entry, name), one in corrected(pairs).items():
            found.setdefault(entry, {}).setdefault(group, {})[name] = one
    return found


def _by_feature(entry: Entry, name: str) -> dict[Any, list[Score | None]]:
    found: dict[Any, list[Score | None]] = {}
    for feature, score in entry.scores(name):
        found.setdefault(feature, []).append(score)
    return found
