"""Commands about benchmarks and leaderboards: freeze, run, build, verify; and export of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import opening, options, output
from .app import app

if TYPE_CHECKING:
    from ...sae.source import FeatureSource
    from ..leaderboard.manifest import Manifest

bench = typer.Typer(no_args_is_help=True, help="Benchmarks: freeze one, and run explainers on it.")
leaderboard = typer.Typer(
    no_args_is_help=True, help="Leaderboards of benchmarks: build one, verify a submission."
)
app.add_typer(bench, name="bench")
app.add_typer(leaderboard, name="leaderboard")


@bench.command()
def freeze(
    manifest: options.ManifestPath,
    subject: options.Subject = options.SUBJECT,
    sae: options.Sae = None,
    corpus: options.Corpus = options.CORPUS,
    tokens: options.Tokens = options.TOKENS,
    name: Annotated[
        str | None, typer.Option("--name", help="What it is called.", show_default="the file's")
    ] = None,
    features: options.SomeFeatures = None,
    draw: Annotated[
        int, typer.Option("--draw", min=1, help="Draw so many, half of each stratum.")
    ] = 64,
    draw_seeds: Annotated[
        str,
        typer.Option(
            "--draw-seeds", callback=options.features_option, help="Seeds; each draws so many."
        ),
    ] = "0",
    seeds: Annotated[
        str,
        typer.Option(
            "--seeds", callback=options.features_option, help="An explainer runs once with each."
        ),
    ] = "0",
    scorers: options.Scorers = None,
    simulator: options.SimulatorKind = "auto",
    scorer_mind: options.ScorerMind = None,
    planted: Annotated[
        int | None,
        typer.Option("--planted", min=0, help="Planted features instead, drawn from this seed."),
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Freeze a benchmark: features, splits by content, seeds, scorers and simulator, in one file."""
    from ..features import FeatureList
    from ..leaderboard.demo import PLANTED, drawn_benchmark, planted_benchmark
    from ..leaderboard.manifest import Opens, PlantedSuite, write_manifest
    from ..leaderboard.manifest import freeze as frozen

    called = name or manifest.stem
    numbers = [FeatureList.parse(text).ranges for text in (draw_seeds, seeds)]
    by, of_runs = ([number for part in ranges for number in part] for ranges in numbers)
    how: dict[str, Any] = {
        "seeds": of_runs,
        "scorers": opening.names(scorers),
        "simulator": simulator,
        "scorer_mind": scorer_mind,
    }
    if planted is not None:
        suite = PlantedSuite(planted=planted, per_class=PLANTED.per_class)
        made = planted_benchmark(_planted(suite), called, suite, **how)
    else:
        with opening.open_source(subject, sae, corpus, tokens, device, dtype) as source:
            opens = Opens(subject=subject, sae=sae or source.sae, corpus=corpus, tokens=tokens)
            if features:
                indices = opening.indices(features, source)
                made = frozen(source, called, indices, opens=opens, **how)
            else:
                made = drawn_benchmark(source, called, draw, by, opens, **how)
    write_manifest(made, manifest)
    typer.echo(
        f"Froze {len(made.features)} features as {manifest}, benchmark {made.digest[:16]}.",
        err=True,
    )


