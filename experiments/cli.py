"""The command line: `sagescope COMMAND`, each command a few lines over the same verbs as in Python.

Results go to standard output, everything else to standard error. An error that was raised on
purpose is one sentence and exit code 1; a command that was typed wrongly, exit code 2; Ctrl-C, 130.
Heavy modules are imported inside the functions that need them, so that `--help` is quick.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ..sae.errors import FeatureError, SagescopeError

if TYPE_CHECKING:
    from ..agents.budget import Budget
    from ..sae.model_source import ModelSource
    from .journal import Journal, Run
    from .results import Result


class Commands(TyperGroup):
    """The group of all commands; it turns errors into sentences and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()
            return value
        except SagescopeError as error:
            if ctx.params.get("debug"):
                raise
            raise _ended(str(error), 1) from None
        except KeyboardInterrupt:
            again = "Run the same command again to go on."
            raise _ended(f"Stopped. What was done is kept. {again}", 130) from None
        except BrokenPipeError:
            # Whoever read our output has enough. Python would complain once more when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Commands,
    name="sagescope",
    help="Find out what the features of sparse autoencoders respond to, by experiments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The console script."""
    app()


def _ended(message: str, code: int) -> typer.Exit:
    from .visible import visible

    typer.echo(f"sagescope: {visible(message)}", err=True)
    return typer.Exit(code)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"sagescope {version('sagescope')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole traceback of an error.")
    ] = False,
) -> None:
    pass


# -------------------------------------------------------------------- options that commands share

# The defaults of `sagescope.sae.model_source`, which takes seconds to import; a test compares.
SUBJECT = "smollm2-135m-instruct"
CORPUS = "builtin:english#held-out"
TOKENS = 500_000

_Subject = Annotated[
    str, typer.Option("--subject", help="Subject model: a built-in, folder, .gguf file or hub id.")
]
_Sae = Annotated[
    str | None,
    typer.Option(
        "--sae",
        help="SAE: a name, folder or RELEASE/ID. By default the one that comes with Sagescope.",
    ),
]
_Corpus = Annotated[
    str, typer.Option("--corpus", help="Text: a built-in, file, folder or hf:NAME.")
]
_Tokens = Annotated[int, typer.Option("--tokens", min=1, help="Tokens of it to collect.")]
_Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 …")]
_Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")]
_JournalPath = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        envvar="SAGESCOPE_JOURNAL",
        help="The file that holds all runs.  [default: sagescope.db]",
        show_default=False,
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
_Seed = Annotated[int, typer.Option("--seed", min=0, help="Decides everything that is drawn.")]
_RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")]
_Concurrency = Annotated[int, typer.Option("--concurrency", min=1, help="Features at once.")]
_Report = Annotated[Path, typer.Option("--output", "-o", help="Where the report goes.")]


def _features_option(text: str | None) -> str | None:
    """Check how the list is written before anything is loaded."""
    from .features import FeatureList

    if text is not None:
        try:
            FeatureList.parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    return text


_Features = Annotated[
    str,
    typer.Option("--features", "-f", callback=_features_option, help="Indices, as in 0-99,120."),
]


# -------------------------------------------------------------------- commands: evidence


@app.command()
def collect(
    subject: _Subject = SUBJECT,
    sae: _Sae = None,
    corpus: _Corpus = CORPUS,
    tokens: _Tokens = TOKENS,
    device: _Device = "auto",
    dtype: _Dtype = "auto",
    as_json: _Json = False,
) -> None:
    """Stream a corpus through model and SAE once, and keep what every feature did."""
    with _open_source(subject, sae, corpus, tokens, device, dtype) as source:
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
    if as_json:
        _print_json([about])
    else:
        shares = ", ".join(f"{count:,} to {split}" for split, count in sizes.items())
        typer.echo(f"{about['features']:,} features of {source.sae} on {shares}.")


