"""Commands that put somebody else into the loop: a person, or an agent."""

from __future__ import annotations

from typing import Annotated

import typer

from . import opening, options
from .app import app

_Mind = Annotated[
    str | None,
    typer.Option("--mind", help="What helps.  [default: rules, or as the run was begun]"),
]
_Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Decides everything that is drawn.")
]
_MaxProbes = Annotated[
    int | None, typer.Option("--max-probes", min=0, help="Texts run, for each feature.")
]
_MaxRounds = Annotated[
    int | None, typer.Option("--max-rounds", min=0, help="Turns of the loop, for each feature.")
]
_MaxCalls = Annotated[
    int | None, typer.Option("--max-calls", min=0, help="Calls of a language model.")
]
_MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", min=0, help="Tokens of a language model.")
]


def _budget(**caps: int | None):
    """Caps for a session; None where none is given, so that a run keeps its own."""
    from dataclasses import replace

    from ..sessions.ledger import UNCAPPED

    given = {name: cap for name, cap in caps.items() if cap is not None}
    return replace(UNCAPPED, **given) if given else None


@app.command()
def session(
    feature: Annotated[int, typer.Argument(metavar="FEATURE", min=0, help="Its index.")],
    run: Annotated[
        str, typer.Option("--run", help="The run's name; one that was begun is gone on with.")
    ] = "session",
    subject: options.Subject = options.SUBJECT,
    sae: options.Sae = None,
    corpus: options.Corpus = options.CORPUS,
    tokens: options.Tokens = options.TOKENS,
    mind: _Mind = None,
    seed: _Seed = None,
    max_probes: _MaxProbes = None,
    max_rounds: _MaxRounds = None,
    max_calls: _MaxCalls = None,
    max_tokens: _MaxTokens = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    journal: options.JournalPath = None,
    as_json: options.Json = False,
) -> None:
    """Explain a feature yourself: look, try texts, test hypotheses, with a mind to help."""
    from ..sessions.live import Session
    from ..sessions.prompt import converse

    budget = _budget(probes=max_probes, rounds=max_rounds, calls=max_calls, tokens=max_tokens)
    with (
        opening.open_journal(journal, create=True) as file,
        opening.open_source(subject, sae, corpus, tokens, device, dtype) as source,
        Session.open(
            source, feature, run=run, journal=file, mind=mind, budget=budget, seed=seed
        ) as here,
    ):
        fine = converse(here, as_json=as_json)
    if not fine:
        raise typer.Exit(1)


@app.command()
def mcp(
    http: Annotated[
        int | None,
        typer.Option(
            "--http", metavar="PORT", min=0, max=65535, help="Serve HTTP on 127.0.0.1, not stdio."
        ),
    ] = None,
    run: Annotated[
        str, typer.Option("--run", help="The run's name; one that was begun is gone on with.")
    ] = "agent",
    who: Annotated[
        str, typer.Option("--as", help="The agent's name, for the leaderboard.")
    ] = "agent",
    subject: options.Subject = options.SUBJECT,
    sae: options.Sae = None,
    corpus: options.Corpus = options.CORPUS,
    tokens: options.Tokens = options.TOKENS,
    mind: _Mind = None,
    seed: _Seed = None,
    max_probes: _MaxProbes = None,
    max_rounds: _MaxRounds = None,
    max_calls: _MaxCalls = None,
    max_tokens: _MaxTokens = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    journal: options.JournalPath = None,
) -> None:
    """Let an agent explain features, through the Model Context Protocol."""
    from ..sessions.tools import serve

    budget = _budget(probes=max_probes, rounds=max_rounds, calls=max_calls, tokens=max_tokens)
    with (
        opening.open_journal(journal, create=True) as file,
        opening.open_source(subject, sae, corpus, tokens, device, dtype) as source,
    ):
        serve(
            source, run=run, journal=file, mind=mind, budget=budget, seed=seed, who=who, port=http
        )
