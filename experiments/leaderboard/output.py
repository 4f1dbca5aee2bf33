"""Leaderboards as one page and as JSON; as Markdown see `markdown`.

The page loads nothing, and its content policy lets only its own script and style run, by their
hashes: no handler, style or script that came along with somebody's text. Every string passes
`visible`, then Jinja2's escaping.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ...sae.errors import BenchmarkError
from ...sae.paths import new_file
from ..page import environment, template
from ..summary import BLIND_LINE, NO_CONTROL, NO_CONTROL_LINE, count, two_decimals
from .board import Board, says
from .markdown import COSTS, against, as_markdown, costs_of
from .saes import Ranking, rank_saes

_TEMPLATES = Path(__file__).parents[1] / "templates"


#: What stands beside the page.
JSON, MARKDOWN = ".json", ".md"


def check_page(page: Path, read: Sequence[Path]) -> None:
    """Raise BenchmarkError where the page, or what stands beside it, would go over a file that is read."""
    kept = {path.resolve() for path in read}
    for path in (page, page.with_suffix(JSON), page.with_suffix(MARKDOWN)):
        if path.resolve() in kept:
            raise BenchmarkError(
                f"{path} is read, and the leaderboard would be written over it: give another --output."
            )


def write_leaderboard(boards: Sequence[Board], page: Path, wide: bool = False) -> list[Path]:
    """Write the page, and beside it .json and .md; return what was written.

    wide: whether the Markdown has every column; else the headline scores.
    """
    rankings, refused = rank_saes(boards)
    texts = {
        page: as_page(boards, rankings, refused),
        page.with_suffix(JSON): as_json(boards, rankings, refused),
        page.with_suffix(MARKDOWN): as_markdown(boards, rankings, refused, wide),
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
        no_control=NO_CONTROL,
        no_control_line=NO_CONTROL_LINE,
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
