"""Commands about SAEs: train one, measure how good some are, and how far they are determined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import opening, options, output
from .app import app

if TYPE_CHECKING:
    from ...sae.encoder import LatentReader

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH…",
        help="SAEs: names, folders or RELEASE/ID, of one hook point.",
        show_default="the one that comes with Sagescope",
    ),
]


@app.command()
def train(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the SAE goes.")],
    subject: options.Subject = options.SUBJECT,
    hook_point: Annotated[str, typer.Option("--hook-point", help="What it reconstructs.")] = (
        "blocks.19.hook_resid_post"
    ),
    hook_point_out: Annotated[
        str | None, typer.Option("--hook-point-out", help="What a transcoder makes of that.")
    ] = None,
    head: Annotated[
        int | None, typer.Option("--head", min=0, help="Only this head of the hook point.")
    ] = None,
    corpus: options.Corpus = "builtin:english",
    arch: Annotated[
        str, typer.Option("--arch", help="Architecture, as SAELens or Sagescope calls it.")
    ] = "topk",
    option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the architecture itself."),
    ] = None,
    width: Annotated[int, typer.Option("--width", min=1, help="Latents.")] = 4608,
    k: Annotated[int, typer.Option("--k", min=1, help="Latents that fire on a token.")] = 32,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Tokens to train on.")] = 4_000_000,
    context: Annotated[int, typer.Option("--context", min=2, help="Tokens of a window.")] = 128,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Activations of a step.")] = 2048,
    buffer: Annotated[
        int, typer.Option("--buffer", min=1, help="Activations that are shuffled together.")
    ] = 131_072,
    lr: Annotated[
        float | None,
        typer.Option(
            "--lr", min=0, help="Adam's learning rate.", show_default="the architecture's"
        ),
    ] = None,
    aux_until: Annotated[
        float,
        typer.Option(
            "--aux-until", min=0, max=1, help="Share of the training that revives dead latents."
        ),
    ] = 0.43,
    checkpoints: Annotated[
        int, typer.Option("--checkpoints", min=0, help="How often to save on the way.")
    ] = 20,
    weights: Annotated[
        str, typer.Option("--weights", help="How the result is stored: float32 or bfloat16.")
    ] = "float32",
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="A folder to keep activations in, for this and later runs."),
    ] = None,
    keep_gb: Annotated[
        float, typer.Option("--keep-gb", min=0, help="Gigabytes that are kept at most.")
    ] = 8.0,
    seed: options.Seed = 0,
) -> None:
    """Train an SAE or transcoder; a training that was stopped goes on from its last checkpoint."""
    from ...sae.training import TrainSettings
    from ...sae.training.run import train as train_sae

    settings = TrainSettings(
        subject=subject,
        hook_point=hook_point,
        hook_point_out=hook_point_out,
        head=head,
        corpus=corpus,
        arch=arch,
        width=width,
        k=k,
        tokens=tokens,
        context=context,
        batch=batch,
        buffer=buffer,
        lr=lr,
        aux_until=aux_until,
        checkpoints=checkpoints,
        weights=weights,
        seed=seed,
        options=_options(option or ()),
    )
    typer.echo(f"Wrote {train_sae(settings, out, keep=keep, keep_gb=keep_gb)}.")


def _options(given: Sequence[str]) -> dict[str, object]:
    """NAME=VALUE pairs; a value is read as YAML, so that .5, true and words are what they are."""
    import yaml

    found: dict[str, object] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE.", param_hint="--set")
        found[name] = yaml.safe_load(value)
    return found


@app.command("sae-eval")
def sae_eval(
    paths: Paths = None,
    subject: options.Subject = options.SUBJECT,
    corpus: options.Corpus = options.CORPUS,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Tokens to measure on.")] = 200_000,
    loss_tokens: Annotated[
        int, typer.Option("--loss-tokens", min=1, help="Of these, tokens for the losses.")
    ] = 20_000,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    page: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the figures, as a page.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Measure SAEs of one hook point side by side: variance, L0, losses, densities, stability."""
    from ...sae.corpus import load_corpus
    from ...sae.evaluation.run import evaluate
    from ...sae.evaluation.stability import kind_of

    specs = paths or [opening.default_sae()]
    readers = opening.open_readers(subject, specs, device, dtype)
    kinds = [kind_of(reader.sae, Path(spec)) for reader, spec in zip(readers, specs, strict=True)]
    found = evaluate(readers, load_corpus(corpus), tokens, loss_tokens, kinds)
    rows = [
        {**_about(reader, spec, corpus), **one.as_json()}
        for reader, spec, one in zip(readers, specs, found, strict=True)
    ]
    if page:
        from ..sae_eval import write_page

        write_page(rows, page)
    if as_json:
        output.print_json(rows)
    else:
        from ..sae_eval import table
        from ..terminal import console

        console().print(table(rows))


@app.command()
def identify(
    paths: Paths = None,
    subject: options.Subject = options.SUBJECT,
    corpus: options.Corpus = options.CORPUS,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Tokens to look at.")] = 100_000,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
) -> None:
    """Say how far the data determine SAEs' latents: ties, ambiguous pairs, stability over seeds."""
    from ...sae.corpus import load_corpus
    from ...sae.evaluation.stability import kind_of
    from ...sae.identified import identify as identified

    specs = paths or [opening.default_sae()]
    readers = opening.open_readers(subject, specs, device, dtype)
    kinds = [kind_of(reader.sae, Path(spec)) for reader, spec in zip(readers, specs, strict=True)]
    found = identified(readers, load_corpus(corpus), tokens, kinds)
    rows = [
        {**_about(reader, spec, corpus), **one.as_json()}
        for reader, spec, one in zip(readers, specs, found, strict=True)
    ]
    if as_json:
        output.print_json(rows)
    else:
        from ..sae_identify import page
        from ..terminal import console

        console().print(page(rows))


def _about(reader: LatentReader, spec: str, corpus: str) -> dict[str, Any]:
    return {
        "subject": reader.subject.id,
        "sae": reader.sae.name,
        "path": spec,
        "architecture": reader.sae.architecture,
        "latents": reader.sae.n_features,
        "hook_point": reader.at.name,
        "corpus": corpus,
    }
