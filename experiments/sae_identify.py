"""What `sagescope identify` shows: how far SAEs' latents are determined, and pairs that are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .sae_eval import stability_cell

if TYPE_CHECKING:
    from rich.console import Group

#: Pairs of an SAE that are listed; `--json` has all.
LISTED = 20

#: What is shown of an SAE: name → how, from a row of `sagescope identify --json`.
FIGURES: dict[str, Callable[[dict[str, Any]], str]] = {
    "architecture": lambda row: row["architecture"],
    "latents that fire, of all": lambda row: f"{row['support']['living']:,} of {row['latents']:,}",
    "L0": lambda row: f"{row['support']['l0']:.1f}",
    "coherence": lambda row: _mixing(row, "coherence", ".3f"),
    "L0 up to which codes are unique": lambda row: _mixing(row, "l0_bound", ".2f"),
    "spark, at least": lambda row: _mixing(row, "spark_certain", ".2f"),
    "spark, by sampling": lambda row: _mixing(row, "spark_sampled", ",d"),
    "condition of the Gram matrix": lambda row: _mixing(row, "condition", ".3g"),
    "seen without its first partner (median)": lambda row: f"{row['support']['diversity']:.1%}",
    "hardly ever without a partner": lambda row: f"{row['support']['never_alone']:.1%}",
    "tied pairs, ambiguous ones": lambda row: (
        f"{len(row['support']['pairs']):,}, {sum(p['ambiguous'] for p in row['support']['pairs']):,}"
    ),
    "tied, of all pairs that fire together": lambda row: f"{row['support']['tied_rate']:.3%}",
    "alike over seeds (random floor)": lambda row: stability_cell(row["stability"]),
    "tokens": lambda row: f"{row['tokens']:,}",
}


def page(rows: Sequence[dict[str, Any]]) -> Group:
    """A column an SAE, then the tied pairs of each."""
    from rich import box
    from rich.console import Group
    from rich.table import Table

    from .terminal import text

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for row in rows:
        table.add_column(text(row["path"]), justify="right", overflow="fold")
    for name, shown in FIGURES.items():
        table.add_row(name, *[text(shown(row)) for row in rows])
    parts: list[Any] = [table]
    for row in rows:
        if pairs := row["support"]["pairs"]:
            parts.append(_pairs(row["path"], pairs))
    return Group(*parts)


def _pairs(path: str, pairs: Sequence[dict[str, Any]]) -> Any:
    from rich import box
    from rich.table import Table

    from .terminal import text

    title = f"Tied pairs of {path}"
    if len(pairs) > LISTED:
        title += f", {LISTED} of {len(pairs):,}"
    table = Table(box=box.SIMPLE_HEAD, title=text(title), title_justify="left")
    for heading in ("latent", "latent", "tokens with both", "of their energy", "turn"):
        table.add_column(heading, justify="right")
    for pair in pairs[:LISTED]:
        table.add_row(
            str(pair["a"]),
            str(pair["b"]),
            f"{pair['together']:,}",
            f"{pair['overlap']:.1%}",
            f"{pair['turn']:.0f}°" + (" ambiguous" if pair["ambiguous"] else ""),
        )
    return table


def _mixing(row: dict[str, Any], name: str, form: str) -> str:
    return "–" if row["mixing"] is None else format(row["mixing"][name], form)
