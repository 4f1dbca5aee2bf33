"""The command that explains features whose meaning is known."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from . import opening, options
from .app import app


def _list(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


@app.command()
def planted(
    explainer: options.Explainer = "sage",
    mind: options.MindName = "rules",
    seed: options.Seed = 0,
    features: Annotated[
        int, typer.Option("--features", "-f", min=1, help="How many of each class.")
    ] = 10,
    classes: Annotated[
        str | None,
        typer.Option("--classes", help="Which classes, as in word,topic.", show_default="all"),
    ] = None,
    harder: Annotated[
        str | None,
        typer.Option(
            "--options",
            help="What makes them harder to read: noise, dropout, bleed, second-meaning.",
            show_default="none",
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", help="Keep it under this name; one that was begun is gone on with."),
    ] = None,
    concurrency: options.Concurrency = None,
    max_probes: options.MaxProbes = None,
    max_calls: options.MaxCalls = None,
    run_max_cost: options.RunMaxCost = None,
    journal: options.JournalPath = None,
    as_json: options.Json = False,
) -> None:
    """Explain features whose meaning is known, and say how many were recovered."""
    import contextlib

    from ..planted import ALL_CLASSES, Options, planted_source
    from ..planted.page import findings_page
    from ..planted.suite import run_suite
    from ..terminal import ProgressBar, console

    source = planted_source(
        seed, features, _list(classes) or tuple(ALL_CLASSES), Options.named(_list(harder))
    )
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(opening.open_journal(journal, create=True)) if run else None
        bar = stack.enter_context(ProgressBar())
        found = run_suite(
            source,
            explainer=explainer,
            mind=mind,
            run=run,
            journal=file,
            watch=bar,
            seed=seed,
            concurrency=concurrency,
            budget=opening.budget(explainer, mind, probes=max_probes, calls=max_calls),
            run_budget=opening.run_budget(cost=run_max_cost),
        )
    if as_json:
        for answer in (*found.answers, *found.without_probes):
            typer.echo(answer.as_json())
    else:
        console().print(findings_page(found, time.monotonic() - began))