@app.command()
def features(
    subject: _Subject = SUBJECT,
    sae: _Sae = None,
    corpus: _Corpus = CORPUS,
    tokens: _Tokens = TOKENS,
    chosen: Annotated[
        str | None,
        typer.Option(
            "--features", "-f", callback=_features_option, help="Only these, as in 0-99,120."
        ),
    ] = None,
    draw: Annotated[
        int | None,
        typer.Option(
            "--draw",
            min=1,
            help="Draw so many at random, half of each stratum, that fire 50 times or more.",
        ),
    ] = None,
    seed: _Seed = 0,
    device: _Device = "auto",
    dtype: _Dtype = "auto",
    as_json: _Json = False,
) -> None:
    """List features with how often they fire and their stratum; or draw some."""
    from .features import draw as drawn

    if draw is not None and chosen is not None:
        raise typer.BadParameter("give either --features or --draw")
    with _open_source(subject, sae, corpus, tokens, device, dtype) as source:
        indices = _indices(chosen, source) if chosen else range(source.n_features)
        if draw is not None:
            indices = drawn(source.evidence, draw, seed)
        table = source.evidence.reader("explainer").table("explain").loc[list(indices)]
    rows = json.loads(table.reset_index().to_json(orient="records", double_precision=15))
    if as_json:
        _print_json(rows)
    else:
        from .terminal import console, facts_table

        console().print(facts_table(rows))


# -------------------------------------------------------------------- commands: runs


@app.command()
def explain(
    features: _Features,
    run: Annotated[
        str, typer.Option("--run", help="The run's name; one that was begun is gone on with.")
    ] = "default",
    subject: _Subject = SUBJECT,
    sae: _Sae = None,
    corpus: _Corpus = CORPUS,
    tokens: _Tokens = TOKENS,
    explainer: Annotated[str, typer.Option("--explainer", help="How explanations are made.")] = (
        "sage"
    ),
    mind: Annotated[str, typer.Option("--mind", help="What thinks inside the loop.")] = "rules",
    seed: _Seed = 0,
    max_probes: Annotated[
        int | None, typer.Option("--max-probes", min=0, help="Texts run, for each feature.")
    ] = None,
    max_rounds: Annotated[
        int | None, typer.Option("--max-rounds", min=0, help="Turns of the loop, for each feature.")
    ] = None,
    max_calls: Annotated[
        int | None, typer.Option("--max-calls", min=0, help="Calls of a language model.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=0, help="Tokens of a language model.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option("--max-seconds", min=0, help="Seconds for each feature.")
    ] = None,
    concurrency: _Concurrency = 8,
    score: Annotated[
        bool, typer.Option("--score/--no-score", help="Score the explanations and controls.")
    ] = True,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try features again that failed before.")
    ] = False,
    device: _Device = "auto",
    dtype: _Dtype = "auto",
    journal: _JournalPath = None,
    as_json: _Json = False,
) -> None:
    """Explain features, score the explanations, and keep all of it in a run."""
    from .jobs import explain as explain_features
    from .terminal import ProgressBar

    budget = _budget(
        probes=max_probes,
        rounds=max_rounds,
        calls=max_calls,
        tokens=max_tokens,
        seconds=max_seconds,
    )
    with (
        _journal(journal, create=True) as file,
        _open_source(subject, sae, corpus, tokens, device, dtype) as source,
    ):
        indices = _indices(features, source)
        with ProgressBar() as bar:
            results = explain_features(
                source,
                indices,
                explainer=explainer,
                mind=mind,
                budget=budget,
                seed=seed,
                run=run,
                journal=file,
                score=score,
                concurrency=concurrency,
                retry_failed=retry_failed,
                watch=bar,
            )
    _print_results(results, as_json)
    failed = [result for result in results if result.status == "failed"]
    if failed:
        typer.echo(
            f"sagescope: {len(failed)} of {len(results)} features failed; `sagescope show {run} "
            f"{failed[0].index}` says why, --retry-failed tries again.",
            err=True,
        )
        raise typer.Exit(1 if len(failed) == len(results) else 0)


