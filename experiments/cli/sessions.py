"""Commands that put somebody else into the loop: a person, or an agent."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from . import opening, options
from .app import app


@contextlib.contextmanager
def _opened(
    subject: options.Subject = options.SUBJECT,
    sae: options.Sae = None,
    corpus: options.Corpus = options.CORPUS,
    tokens: options.Tokens = options.TOKENS,
    mind: options.Helper = None,
    seed: options.SessionSeed = None,
    max_probes: options.SessionMaxProbes = None,
    max_rounds: options.SessionMaxRounds = None,
    max_calls: options.SessionMaxCalls = None,
    max_tokens: options.SessionMaxTokens = None,
    max_cost: options.SessionMaxCost = None,
    max_seconds: options.SessionMaxSeconds = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    host: options.Host = None,
    journal: options.JournalPath = None,
) -> Iterator[dict[str, Any]]:
    """What both commands open from their options, as arguments of a session."""
    budget = opening.session_budget(
        probes=max_probes,
        rounds=max_rounds,
        calls=max_calls,
        tokens=max_tokens,
        cost=max_cost,
        seconds=max_seconds,
    )
    with (
        opening.open_journal(journal, create=True) as file,
        opening.open_source(subject, sae, corpus, tokens, device, dtype, host) as source,
    ):
        yield {"source": source, "journal": file, "mind": mind, "budget": budget, "seed": seed}


def _opens(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of `_opened` beside its own; `opened` is what they make."""
    own = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.name != "opened"
    ]
    shared = inspect.signature(_opened, eval_str=True).parameters

    @functools.wraps(command)
    def run(**typed: Any) -> None:
        with _opened(**{name: typed.pop(name) for name in shared}) as opened:
            command(opened, **typed)

    signature = inspect.Signature([*own, *shared.values()])
    run.__signature__ = signature  # pyright: ignore[reportAttributeAccessIssue]
    return run


@app.command()
@_opens
def session(
    opened: dict[str, Any],
    feature: Annotated[int, typer.Argument(metavar="FEATURE", min=0, help="Its index.")],
    run: options.RunToGoOn = "session",
    as_json: options.Json = False,
) -> None:
    """Explain a feature yourself: look, try texts, test hypotheses, with a mind to help."""
    from ..sessions.live import Session
    from ..sessions.prompt import converse

    with Session.open(opened.pop("source"), feature, run=run, **opened) as here:
        fine = converse(here, as_json=as_json)
    if not fine:
        raise typer.Exit(1)


@app.command()
@_opens
def mcp(
    opened: dict[str, Any],
    http: Annotated[
        int | None,
        typer.Option(
            "--http", metavar="PORT", min=0, max=65535, help="Serve HTTP on 127.0.0.1, not stdio."
        ),
    ] = None,
    run: options.RunToGoOn = "agent",
    who: Annotated[
        str, typer.Option("--as", help="The agent's name, for the leaderboard.")
    ] = "agent",
) -> None:
    """Let an agent explain features, through the Model Context Protocol."""
    from ..sessions.tools import serve

    serve(opened.pop("source"), run=run, who=who, port=http, **opened)