@bench.command()
def run(
    manifest: options.ManifestPath,
    explainer: options.Explainer = "sage",
    mind: options.MindName = "rules",
    prompts: options.Prompts = None,
    max_probes: options.MaxProbes = None,
    max_rounds: options.MaxRounds = None,
    max_calls: options.MaxCalls = None,
    max_tokens: options.MaxTokens = None,
    max_cost: options.MaxCost = None,
    run_max_cost: options.RunMaxCost = None,
    concurrency: options.Concurrency = None,
    controls: options.Controls = True,
    retry_failed: options.RetryFailed = False,
    simulator: options.FrozenSimulator = None,
    scorer_mind: options.FrozenScorerMind = None,
    sae: options.FrozenSae = None,
    subject: options.FrozenSubject = None,
    corpus: options.FrozenCorpus = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    host: options.Host = None,
    journal: options.JournalPath = None,
    as_json: options.Json = False,
) -> None:
    """Explain and score a benchmark's features; a run that was stopped is gone on with."""
    from ..leaderboard.benchmark import run_benchmark
    from ..leaderboard.manifest import read_manifest
    from ..terminal import ProgressBar

    frozen = read_manifest(manifest)
    caps = {
        "probes": max_probes,
        "rounds": max_rounds,
        "calls": max_calls,
        "tokens": max_tokens,
        "cost": max_cost,
    }
    budget, run_budget = (
        opening.budget(explainer, mind, **caps),
        opening.run_budget(cost=run_max_cost),
    )
    with (
        opening.open_journal(journal, create=True) as file,
        _source(frozen, subject, sae, corpus, device, dtype, host) as source,
        ProgressBar() as bar,
    ):
        found = run_benchmark(
            source,
            frozen,
            file,
            explainer=explainer,
            mind=mind,
            budget=budget,
            prompts=prompts,
            run_budget=run_budget,
            concurrency=concurrency,
            retry_failed=retry_failed,
            controls=controls,
            simulator=simulator,
            scorer_mind=scorer_mind,
            watch=bar,
        )
    for name, results in found.items():
        typer.echo(f"sagescope: the run {name}", err=True)
        output.print_results(results, as_json)
    results = [result for one in found.values() for result in one]
    failed = sum(result.status == "failed" for result in results)
    wanted = len(frozen.features) * len(frozen.seeds)
    if failed or len(results) < wanted:
        typer.echo(
            f"sagescope: {len(results)} of {wanted} features are done, {failed} of them failed; the "
            f"same command goes on with what is left, --retry-failed tries again.",
            err=True,
        )
    if failed == len(results):
        raise typer.Exit(1)


@leaderboard.command()
def build(
    journals: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[JOURNAL]...", help="Journals.  [default: sagescope.db]"),
    ] = None,
    manifests: options.Manifests = None,
    runs: Annotated[
        str | None, typer.Option("--runs", help="Only these runs, comma-separated.")
    ] = None,
    page: options.Page = Path("leaderboard.html"),
    wide: options.WideMarkdown = False,
) -> None:
    """Build a leaderboard from journals: a page, JSON and Markdown."""
    from ..leaderboard.board import board
    from ..leaderboard.manifest import read_manifest
    from ..leaderboard.output import check_page, write_leaderboard

    if not manifests:
        raise typer.BadParameter("name a frozen benchmark", param_hint="--manifest")
    frozen = [read_manifest(path) for path in manifests]
    check_page(page, [*manifests, *(journals or [])])
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(opening.open_journal(path)) for path in journals or [None]]
        boards = [board(opened, one, opening.names(runs)) for one in frozen]
    for line in (line for one in boards for line in one.left_out):
        typer.echo(f"sagescope: {line}", err=True)
    _say(write_leaderboard(boards, page, wide))


@leaderboard.command()
def verify(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSONL, or what Neuronpedia or Delphi wrote.")
    ],
    manifest: options.ManifestOption,
    name: Annotated[
        str | None, typer.Option("--name", help="What the table calls it.", show_default="as found")
    ] = None,
    mind: Annotated[
        str | None, typer.Option("--mind", help="What thought it up.", show_default="as found")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", help="Which maker or hook point, where the file has several."),
    ] = None,
    simulator: options.FrozenSimulator = None,
    scorer_mind: options.FrozenScorerMind = None,
    run_max_cost: options.RunMaxCost = None,
    concurrency: options.Concurrency = None,
    sae: options.FrozenSae = None,
    subject: options.FrozenSubject = None,
    corpus: options.FrozenCorpus = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    host: options.Host = None,
    journal: options.JournalPath = None,
    as_json: options.Json = False,
) -> None:
    """Score explanations that somebody else made, from their text alone."""
    from ..leaderboard.manifest import read_manifest
    from ..leaderboard.submission import read_submission
    from ..leaderboard.submission import verify as verified
    from ..terminal import ProgressBar

    frozen = read_manifest(manifest)
    submission = read_submission(file, name, mind, by)
    with (
        opening.open_journal(journal, create=True) as opened,
        _source(frozen, subject, sae, corpus, device, dtype, host) as source,
        ProgressBar() as bar,
    ):
        called, results = verified(
            source,
            frozen,
            submission,
            opened,
            concurrency=concurrency,
            simulator=simulator,
            scorer_mind=scorer_mind,
            run_budget=opening.run_budget(cost=run_max_cost),
            watch=bar,
        )
    typer.echo(f"sagescope: the run {called}", err=True)
    output.print_results(results, as_json)
    unscored = [one for one in results if all(score is None for score in one.scores.values())]
    if unscored:
        first = unscored[0]
        why = first.details.get("explanation", {}).get("why") or first.error or "nobody scored it"
        typer.echo(
            f"sagescope: {len(unscored)} of {len(results)} explanations have no score, that of feature "
            f"{first.index} because {why}.",
            err=True,
        )
    if len(unscored) == len(results):
        raise typer.Exit(1)


