"""Options that several commands share, and their defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# The defaults of `sagescope.sae.model_source`, which takes seconds to import; a test compares.
SUBJECT = "smollm2-135m-instruct"
CORPUS = "builtin:english#held-out"
TOKENS = 500_000

Subject = Annotated[
    str, typer.Option("--subject", help="Subject model: a built-in, folder, .gguf file or hub id.")
]
Sae = Annotated[
    str | None,
    typer.Option(
        "--sae",
        help="SAE: a name, folder or RELEASE/ID. By default the one that comes with Sagescope.",
    ),
]
Corpus = Annotated[str, typer.Option("--corpus", help="Text: a built-in, file, folder or hf:NAME.")]
Tokens = Annotated[int, typer.Option("--tokens", min=1, help="Tokens of it to collect.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 …")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")]
JournalPath = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        envvar="SAGESCOPE_JOURNAL",
        help="The file that holds all runs.  [default: sagescope.db]",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Decides everything that is drawn.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")]
Concurrency = Annotated[int, typer.Option("--concurrency", min=1, help="Features at once.")]
ReportPath = Annotated[Path, typer.Option("--output", "-o", help="Where the report goes.")]


def features_option(text: str | None) -> str | None:
    """Check how the list is written before anything is loaded."""
    from ..features import FeatureList

    if text is not None:
        try:
            FeatureList.parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    return text


Features = Annotated[
    str,
    typer.Option("--features", "-f", callback=features_option, help="Indices, as in 0-99,120."),
]
