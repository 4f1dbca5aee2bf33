"""Leaderboards as Markdown: tables that can be read in a terminal and in a README.

There is a table for each group of features and each simulator. It has the headline scores only, unless
every column is asked for; page and JSON have all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ...sae.visible import visible
from ..results import RULE
from ..scoring import Score
from ..scoring.compare import NOT_SHOWN, Difference
from ..summary import BLIND_LINE, MARKS, NO_CONTROL, NO_CONTROL_LINE, count, money, two_decimals
from .board import Board, Row
from .recovered import Recovered
from .saes import Ranking

#: Headings of what explaining took and of what failed.
COSTS = ("probes", "calls", "tokens", "cost", "seconds", "failed", "failed items")
#: Headline scores: where rules answer, and where something else answers for words.
BY_RULE = ("coverage", "recall", "precision", "predictive_pearson")
IN_WORDS = ("graded_coverage", "graded_recall", "graded_auprc", "graded_pearson")
#: Columns of COSTS in a narrow table: always, and where a language model was asked.
NARROW, ASKED = ("probes", "seconds", "failed", "failed items"), ("calls", "tokens", "cost")
NARROW_LINE = (
    "The headline scores, with 95 % intervals; the page and the JSON have every score, its skill and "
    "its difference to the top."
)


def against(found: Difference) -> str:
    """A difference with its interval, and whether it is shown."""
    if found.value is None:
        return NOT_SHOWN
    sign = "+" if found.value >= 0.005 else ""
    shown = f"{sign}{two_decimals(found.value)}"
    if found.low is not None:
        shown += f" ({two_decimals(found.low)} to {two_decimals(found.high)})"
    return shown if found.shown else f"{shown}, {NOT_SHOWN}"


def costs_of(row: Row) -> list[tuple[float | None, str]]:
    """What is under COSTS: the number, and how it is shown."""
    seconds = "–" if row.seconds is None else f"{row.seconds:,.0f}"
    items = row.failed_items
    of_run = row.calls is not None
    failed = row.failed if row.kind != "control" else None
    return [
        (row.probes, count(row.probes)),
        (row.calls, count(row.calls)),
        (row.tokens, count(row.tokens)),
        (row.dollars, money(row.dollars) if of_run else "–"),
        (row.seconds, seconds),
        (failed, count(failed)),
        (None, "–") if items is None else (items.mean, str(items)),
    ]


def as_markdown(
    boards: Sequence[Board],
    rankings: Sequence[Ranking],
    refused: Sequence[str],
    wide: bool = False,
) -> str:
    """The tables as Markdown. wide: every column."""
    parts = [part for board in boards for part in _board(board, wide)]
    for ranking in rankings:
        title = f"SAEs by how explainable they are: {ranking.explainer}, {ranking.mind}"
        head = ["SAE", "n", *ranking.columns.values(), "density"]
        rows = [
            [
                _text(row.sae),
                f"{row.matched} of {row.features}",
                *(_cell(row.scores[name]) for name in ranking.columns),
                f"{row.density:.2g}",
            ]
            for row in ranking.rows
        ]
        parts += [f"### {_text(title)}", ranking.how, _table(head, rows)]
    parts += [_text(line) for line in refused]
    return "\n\n".join(parts) + "\n"


def _board(board: Board, wide: bool) -> Iterator[str]:
    manifest = board.manifest
    about = f"{manifest.sae} on {manifest.subject}; benchmark {manifest.digest[:16]}"
    yield f"### {_text(manifest.name)}"
    yield _text(about)
    if manifest.drawn:
        yield _text(manifest.drawn)
    if board.recovered:
        yield from _recovered(board.recovered)
    if board.rows and not wide:
        yield NARROW_LINE
    shown: list[str] = []
    for group in board.groups:
        for simulator in board.simulators:
            rows = [row for row in board.rows if row.simulator == simulator]
            size = board.rows[0].groups[group].features
            by = "" if [*board.simulators] == [RULE] else f", answered for by {_text(simulator)}"
            yield f"{group.capitalize()} features ({size}){by}:"
            shown.append(_of_simulator(board, rows, group, wide))
            yield shown[-1]
    if any(mark in table for table in shown for mark in MARKS.values()):
        yield BLIND_LINE
    if any(NO_CONTROL in table for table in shown):
        yield NO_CONTROL_LINE
    for line in board.left_out:
        yield _text(line)


def _of_simulator(board: Board, rows: Sequence[Row], group: str, wide: bool) -> str:
    """One table: the rows of one simulator in one group of features."""
    first = rows[0].headline
    names = [*board.columns] if wide else _headlines(board, rows)
    costs = _costs(rows, wide) if group == "all" else []
    head = ["explainer", "mind", "n", *(board.columns[name] for name in names)]
    head += [f"skill ({board.columns[first]})", "against the top", *(COSTS[k] for k in costs)]
    lines = []
    for row in rows:
        cells = row.groups[group]
        n, difference = cells.features, cells.against.get(first)
        scores = [
            _cell(cells.scores[name], n, NO_CONTROL if name in row.uncontrolled else "")
            for name in names
        ]
        versus = against(difference) if difference else "–"
        spent = [costs_of(row)[k][1] for k in costs]
        about = [_name(row), _text(row.mind), str(n)]
        lines.append([*about, *scores, _cell(cells.skills[first], n), versus, *spent])
    return _table(head, lines)


def _headlines(board: Board, rows: Sequence[Row]) -> list[str]:
    """The scores of a narrow table; all where a benchmark has none of them."""
    known = BY_RULE if rows[0].headline in BY_RULE else IN_WORDS
    return [name for name in known if name in board.columns] or [*board.columns]


def _costs(rows: Sequence[Row], wide: bool) -> list[int]:
    asked = any(row.calls for row in rows)
    return [
        k for k, name in enumerate(COSTS) if wide or name in NARROW or (asked and name in ASKED)
    ]


def _recovered(found: Sequence[Recovered]) -> Iterator[str]:
    """A row for each class of planted features, a column for each explainer."""
    yield "Planted features recovered, by class (95 % intervals):"
    head = ["class", "n", *(_text(one.explainer) for one in found)]
    names = {group.name: group.features for one in found for group in one.groups}
    by_name = [{group.name: group for group in one.groups} for one in found]
    rows = [
        [name, str(n), *(_cell(one[name].recovered) if name in one else "–" for one in by_name)]
        for name, n in names.items()
    ]
    confirmed = [
        _cell(one["single concepts"].confirmed) if "single concepts" in one else "–"
        for one in by_name
    ]
    n_single = str(names.get("single concepts", "–"))
    rows.append(["single concepts that probes confirmed", n_single, *confirmed])
    n = max((one.false_labels.n for one in found), default=0)
    false = (_cell(one.false_labels) for one in found)
    rows.append(["dead and noisy with a confirmed label", str(n), *false])
    if any(one.lift for one in found):
        lifts = [_cell(one.lift) if one.lift else "–" for one in found]
        rows.append(["what probing adds with decoys", "–", *lifts])
    yield _table(head, rows)


def _name(row: Row) -> str:
    marks = [row.kind] if row.kind != "run" else []
    marks += [] if row.controlled else ["uncontrolled"]
    marks += [f"{row.done} of {row.expected} done"] if row.done < row.expected else []
    return _text(row.explainer) + (f" ({', '.join(marks)})" if marks else "")


def _cell(score: Score, of: int | None = None, mark: str = "") -> str:
    """A score with its interval, and its n where that is below `of`. mark: behind the number."""
    if score.value is None:
        return "–"
    shown = two_decimals(score.value) + mark
    if score.low is not None:
        shown += f" ({two_decimals(score.low)}–{two_decimals(score.high)})"
    return f"{shown}, n {score.n}" if of is not None and score.n < of else shown


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """Text that is neither markup nor a cell's end."""
    return re.sub(r"([\\`*_\[\]<>|&#~])", r"\\\1", visible(text))