@app.command()
def runs(journal: _JournalPath = None, as_json: _Json = False) -> None:
    """List the runs of a journal."""
    with _journal(journal) as file:
        rows = [
            {
                "run": run.name,
                "created": run.created,
                "features": len(run.features),
                "done": run.done,
                **run.config,
            }
            for run in file.runs()
        ]
    if as_json:
        _print_json(rows)
    else:
        from .terminal import console, runs_table

        console().print(runs_table(rows))


@app.command()
def results(name: _RunName, journal: _JournalPath = None, as_json: _Json = False) -> None:
    """Print what a run found: explanations and their scores, beside their controls."""
    from .results import results_of

    with _run(journal, name) as run:
        found = results_of(run)
    _print_results(found, as_json)


@app.command()
def show(
    name: _RunName,
    feature: Annotated[
        str, typer.Argument(metavar="FEATURE", help="Its index, or SUBJECT/SAE/INDEX.")
    ],
    journal: _JournalPath = None,
    as_json: _Json = False,
) -> None:
    """Print one feature's transcript: hypotheses, probes, predictions, measurements, verdicts."""
    from .transcript import transcript_of

    index = feature.rpartition("/")[2]
    if not (index.isascii() and index.isdigit()):
        raise typer.BadParameter(f"{feature!r} is no feature: give its index.")
    with _run(journal, name) as run:
        story = transcript_of(run, int(index))
    if as_json:
        _print_json([story.as_json()])
    else:
        from .terminal import console, transcript_page

        console().print(transcript_page(story))


@app.command()
def report(
    name: _RunName,
    output: _Report = Path("report.html"),
    journal: _JournalPath = None,
) -> None:
    """Write a run as one page to look at, which needs nothing but a browser."""
    from .report import write_report

    with _run(journal, name) as run:
        write_report(run, output)
    typer.echo(f"Wrote {output}.")


@app.command()
def demo(
    draw: Annotated[int, typer.Option("--draw", min=1, help="How many features.")] = 16,
    seed: _Seed = 0,
    run: Annotated[str, typer.Option("--run", help="The run's name.")] = "demo",
    output: _Report = Path("report.html"),
    concurrency: _Concurrency = 8,
    journal: _JournalPath = None,
    as_json: _Json = False,
) -> None:
    """Explain features of the SAE that comes with Sagescope, and write a report."""
    from .features import draw as drawn
    from .jobs import explain as explain_features
    from .report import write_report
    from .terminal import ProgressBar

    with _journal(journal, create=True) as file:
        with _open_source(SUBJECT, None, CORPUS, TOKENS, "auto", "auto") as source:
            chosen = drawn(source.evidence, draw, seed)
            with ProgressBar() as bar:
                found = explain_features(
                    source,
                    chosen,
                    seed=seed,
                    run=run,
                    journal=file,
                    concurrency=concurrency,
                    watch=bar,
                )
        write_report(file.run(run), output)
    _print_results(found, as_json)
    typer.echo(f"\nThe report with all hypotheses and probes: {output.resolve()}", err=as_json)


# -------------------------------------------------------------------- commands: SAEs


@app.command()
def train(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the SAE goes.")],
    subject: _Subject = SUBJECT,
    hook_point: Annotated[str, typer.Option("--hook-point", help="What it reconstructs.")] = (
        "blocks.19.hook_resid_post"
    ),
    corpus: _Corpus = "builtin:english",
    arch: Annotated[str, typer.Option("--arch", help="Architecture, as SAELens calls it.")] = (
        "topk"
    ),
    width: Annotated[int, typer.Option("--width", min=1, help="Latents.")] = 4608,
    k: Annotated[int, typer.Option("--k", min=1, help="Latents that fire on a token.")] = 32,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Tokens to train on.")] = 4_000_000,
    context: Annotated[int, typer.Option("--context", min=1, help="Tokens of a window.")] = 128,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Activations of a step.")] = 2048,
    buffer: Annotated[
        int, typer.Option("--buffer", min=1, help="Activations that are shuffled together.")
    ] = 131_072,
    lr: Annotated[float, typer.Option("--lr", min=0, help="Adam's learning rate.")] = 8e-4,
    aux_until: Annotated[
        float,
        typer.Option(
            "--aux-until", min=0, max=1, help="Share of the training that revives dead latents."
        ),
    ] = 0.43,
    checkpoints: Annotated[
        int, typer.Option("--checkpoints", min=0, help="How often to save on the way.")
    ] = 20,
    seed: _Seed = 0,
) -> None:
    """Train an SAE; a training that was stopped goes on from its last checkpoint."""
    from ..sae.train import TrainSettings
    from ..sae.train import train as train_sae

    settings = TrainSettings(
        subject=subject,
        hook_point=hook_point,
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
        seed=seed,
    )
    typer.echo(f"Wrote {train_sae(settings, out)}.")


