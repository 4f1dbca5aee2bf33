"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ..results import Result


def print_results(found: list[Result], as_json: bool) -> None:
    """Results as tables, or one JSON object a line (the contract of docs/results.md)."""
    if as_json:
        for result in found:
            typer.echo(result.as_json())
        return
    from ..summary import verdict_line
    from ..terminal import console, results_page

    out = console()
    if not found:
        out.print("No feature of this run is done yet.")
        return
    out.print(results_page(found, out.width))
    out.print(verdict_line(found))


def print_json(rows: Iterable[Any]) -> None:
    """One JSON object a line."""
    for row in rows:
        typer.echo(json.dumps(row))
