"""Commands about evidence: what features did on a corpus."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from . import opening, options, output
from .app import app

if TYPE_CHECKING:
    from ...sae.model_source import ModelSource


@app.command(cls=options.WithRay)
def collect(
    subject: options.Subject = options.SUBJECT,
    sae: options.Sae = None,
    corpus: options.Corpus = options.CORPUS,
    tokens: options.Tokens = options.TOKENS,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    host: options.Host = None,
    ship: Annotated[
        Path | None,
        typer.Option(
            "--ship",
            help="Write what --features did, without its text, below this folder: evidence that "
            "may come with an SAE.",
        ),
    ] = None,
    chosen: options.ShippedFeatures = None,
    ray: options.Ray = None,
    workers: options.Workers = None,
    worker_cpus: options.WorkerCpus = 1,
    worker_gpus: options.WorkerGpus = None,
    as_json: options.Json = False,
) -> None:
    """Stream a corpus through model and SAE once, and keep what every feature did."""
    if (ship is None) != (chosen is None):
        raise typer.BadParameter("--ship and --features go together")
    if ship and host:
        raise typer.BadParameter("--ship goes without --host: ship where the evidence is")
    where = subject, sae, corpus, tokens, device, dtype, host
    cluster = opening.cluster(ray, workers, worker_cpus, worker_gpus, where)
    with opening.open_source(*where) as source:
        with contextlib.ExitStack() as stack:
            if cluster:
                stack.enter_context(stack.enter_context(cluster.opened()).reading(source))
            source.cover(range(source.n_features))
        evidence = source.evidence
        sizes = {
            "explain": len(evidence.reader("explainer").split("explain").tokens),
            "select": len(evidence.reader("selector").split("select").tokens),
            "score": len(evidence.reader("scorer").split("score").tokens),
        }
        about = {
            "subject": source.subject,
            "sae": source.sae,
            "features": source.n_features,
            "tokens": sizes,
        }
        if ship and chosen:
            here = cast("ModelSource", source)  # --host was refused above
            about["shipped"] = str(here.ship(opening.indices(chosen, source), ship))
    if as_json:
        output.print_json([about])
    else:
        shares = ", ".join(f"{count:,} to {split}" for split, count in sizes.items())
        typer.echo(f"{about['features']:,} features of {source.sae} on {shares}.")


@app.command()
def features(
    subject: options.Subject = options.SUBJECT,
    sae: options.Sae = None,
    corpus: options.Corpus = options.CORPUS,
    tokens: options.Tokens = options.TOKENS,
    chosen: options.SomeFeatures = None,
    draw: Annotated[
        int | None,
        typer.Option(
            "--draw",
            min=1,
            help="Draw so many at random, half of each stratum, that fire 50 times or more.",
        ),
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    host: options.Host = None,
    as_json: options.Json = False,
) -> None:
    """List features with how often they fire and their stratum; or draw some."""
    from ..features import draw as drawn

    if draw is not None and chosen is not None:
        raise typer.BadParameter("give either --features or --draw")
    with opening.open_source(subject, sae, corpus, tokens, device, dtype, host) as source:
        indices = opening.indices(chosen, source) if chosen else range(source.n_features)
        if draw is not None:
            indices = drawn(source.evidence, draw, seed)
        table = source.evidence.reader("explainer").table("explain").loc[list(indices)]
    rows = json.loads(table.reset_index().to_json(orient="records", double_precision=15))
    if as_json:
        output.print_json(rows)
    else:
        from ..tables import facts_table
        from ..terminal import console

        console().print(facts_table(rows))
