"""Commands about runs: explain features, and look at what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import opening, options, output
from .app import app


@app.command(cls=options.WithRay)
def explain(
    features: options.Features,
    run: options.RunToGoOn = "default",
    subject: options.Subject = options.SUBJECT,
    sae: options.Sae = None,
    corpus: options.Corpus = options.CORPUS,
    tokens: options.Tokens = options.TOKENS,
    explainer: options.Explainer = "sage",
    hints: options.Hints = None,
    upstream: options.Upstream = None,
    mind: options.MindName = "rules",
    prompts: options.Prompts = None,
    seed: options.Seed = 0,
    max_probes: options.MaxProbes = None,
    max_rounds: options.MaxRounds = None,
    max_calls: options.MaxCalls = None,
    max_tokens: options.MaxTokens = None,
    max_cost: options.MaxCost = None,
    max_seconds: options.MaxSeconds = None,
    run_max_calls: options.RunMaxCalls = None,
    run_max_tokens: options.RunMaxTokens = None,
    run_max_cost: options.RunMaxCost = None,
    run_max_seconds: options.RunMaxSeconds = None,
    concurrency: options.Concurrency = None,
    score: Annotated[
        bool, typer.Option("--score/--no-score", help="Score the explanations and controls.")
    ] = True,
    scorers: options.Scorers = None,
    controls: options.Controls = True,
    random_weights: options.RandomWeights = None,
    simulator: options.SimulatorKind = "auto",
    scorer_mind: options.ScorerMind = None,
    retry_failed: options.RetryFailed = False,
    dry_run: options.DryRun = False,
    ray: options.Ray = None,
    workers: options.Workers = None,
    worker_cpus: options.WorkerCpus = 1,
    worker_gpus: options.WorkerGpus = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    host: options.Host = None,
    journal: options.JournalPath = None,
    as_json: options.Json = False,
) -> None:
    """Explain features, score the explanations, and keep all of it in a run."""
    from ..jobs import explain as explain_features
    from ..terminal import ProgressBar

    explainer = opening.hinted(explainer, hints)
    how: dict[str, Any] = {
        "explainer": explainer,
        "mind": mind,
        "budget": opening.budget(
            explainer,
            mind,
            probes=max_probes,
            rounds=max_rounds,
            calls=max_calls,
            tokens=max_tokens,
            cost=max_cost,
            seconds=max_seconds,
        ),
        "prompts": prompts,
        "seed": seed,
    }
    run_budget = opening.run_budget(
        calls=run_max_calls, tokens=run_max_tokens, cost=run_max_cost, seconds=run_max_seconds
    )
    where = subject, sae, corpus, tokens, device, dtype, host
    above: dict[str, Any] = {"upstream": opening.names(upstream)} if upstream else {}
    cluster = opening.cluster(ray, workers, worker_cpus, worker_gpus, where, **above)
    if dry_run:
        with opening.open_source(*where, **above) as source:
            indices = opening.indices(features, source)
            left = opening.left_in(run, journal, indices, retry_failed)
            output.print_estimate(source, left, how, run_budget, as_json)
        return
    with (
        opening.open_journal(journal, create=True) as file,
        opening.open_source(*where, **above) as source,
    ):
        indices = opening.indices(features, source)
        with ProgressBar() as bar:
            results = explain_features(
                source,
                indices,
                **how,
                run=run,
                journal=file,
                score=score,
                scorers=opening.names(scorers),
                controls=controls,
                random_weights=random_weights,
                concurrency=concurrency,
                retry_failed=retry_failed,
                run_budget=run_budget,
                simulator=simulator,
                scorer_mind=scorer_mind,
                watch=bar,
                cluster=cluster,
            )
    output.print_results(results, as_json)
    if len(results) < len(indices):
        typer.echo(
            f"sagescope: {len(indices) - len(results)} of {len(indices)} features were not begun, "
            f"because the run's budget is spent; the same command with a larger one goes on.",
            err=True,
        )
    failed = [result for result in results if result.status == "failed"]
    if failed:
        typer.echo(
            f"sagescope: {len(failed)} of {len(results)} features failed; `sagescope show {run} "
            f"{failed[0].index}` says why, --retry-failed tries again.",
            err=True,
        )
        raise typer.Exit(1 if len(failed) == len(results) else 0)


@app.command()
def score(
    name: options.RunName,
    scorers: options.Scorers = None,
    controls: options.Controls = True,
    simulator: options.SimulatorKind = "auto",
    scorer_mind: options.ScorerMind = None,
    run_max_calls: options.RunMaxCalls = None,
    run_max_tokens: options.RunMaxTokens = None,
    run_max_cost: options.RunMaxCost = None,
    subject: options.Subject = options.SUBJECT,
    sae: options.Sae = None,
    corpus: options.Corpus = options.CORPUS,
    tokens: options.Tokens = options.TOKENS,
    concurrency: options.Concurrency = None,
    retry_failed: options.RetryFailed = False,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    host: options.Host = None,
    journal: options.JournalPath = None,
    as_json: options.Json = False,
) -> None:
    """Score a run's explanations by more scorers; scores that it has are not made again."""
    from ..jobs import score_run
    from ..terminal import ProgressBar

    with (
        opening.open_journal(journal) as file,
        opening.open_source(subject, sae, corpus, tokens, device, dtype, host) as source,
        ProgressBar() as bar,
    ):
        found = score_run(
            source,
            name,
            journal=file,
            scorers=opening.names(scorers),
            controls=controls,
            concurrency=concurrency,
            retry_failed=retry_failed,
            simulator=simulator,
            scorer_mind=scorer_mind,
            run_budget=opening.run_budget(
                calls=run_max_calls, tokens=run_max_tokens, cost=run_max_cost
            ),
            watch=bar,
        )
    output.print_results(found, as_json)
    if scorers and not as_json:
        output.print_others(found, opening.names(scorers))


