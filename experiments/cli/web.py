"""The command that shows runs, features, sessions and leaderboards in a browser."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from . import opening, options
from .app import app


@app.command()
def web(
    journal: Annotated[
        Path | None,
        typer.Argument(
            metavar="[JOURNAL]",
            envvar="SAGESCOPE_JOURNAL",
            help="The file that holds all runs.",
            show_default="sagescope.db",
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 for a free one.")] = 8080,
    bind: Annotated[
        str, typer.Option("--bind", help="The address; beyond 127.0.0.1 a token is mandatory.")
    ] = "127.0.0.1",
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            help="Holds the token; else it stands in SAGESCOPE_TOKEN.",
            dir_okay=False,
        ),
    ] = None,
    who: Annotated[str, typer.Option("--as", help="Your name, for the leaderboard.")] = "human",
    mind: options.Helper = None,
    subject: options.Subject = options.SUBJECT,
    sae: options.Sae = None,
    corpus: options.Corpus = options.CORPUS,
    tokens: options.Tokens = options.TOKENS,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Show runs, features, sessions and leaderboards in a browser; the model loads when needed."""
    opening.web_is_installed()
    from ..guard import Guard
    from ..journal import default_path
    from ..web.app import serve
    from ..web.jobs import Jobs
    from ..web.site import Site

    guard = Guard.of(bind, token_file, password=True)
    source = {
        "--subject": subject,
        "--sae": sae,
        "--corpus": corpus,
        "--tokens": tokens,
        "--device": device,
        "--dtype": dtype,
        "--journal": journal or default_path(),
    }
    typed = [f"{name}={value}" for name, value in source.items() if value is not None]
    opener = functools.partial(opening.open_source, subject, sae, corpus, tokens, device, dtype)
    with opening.open_journal(journal, create=True) as file:
        serve(Site(file, opener, jobs=Jobs(typed), who=who, mind=mind), guard, bind, port)
