"""A zoo's table as Markdown and JSON, beside the leaderboard's page and the page of `sae-eval`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...sae.paths import new_file
from ..leaderboard.markdown import against
from ..leaderboard.output import write_leaderboard
from ..scoring import Score
from ..summary import COLUMNS, two_decimals
from .place import Place
from .recipe import Recipe
from .table import EVALUATION, Row, Table

#: Columns of the reconstruction side: heading → how a row of `sae-eval` is shown.
MEASURED: dict[str, Callable[[dict[str, Any]], str]] = {
    "explained variance": lambda one: f"{one['explained']:.3f}",
    "L0": lambda one: f"{one['l0']:.1f}",
    "dead": lambda one: f"{one['dead']:.1%}",
    "loss recovered": lambda one: f"{one['loss_recovered']:.3f}",
    "highest density": lambda one: f"{one['highest_density']:.0%}",
    "smoothness": lambda one: "–" if one["smoothness"] is None else f"{one['smoothness']:.3f}",
}


def write_all(place: Place, table: Table) -> list[Path]:
    """Write everything that there is something for; return what was written."""
    texts = {
        place.folder / "zoo.json": json.dumps(
            {"recipe": place.recipe.model_dump(mode="json"), **table.as_json()},
            indent=1,
            allow_nan=False,
        )
        + "\n",
        place.folder / "zoo.md": markdown(place.recipe, table),
    }
    written = []
    for path, text in texts.items():
        with new_file(path) as draft:
            draft.write_text(text, encoding="utf-8")
        written.append(path)
    if any(one.rows for one in table.boards):
        written += write_leaderboard(table.boards, place.folder / "leaderboard.html")
    measured = (place.read(EVALUATION) or {"rows": {}})["rows"]
    if measured:
        from ..sae_eval import write_page

        page = place.folder / "sae-eval.html"
        write_page([measured[name] for name in place.recipe.saes if name in measured], page)
        written.append(page)
    return written


def markdown(recipe: Recipe, table: Table) -> str:
    """The tables in Markdown."""
    parts = [
        f"{len(recipe.saes)} SAEs of {recipe.width:,} latents on {recipe.hook_point} of "
        f"{recipe.subject}, trained on the same {recipe.tokens:,} tokens.",
        _table(*_measured(table.rows)),
    ]
    if table.done:
        parts.append(
            f"{table.done} of {table.asked} features of each SAE, drawn with the seed "
            f"{recipe.explaining.seed} and matched by how often they fire, explained by "
            f"`{recipe.explaining.explainer}` with rules. 95 % intervals, features resampled."
        )
        for score, b in table.slopes.items():
            parts += [
                f"**{_name(score)}** (slope {b:+.3f} for ten times the density):",
                _table(*_explained(table.rows, score, table.reference)),
            ]
        parts += ["**Controls and quarters of activation:**", _table(*_beside(table))]
    return "\n\n".join(parts) + "\n"


def _measured(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    head = ["SAE", *MEASURED, "contextual", "training, CPU min"]
    lines = []
    for row in rows:
        shown = [form(row.measured) if row.measured else "–" for form in MEASURED.values()]
        share = f"{row.contextual / row.able:.0%} of {row.able:,}" if row.able else "–"
        cpu = row.cost["cpu_seconds"]
        lines.append([row.name, *shown, share, f"{cpu / 60:.1f}" if cpu else "–"])
    return head, lines


def _explained(
    rows: Sequence[Row], score: str, reference: str
) -> tuple[list[str], list[list[str]]]:
    head = [
        "SAE",
        "n",
        "raw",
        "at one density",
        f"against {reference}",
        "by firings",
        "of all firings",
        "contextual, raw",
    ]
    lines = []
    for row in rows:
        if score not in row.raw:
            continue
        weighted, difference = row.weighted[score], row.against.get(score)
        lines.append(
            [
                row.name,
                str(row.raw[score].n),
                cell(row.raw[score]),
                cell(row.adjusted[score]),
                against(difference) if difference else "–",
                cell(weighted.score),
                f"{weighted.reached:.0%}",
                _with_n(row.contextual_raw[score]),
            ]
        )
    return head, lines


def _beside(table: Table) -> tuple[list[str], list[list[str]]]:
    """The first score beside its controls, and what explanations say of each quarter of firings."""
    first = next(iter(table.slopes), "")
    names = list(dict.fromkeys(name for row in table.rows for name in row.controls))
    head = [
        "SAE",
        f"{_name(first)}",
        *(name.replace("_", " ") for name in names),
        "weakest quarter",
        "second",
        "third",
        "strongest",
        "failed",
        "probes",
        "seconds",
    ]
    lines = [
        [
            row.name,
            cell(row.raw.get(first)),
            *(cell(_of(row.controls, name, first)) for name in names),
            *(cell(one) for one in row.quarters),
            *["–"] * (4 - len(row.quarters)),
            str(row.failed),
            f"{row.probes:.0f}",
            f"{row.seconds:.0f}",
        ]
        for row in table.rows
    ]
    return head, lines


def _of(controls: Mapping[str, Mapping[str, Score]], name: str, score: str) -> Score | None:
    return controls.get(name, {}).get(score)


def _name(score: str) -> str:
    """As the tables of runs call it."""
    return COLUMNS.get(score, score.replace("_", " "))


def cell(score: Score | None) -> str:
    """A score with its interval."""
    if score is None or score.value is None:
        return "–"
    shown = two_decimals(score.value)
    if score.low is None:
        return shown
    return f"{shown} ({two_decimals(score.low)}–{two_decimals(score.high)})"


def _with_n(score: Score) -> str:
    return f"{cell(score)}, n {score.n}" if score.value is not None else "–"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