@app.command()
def evaluate(
    subject: _Subject = SUBJECT,
    sae: _Sae = None,
    corpus: _Corpus = CORPUS,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Tokens to measure on.")] = 200_000,
    loss_tokens: Annotated[
        int, typer.Option("--loss-tokens", min=1, help="Of these, tokens for the losses.")
    ] = 20_000,
    device: _Device = "auto",
    dtype: _Dtype = "auto",
    as_json: _Json = False,
) -> None:
    """Measure how good an SAE is: unexplained variance, L0, loss recovered, dead latents."""
    from ..sae.corpus import load_corpus
    from ..sae.evaluate import DENSITY_EDGES
    from ..sae.evaluate import evaluate as measured

    with _open_source(subject, sae, corpus, tokens, device, dtype) as source:
        found = measured(source.reader, load_corpus(corpus), tokens, loss_tokens)
    row = {
        "subject": source.subject,
        "sae": source.sae,
        "corpus": corpus,
        **asdict(found),
        "density_edges": DENSITY_EDGES,
        "loss_recovered": found.loss_recovered,
    }
    if as_json:
        _print_json([row])
    else:
        from .terminal import console, evaluation_table

        console().print(evaluation_table(row))


# -------------------------------------------------------------------- inside


def _open_source(
    subject: str, sae: str | None, corpus: str, tokens: int, device: str, dtype: str
) -> ModelSource:
    from ..sae.encoder import pretrained_names
    from ..sae.errors import SAEError
    from ..sae.model_source import ModelSource

    if sae is None:
        names = pretrained_names()
        if not names:
            raise SAEError("No SAE comes with this installation: name one with --sae.")
        sae = names[0]
    return ModelSource.load(subject, sae, corpus, tokens, device=device, dtype=dtype)


def _indices(text: str, source: ModelSource) -> list[int]:
    from .features import FeatureList

    try:
        return FeatureList.parse(text).check(source.n_features)
    except FeatureError as error:
        raise typer.BadParameter(str(error), param_hint="--features") from None


def _budget(**caps: float | None) -> Budget:
    from ..agents.budget import Budget

    return Budget(**{name: cap for name, cap in caps.items() if cap is not None})  # pyright: ignore[reportArgumentType]


def _journal(path: Path | None, create: bool = False) -> Journal:
    from .journal import Journal, default_path

    return Journal.open(path or default_path(), create)


@contextlib.contextmanager
def _run(path: Path | None, name: str) -> Iterator[Run]:
    with _journal(path) as journal:
        yield journal.run(name)


def _print_results(found: list[Result], as_json: bool) -> None:
    if as_json:
        for result in found:
            typer.echo(result.as_json())
        return
    from .terminal import console, means_table, recall_table, results_table

    out = console()
    if not found:
        out.print("No feature of this run is done yet.")
        return
    out.print(results_table(found))
    if any(result.scores["predictive_pearson"] for result in found):
        out.print(means_table(found))
        out.print(recall_table(found))


def _print_json(rows: Iterable[Any]) -> None:
    for row in rows:
        typer.echo(json.dumps(row))


if __name__ == "__main__":
    main()
