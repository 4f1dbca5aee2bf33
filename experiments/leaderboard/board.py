"""A leaderboard's table: a row for each explainer with its mind, coverage first.

Rows that different simulators answered for stand in blocks of their own, and are compared only within
these: what one simulator makes of an explanation says nothing of another's figures.

    skill = (score − random) / (1 − random)

is a score adjusted for what another feature's explanation scores (`random`, means over the same
features): 0 for an explanation that knows nothing of its feature, 1 for a perfect one. It is defined
for every score whose best is 1.

Means, skills and differences come with 95 % intervals from resampling features (`scoring.score`,
`scoring.compare`); several seeds of a feature count as their mean.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

from ..journal import Journal
from ..results import RULE
from ..scoring import Score, blind_to, mean_with_interval
from ..scoring.compare import NOT_SHOWN, Difference, corrected, difference
from ..scoring.score import RESAMPLES_OF_MEAN, of_units
from ..summary import COLUMNS, GRADED, MARKS, STRATA, FailedItems, failed_items
from .manifest import Manifest
from .recovered import Recovered, recovered
from .rows import UNSCORED, Entry, Kind, entries_of

#: Groups of features: all of them, then each stratum.
GROUPS = ("all", *STRATA)
#: The scores that rows and SAEs are ranked by: the first that any row of the block has.
HEADLINES = ("coverage", "graded_coverage", "graded_auprc")


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

    simulator: what answered for the explanations. headline: the score that the row is ranked by.
    done: how many results there are, of `expected` (features × seeds). failed: how many of these
    have no explanation. failed_items: shares of scores' items that could not be run, None where no
    score has items. uncontrolled: scores that some features have without any control. calls, tokens, probes, seconds, dollars: of explaining, in all; None for
    a control or, of dollars, where a price is not known. controlled: see Entry.
    """

    kind: Kind
    explainer: str
    mind: str
    about: str
    runs: tuple[str, ...]
    simulator: str
    headline: str
    groups: dict[str, Cells]
    done: int
    expected: int
    failed: int
    failed_items: FailedItems | None
    calls: int | None
    tokens: int | None
    probes: int | None
    seconds: float | None
    dollars: float | None
    controlled: bool
    uncontrolled: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        apart = ("groups", "failed_items")
        values = {name: value for name, value in vars(self).items() if name not in apart}
        failed = self.failed_items
        values["failed_items"] = failed and failed.mean
        values["failed_items_worst"] = failed and {"scorer": failed.scorer, "share": failed.worst}
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
        lists = {"runs": list(self.runs), "uncontrolled": list(self.uncontrolled)}
        return {**values, **lists, "groups": groups}


@dataclass(frozen=True)
class Board:
    """A benchmark's table. columns: score → heading, coverage first. rows: by simulator, then the best
    first.

    entries: what the rows were made from, in their order. left_out: a sentence for each run without a
    place. recovered: of planted features, class by class.
    """

    manifest: Manifest
    columns: dict[str, str]
    rows: tuple[Row, ...]
    entries: tuple[Entry, ...] = ()
    left_out: tuple[str, ...] = ()
    recovered: tuple[Recovered, ...] = ()

    @property
    def simulators(self) -> tuple[str, ...]:
        """What answered for rows, in their order."""
        return tuple(dict.fromkeys(row.simulator for row in self.rows))

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
            "recovered": [one.as_json() for one in self.recovered],
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
    blocks = _blocks(found.entries, manifest)
    columns = _columns(manifest, blocks)
    against = _against(blocks, columns)
    entries = tuple(entry for block in blocks for entry in block.entries)
    rows = tuple(
        _row(entry, manifest, columns, block.headline, against.get(id(entry), {}))
        for block in blocks
        for entry in block.entries
    )
    known = recovered(entries, manifest)
    return Board(manifest, columns, rows, entries, found.left_out, known)


@dataclass(frozen=True)
class _Block:
    """Entries that the same simulator answered for, the best first, and what they are ranked by."""

    simulator: str
    headline: str
    entries: tuple[Entry, ...]

    @cached_property
    def top(self) -> Entry | None:
        """The best that is no control."""
        return next((entry for entry in self.entries if entry.kind != "control"), None)


def _blocks(entries: Sequence[Entry], manifest: Manifest) -> list[_Block]:
    """The entries by their simulator: rules first, those of controls alone last."""
    by: dict[str, list[Entry]] = {}
    for entry in entries:
        by.setdefault(entry.simulator, []).append(entry)
    blocks = []
    for simulator, members in by.items():
        headline = headline_of(members, manifest)
        ranked = sorted(members, key=lambda entry: _rank(entry, headline, manifest))
        blocks.append(_Block(simulator, headline, tuple(ranked)))
    return sorted(
        blocks,
        key=lambda one: (
            one.top is None,
            one.simulator != RULE,
            one.simulator == UNSCORED,
            one.simulator,
        ),
    )


