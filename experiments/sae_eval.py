"""What `sagescope sae-eval` shows: SAEs side by side, as a table and as a page with figures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..sae.errors import SagescopeError
from ..sae.paths import new_file
from .page import environment, template

if TYPE_CHECKING:
    from rich.console import Group

#: What is shown of an SAE: name → how, from a row of `sagescope sae-eval --json`.
MEASURES: dict[str, Callable[[dict[str, Any]], str]] = {
    "architecture": lambda row: row["architecture"],
    "latents": lambda row: f"{row['latents']:,}",
    "explained variance": lambda row: f"{row['explained']:.4f}",
    "L0": lambda row: f"{row['l0']:.1f}",
    "loss recovered": lambda row: f"{row['loss_recovered']:.4f}",
    "loss with the SAE (nats a token)": lambda row: f"{row['loss_with_sae']:.4f}",
    "loss of the model, with zeros": lambda row: f"{row['loss']:.4f}, {row['loss_without']:.4f}",
    "dead latents": lambda row: f"{row['dead']:.2%}",
    "highest density": lambda row: f"{row['highest_density']:.2%}",
    "smoothness (lower is smoother)": lambda row: _figure(row["smoothness"]),
    "alike over seeds (random floor)": lambda row: stability_cell(row["stability"]),
    "tokens (for losses)": lambda row: f"{row['tokens']:,} ({row['loss_tokens']:,})",
}
#: Characters, and units of the figure, of the longest bar.
BAR, WIDTH = 16, 100.0


def table(rows: Sequence[dict[str, Any]]) -> Group:
    """A column an SAE, then its latents by density."""
    from rich import box
    from rich.console import Group
    from rich.table import Table

    from .terminal import text

    tables = [Table(box=box.SIMPLE_HEAD), Table(box=box.SIMPLE_HEAD)]
    for one, first in zip(tables, ("", "latents by density"), strict=True):
        one.add_column(first, no_wrap=True)
        for row in rows:
            one.add_column(text(row["path"]), justify="right", overflow="fold")
    for name, shown in MEASURES.items():
        tables[0].add_row(name, *[text(shown(row)) for row in rows])
    for place, label in enumerate(_bands(rows[0])):
        tables[1].add_row(label, *[_bar(row["densities"], place) for row in rows])
    return Group(*tables)


def _bar(densities: Sequence[int], place: int) -> str:
    length = round(BAR * densities[place] / max(1, *densities))
    return f"{'█' * length:<{BAR}} {densities[place]:>6,}"


def _bands(row: dict[str, Any]) -> list[str]:
    return [f"{10**low:.1e} to {10**high:.1e}" for low, high in pairwise(row["density_edges"])]


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def stability_cell(found: dict[str, Any] | None) -> str:
    """How alike SAEs of other seeds are, and in brackets what chance gives."""
    return "–" if found is None else f"{found['alike']:.3f} ({found['floor']:.3f})"


def write_page(rows: Sequence[dict[str, Any]], output: Path) -> None:
    """Write the page to `output`, whole or not at all. Raises SagescopeError where it cannot be."""
    try:
        with new_file(Path(os.path.realpath(output))) as draft:
            draft.write_text(page(rows), encoding="utf-8")
            draft.chmod(0o644)
    except OSError as error:
        raise SagescopeError(
            f"The page {output} could not be written ({error.strerror}): name another with --output."
        ) from error


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The table, variance against L0, and the densities, as one page that loads nothing."""
    bars = [
        [WIDTH * count / max(1, *row["densities"]) for count in row["densities"]] for row in rows
    ]
    return template(environment(), "sae-eval.html.j2").render(
        rows=rows,
        measures={name: [shown(row) for row in rows] for name, shown in MEASURES.items()},
        points=_points(rows),
        bands=_bands(rows[0]),
        bars=bars,
    )


def _points(rows: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    """Where each SAE stands, 0 to 100: L0 from left to right, explained variance upwards."""
    most = max(max(row["l0"] for row in rows), 1e-9) * 1.1
    return [
        (100 * row["l0"] / most, 100 - 100 * min(1.0, max(0.0, row["explained"]))) for row in rows
    ]