@leaderboard.command()
def demo(
    page: options.Page = Path("leaderboard.html"),
    planted: Annotated[
        bool, typer.Option("--planted/--no-planted", help="Planted features too.")
    ] = True,
    wide: options.WideMarkdown = False,
    concurrency: options.Concurrency = None,
    journal: options.JournalPath = None,
) -> None:
    """Build the demo's leaderboard, offline; stopped, the same command goes on."""
    from ..leaderboard.board import board
    from ..leaderboard.demo import PLANTED, demo_benchmark, planted_benchmark, run_all
    from ..leaderboard.manifest import Opens
    from ..leaderboard.output import write_leaderboard
    from ..terminal import ProgressBar

    frozen: list[Manifest] = []
    with opening.open_journal(journal, create=True) as file:
        with (
            opening.open_source(
                options.SUBJECT, None, options.CORPUS, options.TOKENS, "auto", "auto"
            ) as source,
            ProgressBar() as bar,
        ):
            opens = Opens(
                subject=options.SUBJECT,
                sae=source.sae,
                corpus=options.CORPUS,
                tokens=options.TOKENS,
            )
            frozen.append(demo_benchmark(source, opens))
            run_all(source, frozen[0], file, concurrency, bar)
        if planted:
            known = _planted(PLANTED)
            frozen.append(planted_benchmark(known, "planted", PLANTED))
            with ProgressBar() as bar:
                run_all(known, frozen[1], file, concurrency, bar)
        boards = [board([file], one) for one in frozen]
    _say(write_leaderboard(boards, page, wide))


@app.command()
def export(
    name: options.RunName,
    folder: Annotated[Path, typer.Option("--output", "-o", help="A new folder.")],
    form: Annotated[str, typer.Option("--format", help="neuronpedia.")] = "neuronpedia",
    model_id: Annotated[
        str | None,
        typer.Option("--model-id", help="Neuronpedia's.", show_default="the subject's name"),
    ] = None,
    source_id: Annotated[
        str | None,
        typer.Option("--source-id", help="Neuronpedia's.", show_default="the SAE's name"),
    ] = None,
    journal: options.JournalPath = None,
) -> None:
    """Write a run's features, contexts and explanations in the format of others."""
    from ..leaderboard.neuronpedia import write_export

    if form != "neuronpedia":
        raise typer.BadParameter(f"{form!r} is no format: there is neuronpedia")
    with opening.open_run(journal, name) as begun:
        counts = write_export(begun, folder, model_id, source_id)
    typer.echo(f"Wrote {', '.join(f'{n:,} {kind}' for kind, n in counts.items())} to {folder}.")


def _say(written: list[Path]) -> None:
    typer.echo(f"Wrote {', '.join(map(str, written))}.")


@contextlib.contextmanager
def _source(
    manifest: Manifest,
    subject: str | None,
    sae: str | None,
    corpus: str | None,
    device: str,
    dtype: str,
    host: str | None,
) -> Iterator[FeatureSource]:
    """The source that a benchmark was frozen on, or that of a service that has the same."""
    from ...sae.errors import BenchmarkError
    from ..leaderboard.manifest import PlantedSuite

    opens = manifest.opens
    if opens is None:
        raise BenchmarkError(
            f"The benchmark {manifest.name} does not say how to open its features: run it from Python."
        )
    if isinstance(opens, PlantedSuite):
        yield _planted(opens)
        return
    spec = (subject or opens.subject, sae or opens.sae, corpus or opens.corpus, opens.tokens)
    if host is not None:
        spec = (subject or options.SUBJECT, sae, corpus or options.CORPUS, options.TOKENS)
    with opening.open_source(*spec, device, dtype, host) as source:
        yield source


def _planted(suite: Any) -> Any:
    from ..planted import planted_source

    return planted_source(suite.planted, suite.per_class)
