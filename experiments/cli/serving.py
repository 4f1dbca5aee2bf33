"""The command that serves the model to others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...sae.errors import ServiceError
from . import opening, options
from .app import app


@app.command()
def serve(
    subject: Annotated[
        str,
        typer.Option(
            "--subject", "--model", help="Subject model: a built-in, folder, .gguf file or hub id."
        ),
    ] = options.SUBJECT,
    saes: Annotated[
        list[str] | None,
        typer.Option(
            "--sae",
            help="SAE: a name, folder or RELEASE/ID; several share the model's forward passes. By "
            "default the one that comes with Sagescope.",
            show_default=False,
        ),
    ] = None,
    corpus: options.Corpus = options.CORPUS,
    tokens: options.Tokens = options.TOKENS,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    bind: Annotated[
        str, typer.Option("--bind", help="Address; beyond 127.0.0.1 a token is mandatory.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")
    ] = 8123,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="Holds the token; else $SAGESCOPE_TOKEN does."),
    ] = None,
    queue: Annotated[
        int, typer.Option("--queue", min=1, help="Requests taken on; more are told to come back.")
    ] = 1024,
) -> None:
    """Serve subject model and SAEs over HTTP: one model for many explainers (see --host)."""
    try:
        from ..service.run import run
    except ModuleNotFoundError as error:
        raise ServiceError(
            f"{error.name} is not installed: pip install 'sagescope[serve]', then try again."
        ) from error
    from ..service.limits import Limits
    from ..service.served import opened

    run(
        lambda: opened(
            subject,
            saes or [opening.default_sae()],
            corpus,
            tokens,
            device=device,
            dtype=dtype,
        ),
        bind,
        port,
        token_file,
        Limits(queue_requests=queue),
    )
