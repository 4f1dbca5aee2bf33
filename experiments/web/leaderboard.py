"""Leaderboards on the page: tables to sort and filter, and two explainers feature by feature.

How a table is sorted and filtered stands in its address, so that it can be sent to somebody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from ...sae.errors import JournalError, UnknownName
from ..leaderboard.board import Cells
from ..leaderboard.rows import Entry
from ..scoring import blind_to
from ..scoring.compare import Difference, difference
from ..summary import COLUMNS, STRATA
from .figures import Scatter, scatter
from .pages import address, page
from .site import Site
from .standing import Table, by_feature, key_of

GROUPS = ("all", *STRATA)
#: What a table may be sorted by beside its scores.
TEXTS = ("explainer", "mind", "features")


@dataclass(frozen=True)
class Row:
    """One row of a table, in one group of features. key: its name in addresses."""

    key: str
    entry: Entry
    cells: Cells


@dataclass(frozen=True)
class Asked:
    """How a table is looked at: what its address says."""

    table: str = ""
    group: str = "all"
    sort: str = "coverage"
    order: str = "down"
    words: str = ""
    controls: bool = True
    skill: bool = False

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Asked:
        """From an address. Raises UnknownName for what there is not to choose."""
        asked = cls(
            query.get("table", ""),
            query.get("group", "all"),
            query.get("sort", "coverage"),
            query.get("order", "down"),
            query.get("words", "")[:200],
            query.get("controls", "1") != "0",
            query.get("show", "scores") == "skill",
        )
        for name, known in (("group", GROUPS), ("order", ("down", "up"))):
            if getattr(asked, name) not in known:
                raise UnknownName(name, getattr(asked, name), known)
        if asked.sort not in (*TEXTS, *COLUMNS):
            raise UnknownName("column", asked.sort, (*TEXTS, *COLUMNS))
        return asked

    def address(self, base: str = "/leaderboard", **changed: Any) -> str:
        """The address of this look at the table, or of one that differs."""
        one = replace(self, **changed)
        query = {
            "table": one.table,
            "group": one.group,
            "sort": one.sort,
            "order": one.order,
            "words": one.words,
            "controls": "1" if one.controls else "0",
            "show": "skill" if one.skill else "scores",
        }
        usual = {"group": "all", "words": "", "controls": "1", "show": "scores"}
        kept = {name: value for name, value in query.items() if usual.get(name) != value}
        return f"{base}?{urlencode(kept)}"

    def sorted_by(self, column: str) -> str:
        """The address of the same table sorted by a column; by the one it is, the other way."""
        down = column not in ("explainer", "mind")
        if column == self.sort:
            down = self.order != "down"
        return self.address(sort=column, order="down" if down else "up")


@dataclass(frozen=True)
class Shown:
    """A table as it is looked at. names: of all tables, by key. sizes: features of each group."""

    asked: Asked
    names: dict[str, str]
    table: Table | None = None
    rows: Sequence[Row] = ()
    groups: Sequence[str] = GROUPS
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_blind(self) -> bool:
        """Whether any of its scores does not see all of a label."""
        return any(blind_to(name) for name in self.columns)

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "table": self.table and {"key": self.table.key, "name": self.table.name},
            "group": self.asked.group,
            "rows": [
                {
                    **_about(row.entry),
                    "features": row.cells.features,
                    "scores": {n: one.model_dump() for n, one in row.cells.scores.items()},
                    "skills": {n: one.model_dump() for n, one in row.cells.skills.items()},
                }
                for row in self.rows
            ],
        }

    def as_rows(self) -> list[dict[str, Any]]:
        """Flat rows, for CSV."""
        found = []
        for row in self.rows:
            about = _about(row.entry)
            line = {**about, "runs": " ".join(about["runs"]), "features": row.cells.features}
            for name in self.columns:
                score, skill = row.cells.scores[name], row.cells.skills[name]
                line |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
                line |= {f"{name}_skill": skill.value}
            found.append(line)
        return found


def _about(entry: Entry) -> dict[str, Any]:
    kept = ("kind", "explainer", "mind", "of")
    return {**{name: getattr(entry, name) for name in kept}, "runs": list(entry.runs)}


def router(site: Site) -> APIRouter:
    """`/leaderboard` and `/compare`."""
    routes = APIRouter()

    @routes.get("/leaderboard")
    def leaderboard(request: Request) -> Response:
        return page(request, "leaderboard", {"shown": shown(site, Asked.of(request.query_params))})

    @routes.get("/compare")
    def compare(request: Request) -> Response:
        query = request.query_params
        found = compared(
            site, query.get("left", ""), query.get("right", ""), query.get("score", "")
        )
        return page(request, "compare", {"found": found})

    return routes


def shown(site: Site, asked: Asked, whole: bool = False) -> Shown:
    """The table that was asked for, the first where none was named. whole: with scores and skills."""
    standings = site.standings
    there = standings.tables()
    names = {one.key: one.name for one in there}
    if not there:
        return Shown(asked, names)
    asked = replace(asked, table=asked.table or there[0].key)
    table = next((one for one in there if one.key == asked.table), None)
    if table is None:
        raise UnknownName("table", asked.table, names)
    words = asked.words.lower().split()
    rows = [
        Row(key_of(entry), entry, standings.cells(table, entry, asked.group, asked.skill or whole))
        for entry in table.entries
        if (asked.controls or entry.kind != "control")
        and all(word in f"{entry.explainer} {entry.mind}".lower() for word in words)
    ]
    some = [row for row in rows if row.cells.features]
    groups = {one.stratum for entry in table.entries for one in entry.results}
    columns = {
        name: heading
        for name, heading in COLUMNS.items()
        if any(row.cells.scores[name].value is not None for row in some)
    }
    there_are = ("all", *(name for name in STRATA if name in groups))
    return Shown(asked, names, table, _sorted(some, asked), there_are, columns)


def _sorted(rows: list[Row], asked: Asked) -> list[Row]:
    """Sorted; what has no value in the column comes last."""

    def value(row: Row) -> Any:
        if asked.sort == "features":
            return row.cells.features
        if asked.sort in TEXTS:
            return getattr(row.entry, asked.sort).lower()
        found = (row.cells.skills if asked.skill else row.cells.scores)[asked.sort]
        return found.value

    known = sorted(
        (row for row in rows if value(row) is not None), key=value, reverse=asked.order == "down"
    )
    return [*known, *(row for row in rows if value(row) is None)]


# -------------------------------------------------------------------- two, feature by feature


@dataclass(frozen=True)
class Compared:
    """Two rows on the features that both have.

    choices: what may be compared, by key. scores: what may be compared by. difference: left − right.
    """

    left: str
    right: str
    score: str
    choices: dict[str, str]
    scores: dict[str, str]
    names: tuple[str, str] = ("", "")
    difference: Difference | None = None
    rows: Sequence[dict[str, Any]] = ()
    scatter: Scatter | None = None

    @property
    def reach(self) -> float:
        """How far the drawing of the difference goes to both sides of zero."""
        found = self.difference
        ends = [abs(one) for one in (found and found.low, found and found.high) if one is not None]
        return next((one for one in (0.1, 0.2, 0.5) if one >= max(ends, default=1.0)), 1.0)

    @property
    def address(self) -> str:
        """What follows the page's own address."""
        return urlencode({"left": self.left, "right": self.right, "score": self.score})

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "left": self.names[0],
            "right": self.names[1],
            "score": self.score,
            "difference": self.difference and self.difference.model_dump(),
            "features": list(self.rows),
        }


