"""Leaderboards as one page, as JSON and as Markdown.

The page loads nothing, and its content policy lets only its own script and style run, by their
hashes: no handler, style or script that came along with somebody's text. Every string passes
`visible`, then Jinja2's escaping.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ...sae.paths import new_file
from ...sae.visible import visible
from ..page import environment, template
from ..scoring import Score
from ..scoring.compare import NOT_SHOWN, Difference
from ..summary import BLIND_LINE, count, money, two_decimals
from .board import Board, Row, says
from .saes import Ranking, rank_saes

#: Headings of what explaining took and of what failed.
COSTS = ("probes", "calls", "tokens", "cost", "seconds", "failed", "failed items")
_TEMPLATES = Path(__file__).parents[1] / "templates"


def write_leaderboard(boards: Sequence[Board], page: Path) -> list[Path]:
    """Write the page, and beside it the same as .json and .md; return what was written."""
    rankings, refused = rank_saes(boards)
    texts = {
        page: as_page(boards, rankings, refused),
        page.with_suffix(".json"): as_json(boards, rankings, refused),
        page.with_suffix(".md"): as_markdown(boards, rankings, refused),
    }
    for path, text in texts.items():
        with new_file(path) as draft:
            draft.write_text(text, encoding="utf-8")
            draft.chmod(0o644)
    return list(texts)


def as_json(boards: Sequence[Board], rankings: Sequence[Ranking], refused: Sequence[str]) -> str:
    """All figures as one JSON object, in ASCII."""
    whole = {
        "boards": [board.as_json() for board in boards],
        "saes": [ranking.as_json() for ranking in rankings],
        "not_ranked": list(refused),
    }
    return json.dumps(whole, indent=1, allow_nan=False) + "\n"


# -------------------------------------------------------------------- the page


def as_page(boards: Sequence[Board], rankings: Sequence[Ranking], refused: Sequence[str]) -> str:
    """The page."""
    return _template().render(
        boards=boards,
        rankings=rankings,
        refused=refused,
        costs=COSTS,
        blind_line=BLIND_LINE,
        style=_own("leaderboard.css"),
        script=_own("leaderboard.js"),
    )


@cache
def _template() -> Any:
    made = environment()
    made.filters.update(
        number=two_decimals,
        count=count,
        share=_share,
        plain=_plain,
        sha=_sha,
        against=against,
        says=says,
    )
    made.globals.update(costs_of=costs_of)
    return template(made, "leaderboard.html.j2")


def _own(name: str) -> Any:
    from markupsafe import Markup

    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


def _sha(text: str) -> str:
    """A source expression of the content policy that lets this text in."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _share(value: float) -> float:
    """A score as a place on a bar from 0 to 100."""
    return round(100 * min(1.0, max(0.0, value)), 2)


def _plain(value: float | None) -> str:
    """A number for the script to sort by; "" where there is none."""
    return "" if value is None else f"{value:.6g}"


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
    items = "–" if row.failed_items is None else f"{row.failed_items:.1%}"
    of_run = row.calls is not None
    return [
        (row.probes, count(row.probes)),
        (row.calls, count(row.calls)),
        (row.tokens, count(row.tokens)),
        (row.dollars, money(row.dollars) if of_run else "–"),
        (row.seconds, seconds),
        (
            row.failed if row.kind != "control" else None,
            count(row.failed) if row.kind != "control" else "–",
        ),
        (row.failed_items, items),
    ]


# -------------------------------------------------------------------- Markdown


def as_markdown(
    boards: Sequence[Board], rankings: Sequence[Ranking], refused: Sequence[str]
) -> str:
    """The tables as Markdown: one for each group of features of each benchmark."""
    parts = [part for board in boards for part in _markdown_board(board)]
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


def _markdown_board(board: Board) -> list[str]:
    manifest = board.manifest
    about = f"{manifest.sae} on {manifest.subject}; benchmark {manifest.digest[:16]}"
    parts = [f"### {_text(manifest.name)}", _text(about)]
    parts += [_text(manifest.drawn)] if manifest.drawn else []
    headings = [*board.columns.values()]
    first = next(iter(board.columns))
    head = ["explainer", "mind", *headings, f"skill ({board.columns[first]})", "against the top"]
    for group in board.groups:
        rows = []
        for row in board.rows:
            cells = row.groups[group]
            difference = cells.against.get(first)
            scores = [_cell(cells.scores[name]) for name in board.columns]
            skill, versus = _cell(cells.skills[first]), against(difference) if difference else "–"
            costs = [text for _, text in costs_of(row)] if group == "all" else []
            rows.append([_name(row), _text(row.mind), *scores, skill, versus, *costs])
        size = board.rows[0].groups[group].features
        caption = f"{group.capitalize()} features ({size}):"
        parts += [caption, _table([*head, *(COSTS if group == "all" else ())], rows)]
    parts += [BLIND_LINE] if board.blind else []
    return parts + [_text(line) for line in board.left_out]


def _name(row: Row) -> str:
    marks = [row.kind] if row.kind != "run" else []
    marks += [] if row.controlled else ["uncontrolled"]
    marks += [f"{row.done} of {row.expected} done"] if row.done < row.expected else []
    return _text(row.explainer) + (f" ({', '.join(marks)})" if marks else "")


def _cell(score: Score) -> str:
    if score.low is None:
        return two_decimals(score.value)
    return f"{two_decimals(score.value)} ({two_decimals(score.low)}–{two_decimals(score.high)})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """Text that is neither markup nor a cell's end."""
    return re.sub(r"([\\`*_\[\]<>|&#~])", r"\\\1", visible(text))
