"""The command that lets the model write while a feature is steered."""

from __future__ import annotations

from typing import Annotated

import typer

from . import opening, options
from .app import app


@app.command()
def steer(
    feature: Annotated[int, typer.Argument(metavar="FEATURE", min=0, help="Its index.")],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="What the model goes on from.")],
    strength: Annotated[
        float, typer.Option("--strength", min=0, help="In typical maxima of the feature.")
    ] = 2.0,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the direction away instead of adding it.")
    ] = False,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Tokens that are written.")] = 40,
    gate: Annotated[
        bool | None,
        typer.Option(
            "--gate/--no-gate",
            help="Steer only where the feature is in the prompt, and harder where that is not enough.",
            show_default="gated with --remove",
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, help="0 takes the likeliest tokens.")
    ] = 0.0,
    subject: options.Subject = options.SUBJECT,
    sae: options.Sae = None,
    corpus: options.Corpus = options.CORPUS,
    corpus_tokens: Annotated[
        int, typer.Option("--corpus-tokens", min=1, help="How many tokens of the corpus.")
    ] = options.TOKENS,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Write text with a feature added or taken away, beside no steering and two controls."""
    from ...sae.generation.texts import KINDS, Order, generation_of
    from ...sae.progress import bar
    from ..jobs import run_to_end
    from ..sessions.steered import SteeredTexts
    from ..sessions.views import Scale

    order = Order(
        prompt, strength, remove, tokens, remove if gate is None else gate, temperature, seed
    )
    with opening.open_source(subject, sae, corpus, corpus_tokens, device, dtype) as source:
        source.cover([feature])
        stats = source.evidence.reader("explainer").split("explain").stats(feature)
        with bar("Writing", len(KINDS) * tokens) as shown:
            found = run_to_end(generation_of(source).steered(feature, order, shown.advance))
    scale = Scale(fires_at=stats.fires_at, typical_max=stats.typical_max)
    view = SteeredTexts.of(found, scale)
    if as_json:
        typer.echo(view.model_dump_json())
        return
    from ..sessions.pages import page
    from ..terminal import console

    console().print(page(view))
