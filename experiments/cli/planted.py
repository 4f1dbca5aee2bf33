"""The command that explains features whose meaning is known."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import opening, options
from .app import app

if TYPE_CHECKING:
    from ..planted import PlantedSource
    from ..planted.suite import Findings

#: Where in the model, and how many of each class, so that it takes some minutes.
HOOK_POINTS = "hook_embed,blocks.9.hook_resid_post"
PER_CLASS, PER_CLASS_IN_MODEL = 10, 2


def _list(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


@app.command()
def planted(
    explainer: options.Explainer = "sage",
    mind: options.MindName = "rules",
    seed: options.Seed = 0,
    features: Annotated[
        int | None,
        typer.Option(
            "--features",
            "-f",
            min=1,
            help="How many of each class.",
            show_default=f"{PER_CLASS}, in a model {PER_CLASS_IN_MODEL}",
        ),
    ] = None,
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
    in_model: Annotated[
        bool, typer.Option("--in-model", help="As latents of an SAE on the subject model.")
    ] = False,
    subject: options.Subject = options.SUBJECT,
    hook_points: Annotated[
        str, typer.Option("--hook-points", help="Where in the model, an SAE each.")
    ] = HOOK_POINTS,
    run: Annotated[
        str | None,
        typer.Option("--run", help="Keep it under this name; one that was begun is gone on with."),
    ] = None,
    concurrency: options.Concurrency = None,
    max_probes: options.MaxProbes = None,
    max_calls: options.MaxCalls = None,
    run_max_cost: options.RunMaxCost = None,
    retry_failed: options.RetryFailed = False,
    journal: options.JournalPath = None,
    as_json: options.Json = False,
) -> None:
    """Explain features whose meaning is known, and say how many were recovered."""
    from ..planted import ALL_CLASSES, Options, planted_source

    source = planted_source(
        seed,
        features or (PER_CLASS_IN_MODEL if in_model else PER_CLASS),
        _list(classes) or tuple(ALL_CLASSES),
        Options.named(_list(harder)),
    )
    settings = {
        "explainer": explainer,
        "mind": mind,
        "seed": seed,
        "concurrency": concurrency,
        "retry_failed": retry_failed,
        "budget": opening.budget(explainer, mind, probes=max_probes, calls=max_calls),
        "run_budget": opening.run_budget(cost=run_max_cost),
    }
    with contextlib.ExitStack() as stack:
        if run:
            settings["journal"] = stack.enter_context(opening.open_journal(journal, create=True))
        if in_model:
            _in_model(source, subject, _list(hook_points), run, as_json, settings)
        else:
            _programs(source, run, as_json, settings)


def _programs(source: PlantedSource, run: str | None, as_json: bool, settings: Any) -> None:
    from ..planted.page import findings_page
    from ..planted.suite import run_suite
    from ..terminal import ProgressBar, console

    began = time.monotonic()
    with ProgressBar() as bar:
        found = run_suite(source, run=run, watch=bar, **settings)
    if as_json:
        for answer in (*found.answers, *found.without_probes):
            typer.echo(answer.as_json())
    else:
        console().print(findings_page(found, time.monotonic() - began))
    _end([found], run)


def _end(found: Sequence[Findings], run: str | None) -> None:
    """Say what failed; exit with 1 where that is everything."""
    answers = [one for part in found for one in (*part.answers, *part.without_probes)]
    failed = [one for one in answers if one.failed]
    if not failed:
        return
    more = "--retry-failed tries again" if run else "with --run NAME they can be tried again"
    typer.echo(
        f"sagescope: {len(failed)} of {len(answers)} explanations failed, feature "
        f"{failed[0].feature} because: {failed[0].error}; {more}.",
        err=True,
    )
    if len(failed) == len(answers):
        raise typer.Exit(1)


def _in_model(
    source: PlantedSource,
    subject: str,
    at: list[str],
    run: str | None,
    as_json: bool,
    settings: Any,
) -> None:
    if source.options.noise or source.options.dropout:
        raise typer.BadParameter("A model has its own noise.", param_hint="--options")
    from ...sae.subject import SubjectModel
    from ..planted.in_model import planted_model
    from ..planted.model_suite import run_model_suite
    from ..planted.page import latents_page
    from ..terminal import ProgressBar, console

    model, all_found = SubjectModel.load(subject), []
    for place in at:
        began = time.monotonic()
        with ProgressBar() as bar:
            planted = planted_model(source, model, place, watch=bar)
        with planted:
            planted.cover([one.index for one in planted.features])
            with ProgressBar() as bar:
                named = f"{run}-{place}" if run else None
                found = run_model_suite(planted, run=named, watch=bar, **settings)
        all_found.append(found)
        if as_json:
            for answer in (*found.answers, *found.without_probes):
                typer.echo(answer.as_json())
            for line in found.left_out_as_json():
                typer.echo(line)
        else:
            console().print(latents_page(found, time.monotonic() - began))
    _end(all_found, run)