def compared(site: Site, left: str, right: str, score: str) -> Compared:
    """Two entries of the same table by one score. Raises UnknownName, JournalError."""
    there = site.standings.tables()
    choices = {key_of(one): _called(one) for table in there for one in table.entries if one.results}
    score = score or next(iter(COLUMNS))
    if score not in COLUMNS:
        raise UnknownName("score", score, COLUMNS)
    asked = Compared(left, right, score, choices, dict(COLUMNS))
    if not left or not right:
        return asked
    for key in (left, right):
        if key not in choices:
            raise UnknownName("row", key, choices)
    table = next((one for one in there if one.entry(left) and one.entry(right)), None)
    if table is None:
        raise JournalError("These two were scored on other text, so they cannot be compared.")
    first, second = table.entry(left), table.entry(right)
    if first is None or second is None:  # it has both
        raise JournalError("These two cannot be compared.")
    rows = _paired(first, second, score)
    lefts, rights = ({row["feature"]: row[side] for row in rows} for side in ("left", "right"))
    return replace(
        asked,
        names=(_called(first), _called(second)),
        difference=difference(lefts, rights),
        rows=rows,
        scatter=scatter(
            [
                {"feature": row["feature"], "name": row["address"], "left": row["left"],
                 "right": row["right"], "about": row["label_left"]}
                for row in rows
            ]
        ),
    )  # fmt: skip


def _called(entry: Entry) -> str:
    mind = f", {entry.mind}" if entry.mind not in ("–", entry.explainer) else ""
    where = entry.about or ", ".join(entry.runs)
    return f"{entry.explainer}{mind} ({where})"


def _paired(first: Entry, second: Entry, score: str) -> list[dict[str, Any]]:
    """A row for each feature that both have, the largest difference first."""
    left, right = by_feature(first, score), by_feature(second, score)
    rows = []
    for feature in left.keys() & right.keys():
        values = [fmean(score.value for _, score in side[feature]) for side in (left, right)]
        result = left[feature][0][0]
        rows.append(
            {
                "feature": feature,
                "stratum": result.stratum,
                "left": values[0],
                "right": values[1],
                "difference": values[0] - values[1],
                "label_left": "; ".join(result.explanation.labels),
                "label_right": "; ".join(right[feature][0][0].explanation.labels),
                "address": address("runs", result.run, "features", feature),
            }
        )
    return sorted(rows, key=lambda row: (-abs(row["difference"]), row["feature"]))
