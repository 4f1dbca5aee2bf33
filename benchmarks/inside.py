"""What explainers that look inside take for one feature, on the SAE that comes with Sagescope.

    python benchmarks/inside.py [EXPLAINERS] [--features N] [--seed S] [--json]

EXPLAINERS: comma-separated, by default all that look inside; those that make no sense on the SAE are
left out, and that is said. N
features (default 24) are drawn as the demo draws its own, by another seed. Loading, the evidence, and
what an explainer prepares once for all features (told apart, as `once`) do not count. Prints seconds a
feature (median, 95th percentile, mean; of the processor, all cores together), forward texts a feature, and how many got a
description. Texts are what counts against a budget of probes: each that is run, however many passes
measure it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

import numpy as np

from sagescope.agents.budget import Budget, Spending
from sagescope.agents.explainers import INSIDE, Task, check_source, explainer_named
from sagescope.agents.minds.choice import Mind
from sagescope.experiments.cli.opening import default_sae
from sagescope.experiments.features import draw
from sagescope.sae.errors import SAEError
from sagescope.sae.model_source import ModelSource


def main() -> None:
    asked = _arguments()
    with ModelSource.load("smollm2-135m-instruct", default_sae()) as source:
        features = draw(source.evidence, asked.features, asked.seed)
        source.cover(features)
        _ = source.evidence.reader("explainer").split("explain").stats(features[0])
        for name in asked.explainers.split(",") if asked.explainers else INSIDE:
            try:
                check_source(name, source)
            except SAEError as error:
                print(f"{name} left out: {error}", file=sys.stderr)
                continue
            row = _measured(source, name, features)
            print(json.dumps(row) if asked.json else _line(row), flush=True)


def _measured(source: ModelSource, name: str, features: list[int]) -> dict:
    once, seconds, cpu, texts, described, status = 0.0, [], [], [], 0, []
    for place, feature in enumerate([features[0], *features]):
        task = Task(
            source, feature, Mind("rules"), Spending(Budget()), 0, lambda kind, *records: None
        )
        began, busy = time.perf_counter(), time.process_time()
        found = asyncio.run(explainer_named(name).explain(task))
        took = time.perf_counter() - began
        if place == 0:  # prepares what all features share
            once = took
            continue
        seconds.append(took)
        cpu.append(time.process_time() - busy)
        texts.append(found.spent["probes"])
        described += bool(found.explanation.rule and found.explanation.rule.clauses)
        status.append(found.status)
    return {
        "explainer": name,
        "features": len(features),
        "described": described,
        "median_seconds": float(np.median(seconds)),
        "p95_seconds": float(np.quantile(seconds, 0.95)),
        "mean_seconds": float(np.mean(seconds)),
        "median_cpu_seconds": float(np.median(cpu)),
        "once_seconds": once - float(np.median(seconds)),
        "texts": float(np.mean(texts)),
        "out_of_budget": status.count("out_of_budget"),
    }


def _line(row: dict) -> str:
    return (
        f"{row['explainer']:<16} {row['median_seconds']:6.2f} s a feature "
        f"(95 %: {row['p95_seconds']:.2f}, mean {row['mean_seconds']:.2f}; processor {row['median_cpu_seconds']:.2f}; once "
        f"{row['once_seconds']:.1f} s)  {row['texts']:.0f} texts  "
        f"{row['described']} of {row['features']} described"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("explainers", nargs="?")
    parser.add_argument("--features", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