@app.command()
def runs(journal: options.JournalPath = None, as_json: options.Json = False) -> None:
    """List the runs of a journal."""
    with opening.open_journal(journal) as file:
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
        output.print_json(rows)
    else:
        from ..tables import runs_table
        from ..terminal import console

        console().print(runs_table(rows))


@app.command()
def salvage(
    damaged: Annotated[Path, typer.Argument(metavar="DAMAGED", help="The journal; it stays.")],
    target: Annotated[Path, typer.Argument(metavar="NEW", help="A new file for the copy.")],
) -> None:
    """Copy what can be read of a damaged journal into a new one."""
    from ..salvage import salvage as salvaged

    found = salvaged(damaged, target)
    typer.echo(
        f"Copied {found.events} events of {found.runs} runs, {found.done} features of them done, to "
        f"{target}. "
        + ("That is all." if found.whole else "The rest is damaged; the next run makes it again.")
    )


@app.command()
def results(
    name: options.RunName, journal: options.JournalPath = None, as_json: options.Json = False
) -> None:
    """Print what a run found: explanations and their scores, beside their controls."""
    from ..results import results_of

    with opening.open_run(journal, name) as run:
        found = results_of(run)
    output.print_results(found, as_json)


@app.command()
def collisions(
    name: options.RunName,
    near: Annotated[
        float,
        typer.Option("--near", min=0.0, max=1.0, help="The cosine from which labels are near."),
    ] = 0.9,
    journal: options.JournalPath = None,
    as_json: options.Json = False,
) -> None:
    """List features that are called the same, or the same up to wording (by sentence embeddings)."""
    from ..collisions import collisions as found_in
    from ..results import results_of
    from ..scoring.embedding import encoder

    with opening.open_run(journal, name) as run:
        results = results_of(run)
    found = found_in(results, encoder().vectors, near)
    if as_json:
        output.print_json([found.as_json()])
    else:
        from ..tables import collisions_page
        from ..terminal import console

        console().print(collisions_page(found, results))


