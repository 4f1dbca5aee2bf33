"""Running a benchmark: its features explained and scored, in runs that are bound to its manifest."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...agents.budget import Budget
from ...agents import explainers as explaining
from ...agents.minds.choice import Mind
from ...sae.errors import BenchmarkError
from ...sae.source import FeatureSource
from ..jobs import Job, beside_random_weights, run_to_end, work
from ..journal import Journal
from ..results import Result, results_of
from .manifest import Manifest, check, check_simulator

#: In a run's settings, what binds it to a benchmark.
BENCHMARK = "benchmark"
#: Told of each stage's progress: (stage, done, total).
Watch = Callable[[str, int, int], None]


def run_benchmark(
    source: FeatureSource,
    manifest: Manifest,
    journal: Journal,
    *,
    explainer: str = "sage",
    mind: str = "rules",
    budget: Budget | None = None,
    seeds: Sequence[int] | None = None,
    concurrency: int | None = None,
    retry_failed: bool = False,
    prompts: Path | None = None,
    controls: bool = True,
    run_budget: Budget | None = None,
    simulator: str | None = None,
    scorer_mind: str | None = None,
    watch: Watch | None = None,
    features: Sequence[int] | None = None,
    random_weights: int | None = None,
) -> dict[str, list[Result]]:
    """Explain and score a benchmark's features: one run for each seed; results by the run's name.

    A run that was begun is gone on with. seeds: of the manifest's; None for all. budget: of each
    feature, run_budget: of each run. controls: without them the row is marked as uncontrolled.
    simulator, scorer_mind: None for the manifest's, and no others are taken. features: only these of
    the manifest's, for now. random_weights: how many features of the model with random weights
    stand beside each run, None for as many as suit the mind. Raises BenchmarkError where source,
    simulator or features are not what the manifest was frozen on, UnknownName for an unknown
    explainer or mind, MindError for an explainer that needs a language model and gets none, SAEError for
    one that makes no sense on the source, PriceError for a cap on money and a model without a known
    price, JournalError where a run of that name has other settings.
    """
    thinker = Mind(mind)
    explaining.check(explainer, thinker)
    explaining.check_source(explainer, source)
    thinker.check()
    thinker.check_price(budget, run_budget)
    for seed in seeds or ():
        if seed not in manifest.seeds:
            known = ", ".join(map(str, manifest.seeds))
            raise BenchmarkError(f"The benchmark {manifest.name} has no seed {seed}: only {known}.")
    if others := sorted(set(features or ()) - set(manifest.features)):
        raise BenchmarkError(f"The benchmark {manifest.name} has no feature {others[0]}.")
    check_simulator(manifest, simulator, scorer_mind)
    check(manifest, source)
    found = {}
    for seed in seeds or manifest.seeds:
        job = Job(
            manifest.features if features is None else features,
            explainer,
            mind,
            budget or explaining.usual_budget(explainer, thinker.is_language_model),
            seed,
            scorers=[one.name for one in manifest.scorers],
            concurrency=concurrency,
            retry_failed=retry_failed,
            prompts=prompts,
            controls=controls,
            run_budget=run_budget or Budget.of_run(),
            simulator=manifest.simulator,
            scorer_mind=manifest.scorer_mind,
        )
        job.choice.check()
        name = run_name(manifest, explainer, mind, seed)
        with journal.begin(name, {**job.config(source), **bound(manifest)}) as run:
            run_to_end(work(job, source, run, watch))
            if controls:
                beside_random_weights(job, source, journal, run, random_weights, watch)
            found[name] = results_of(run, source)
    return found


def bound(manifest: Manifest) -> dict[str, Any]:
    """What a run's settings say of the benchmark that it is bound to."""
    return {BENCHMARK: manifest.decides}


def run_name(manifest: Manifest, explainer: str, mind: str, seed: int) -> str:
    """What a benchmark's run is called."""
    parts = (manifest.name, explainer, mind, f"seed-{seed}")
    return ".".join(re.sub(r"[^A-Za-z0-9_-]+", "-", part) for part in parts)[:100]