def headline_of(entries: Sequence[Entry], manifest: Manifest) -> str:
    """The score that entries of one simulator are ranked by."""
    for name in [one for one in HEADLINES if one in manifest.scores]:
        scores = [score for entry in entries for _, score in entry.scores(name)]
        if any(score and score.value is not None for score in scores):
            return name
    return next((one for one in COLUMNS if one in manifest.scores), manifest.scores[0])


def _columns(manifest: Manifest, blocks: Sequence[_Block] = ()) -> dict[str, str]:
    """The headings of the benchmark's scores, with their marks: those of every table first.

    Where no rule answers for any explanation, graded scores lead.
    """
    in_words = bool(blocks) and blocks[0].top is not None and blocks[0].simulator != RULE
    known = {**GRADED, **COLUMNS} if in_words else {**COLUMNS, **GRADED}
    ordered = [name for name in known if name in manifest.scores]
    others = [name for name in manifest.scores if name not in known]
    return {name: known.get(name) or _heading(name) for name in [*ordered, *others]}


def _heading(name: str) -> str:
    return name.replace("_", " ") + "".join(MARKS[kind] for kind in blind_to(name))


def _expected(entry: Entry, manifest: Manifest) -> int:
    """How many results there are when an entry is whole. Submissions are scored with one seed."""
    seeds = 1 if entry.kind == "submitted" else len(manifest.seeds)
    return len(manifest.features) * seeds


def _rank(entry: Entry, headline: str, manifest: Manifest) -> tuple[bool, bool, float, str]:
    """Sorts the highest first, then what lacks scores (easy features may be left), then undefined."""
    values = [
        score.value for _, score in entry.scores(headline) if score and score.value is not None
    ]
    lacks = len(values) < _expected(entry, manifest)
    return not values, lacks, -fmean(values) if values else 0.0, entry.explainer


# -------------------------------------------------------------------- one row


def _row(
    entry: Entry,
    manifest: Manifest,
    columns: dict[str, str],
    headline: str,
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
        simulator=entry.simulator,
        headline=headline,
        groups={
            group: cells_of(group_of(entry, group), columns, against.get(group, {}))
            for group in GROUPS
        },
        done=len(entry.results),
        expected=_expected(entry, manifest),
        failed=sum(one.status == "failed" for one in entry.results),
        failed_items=failed_items(entry.results, entry.of),
        calls=None if costs is None else sum(cost.calls for cost in costs),
        tokens=None if costs is None else sum(cost.tokens for cost in costs),
        probes=None if costs is None else sum(cost.probes for cost in costs),
        seconds=None if costs is None else round(sum(cost.seconds for cost in costs), 3),
        dollars=sum(known) if costs is not None and len(known) == len(dollars) else None,
        controlled=entry.controlled,
        uncontrolled=_uncontrolled(entry, columns),
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
    own = [(unit, score) for unit, (_, score) in zip(entry.units, entry.scores(name), strict=True)]
    return skill(own, entry.random(name))


def mean_of(entry: Entry, name: str) -> Score:
    """An entry's mean of one score over its features, with its interval.

    Several seeds of a feature count as their mean, however many of them have a value.
    """
    values: dict[tuple[int, str], list[float]] = {}
    for unit, (feature, score) in zip(entry.units, entry.scores(name), strict=True):
        known = values.setdefault((feature, unit), [])
        if score and score.value is not None:
            known.append(score.value)
    means = [fmean(known) if known else None for known in values.values()]
    return mean_with_interval(means, clusters=[unit for _, unit in values])


def _uncontrolled(entry: Entry, columns: dict[str, str]) -> tuple[str, ...]:
    if entry.kind == "control":
        return ()
    without = {name for one in entry.results for name in one.uncontrolled}
    return tuple(name for name in columns if name in without)


def skill(
    own: Sequence[tuple[Hashable, Score | None]], random: Sequence[tuple[Hashable, Score | None]]
) -> Score:
    """How far scores lie between those of another feature's explanation and 1.

    own, random: (feature, score), result by result. (S − R) / (1 − R) of the means over the features
    that have both; features are resampled, each with its control.
    """
    sums: dict[Hashable, list[tuple[float, float]]] = {}
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
    blocks: Sequence[_Block], columns: dict[str, str]
) -> dict[int, dict[str, dict[str, Difference]]]:
    """Entry (its id) → group → score → difference to the top of its block, paired by feature.

    Holm's correction is over all rows and scores of a group. Controls are not compared.
    """
    pairs = [
        (block.top, entry)
        for block in blocks
        for entry in block.entries
        if block.top and entry.kind != "control" and entry is not block.top
    ]
    found: dict[int, dict[str, dict[str, Difference]]] = {}
    for group in GROUPS if pairs else ():
        differences = {
            (id(entry), name): difference(
                _by_feature(group_of(entry, group), name), _by_feature(group_of(top, group), name)
            )
            for top, entry in pairs
            for name in columns
        }
        for (entry, name), one in corrected(differences).items():
            found.setdefault(entry, {}).setdefault(group, {})[name] = one
    return found


def _by_feature(entry: Entry, name: str) -> dict[Any, list[Score | None]]:
    found: dict[Any, list[Score | None]] = {}
    for feature, score in entry.scores(name):
        found.setdefault(feature, []).append(score)
    return found
