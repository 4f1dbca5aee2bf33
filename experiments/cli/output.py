"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ...agents.budget import Budget
    from ...sae.source import FeatureSource
    from ..results import Result


def print_results(found: list[Result], as_json: bool) -> None:
    """Results as tables, or one JSON object a line (the contract of docs/results.md)."""
    if as_json:
        for result in found:
            typer.echo(result.as_json())
        return
    from ..collisions import collisions
    from ..summary import control_line, cost_line, scoring_line, verdict_line, word_line
    from ..tables import results_page
    from ..terminal import console

    out = console()
    if not found:
        out.print("No feature of this run is done yet.")
        return
    out.print(results_page(found, out.width))
    if warning := control_line(found):
        out.print(warning, style="yellow")
    out.print(verdict_line(found))
    for line in (
        word_line(found),
        collisions(found).line(),
        cost_line(found),
        scoring_line(found),
    ):
        if line:
            out.print(line)


def print_others(found: list[Result], scorers: Sequence[str] | None) -> None:
    """The scores of some scorers that the tables of `print_results` have no column for."""
    from ..scoring import chosen
    from ..summary import others_of
    from ..tables import others_table
    from ..terminal import console

    columns = others_of(found, chosen(scorers))
    if found and columns:
        console().print(others_table(found, columns))


def print_json(rows: Iterable[Any]) -> None:
    """One JSON object a line."""
    for row in rows:
        typer.echo(json.dumps(row))


def print_estimate(
    source: FeatureSource,
    features: list[int],
    how: dict[str, Any],
    run_budget: Budget,
    as_json: bool,
) -> None:
    """What explaining will take, feature by feature and in all. how: see `estimate`."""
    from ..estimate import estimate, together
    from ..jobs import run_to_end

    found = run_to_end(estimate(source, features, **how))
    whole = together(found, run_budget)
    if as_json:
        print_json(one.as_json() for one in [*found, whole])
        return
    from ..tables import estimate_table
    from ..terminal import console

    out = console()
    out.print(estimate_table(found, whole))
    out.print(
        "Nothing was sent. First prompts are counted as they are; replies and what follows are "
        "reckoned from scripted replies without thinking, so a model that thinks takes more. The "
        "most is what the caps allow."
        + ("" if whole.dollars is not None else " No price is known for this model.")
    )