@app.command()
def compare(
    names: Annotated[list[str], typer.Argument(metavar="RUN RUN…", help="Two runs or more.")],
    scores: Annotated[
        list[str] | None,
        typer.Option("--score", help="A score by name; may be repeated.  [default: all in tables]"),
    ] = None,
    journal: options.JournalPath = None,
    as_json: options.Json = False,
) -> None:
    """Compare runs, paired by feature: differences with intervals, and whether any are shown."""
    from ..comparison import compare_runs

    with opening.open_journal(journal) as file:
        found = compare_runs([file.run(name) for name in dict.fromkeys(names)], scores)
    if as_json:
        output.print_json(row.as_json() for row in found.rows)
    else:
        from ..tables import comparison_page
        from ..terminal import console

        console().print(comparison_page(found))


@app.command()
def calibrate(
    name: options.RunName,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the fresh probes.")] = 1,
    subject: options.Subject = options.SUBJECT,
    sae: options.Sae = None,
    corpus: options.Corpus = options.CORPUS,
    tokens: options.Tokens = options.TOKENS,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    host: options.Host = None,
    journal: options.JournalPath = None,
    as_json: options.Json = False,
) -> None:
    """Try a run's verdicts on fresh probes: are posteriors and "confirmed" to be believed?"""
    from ..calibration import calibrate as calibrated

    with (
        opening.open_journal(journal) as file,
        opening.open_source(subject, sae, corpus, tokens, device, dtype, host) as source,
    ):
        found = calibrated(source, name, journal=file, seed=seed)
    if as_json:
        output.print_json([{"run": name, **found.as_json()}])
    else:
        from ..tables import calibration_page
        from ..terminal import console

        console().print(calibration_page(found))


@app.command()
def show(
    name: options.RunName,
    feature: Annotated[
        str, typer.Argument(metavar="FEATURE", help="Its index, or SUBJECT/SAE/INDEX.")
    ],
    journal: options.JournalPath = None,
    as_json: options.Json = False,
) -> None:
    """Print one feature's transcript: hypotheses, probes, predictions, measurements, verdicts."""
    from ..transcript import transcript_of

    index = feature.rpartition("/")[2]
    if not (index.isascii() and index.isdigit()):
        raise typer.BadParameter(f"{feature!r} is no feature: give its index.")
    with opening.open_run(journal, name) as run:
        story = transcript_of(run, int(index))
    if as_json:
        output.print_json([story.as_json()])
    else:
        from ..story import transcript_page
        from ..terminal import console

        console().print(transcript_page(story))


@app.command()
def report(
    name: options.RunName,
    page: options.ReportPath = Path("report.html"),
    journal: options.JournalPath = None,
) -> None:
    """Write a run as one page to look at, which needs nothing but a browser."""
    from ..report import write_report

    with opening.open_run(journal, name) as run:
        write_report(run, page)
    typer.echo(f"Wrote {page}.", err=not page.is_file())  # the page may have gone to the output


@app.command()
def demo(
    draw: Annotated[int, typer.Option("--draw", min=1, help="How many features.")] = 16,
    seed: options.Seed = 0,
    run: Annotated[str, typer.Option("--run", help="The run's name.")] = "demo",
    page: options.ReportPath = Path("report.html"),
    controls: options.Controls = True,
    random_weights: options.RandomWeights = None,
    concurrency: options.Concurrency = None,
    journal: options.JournalPath = None,
    as_json: options.Json = False,
) -> None:
    """Explain features of the SAE that comes with Sagescope, and write a report."""
    from ..features import draw as drawn
    from ..jobs import explain as explain_features
    from ..report import write_report
    from ..terminal import ProgressBar

    with opening.open_journal(journal, create=True) as file:
        with opening.open_source(
            options.SUBJECT, None, options.CORPUS, options.TOKENS, "auto", "auto"
        ) as source:
            chosen = drawn(source.evidence, draw, seed)
            with ProgressBar() as bar:
                found = explain_features(
                    source,
                    chosen,
                    seed=seed,
                    run=run,
                    journal=file,
                    controls=controls,
                    random_weights=random_weights,
                    concurrency=concurrency,
                    watch=bar,
                )
        write_report(file.run(run), page)
    output.print_results(found, as_json)
    typer.echo(f"\nThe report with all hypotheses and probes: {page.resolve()}", err=as_json)
