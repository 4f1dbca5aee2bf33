"""Language models as minds: how much faster many features go at once, and what Sagescope itself costs.

    python benchmarks/minds.py [--features 64] [--only speed,cost,memory,sizes] [--json]

speed: a scripted model whose calls take 2 seconds, all features at once against one after another
(computed: calls × 2 s, and the time that a serial run of a few features takes beside its calls).
cost: CPU time of this process for each feature, all its threads, with calls answered at once by
another process; all of it, and without what comes once in a run (a run of one feature goes first,
and pays for it). Subtracted is one thing: the thread's CPU time in `LookupSource.activations`, which
stands for the forward passes. Tokenizing for it is part of that, as it would be of a model's; what
the provider's own package does, the journal, prompts and rules are part of the cost. memory: the
largest resident set of a run of a quarter of the features, and of all. sizes: calls and tokens of a
feature, prompts and replies (with their schemas) counted by SmolLM2's tokenizer.

Features, text and activations are the demo SAE's evidence; probes are measured by a look-up table
of its tokens, so that no model runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scripted import Scripted

from sagescope.experiments import Journal, explain
from sagescope.experiments.features import draw
from sagescope.experiments.jobs import Job
from sagescope.sae.loading import pretrained_names
from sagescope.sae.model_source import ModelSource
from sagescope.sae.tokens import TokenActivations

DELAY = 2.0
#: The evidence that comes with the demo's SAE: so many tokens, and the features of these draws.
TOKENS, DRAWS, A_DRAW = 250_000, 4, 16


class LookupSource:
    """The demo's evidence; a text's activations are the mean ones of its tokens there."""

    def __init__(self) -> None:
        name = pretrained_names()[0]
        self._real = ModelSource.load("smollm2-135m-instruct", name, tokens=TOKENS)
        self.subject, self.sae = self._real.subject, self._real.sae
        self.n_features, self.key = self._real.n_features, self._real.key
        self.evidence = self._real.evidence
        self.seconds = 0.0
        self.tokenize = self._real.tokenize
        self._tables: dict[int, dict[str, float]] = {}
        split = self.evidence.reader("explainer").split("explain")
        self._seen = np.bincount(split.tokens.ids, minlength=len(split.tokens.vocab))

    def chosen(self, n: int) -> list[int]:
        """The first n features of the draws whose evidence comes along."""
        drawn = [f for seed in range(DRAWS) for f in draw(self.evidence, A_DRAW, seed)]
        self.cover(drawn)
        return drawn[:n]

    def cover(self, features: Any) -> None:
        self._real.cover(features)
        self.evidence = self._real.evidence

    async def activations(self, feature: int, texts: Any) -> list[TokenActivations]:
        began = time.thread_time()
        table = self._table(feature)
        rows = self.tokenize(texts)
        found = [
            TokenActivations(row, np.array([table.get(t, 0.0) for t in row], np.float32))
            for row in rows
        ]
        self.seconds += time.thread_time() - began
        return found

    def _table(self, feature: int) -> dict[str, float]:
        if feature not in self._tables:
            split = self.evidence.reader("explainer").split("explain")
            values = split.activations(feature)
            mass = np.bincount(split.tokens.ids, weights=values, minlength=len(self._seen))
            places = np.flatnonzero(mass)
            level = mass[places] / self._seen[places]
            names = [split.tokens.vocab[i] for i in places]
            self._tables[feature] = dict(zip(names, level.tolist(), strict=True))
        return self._tables[feature]

    def count(self, text: str) -> int:
        """Its tokens."""
        return len(self.tokenize([text])[0])


def run(source: LookupSource, features: list[int], mind: str, journal: Any, **how: Any) -> Any:
    """Explain, without scores, and check that all went well."""
    results = explain(source, features, mind=mind, score=False, journal=journal, run="x", **how)
    assert {result.status for result in results} <= {"concluded", "out_of_budget"}, results
    return results


def speed(source: LookupSource, features: list[int]) -> dict[str, float]:
    with Scripted() as mind, Journal.open(None) as journal:
        few = features[:4]
        began = time.perf_counter()
        run(source, few, mind, journal, concurrency=1)
        own = (time.perf_counter() - began) / len(few)
    with tempfile.TemporaryDirectory() as folder, Scripted(DELAY) as mind:
        began = time.perf_counter()
        results = run(source, features, mind, Path(folder) / "j.db")
        together = time.perf_counter() - began
    calls = sum(result.cost.calls for result in results)
    alone = calls * DELAY + own * len(features)
    return {
        "features": len(features),
        "features at once": Job(features, mind="http:").at_once,
        "calls": calls,
        "all at once, s": together,
        "one after another (computed), s": alone,
        "times as fast": alone / together,
    }


def cost(source: LookupSource, features: list[int]) -> dict[str, float]:
    def spent(some: list[int]) -> float:
        with tempfile.TemporaryDirectory() as folder, Scripted() as mind:
            before, measured = time.process_time(), source.seconds
            run(source, some, mind, Path(folder) / "j.db")
            return time.process_time() - before - (source.seconds - measured)

    first = spent(features[:1])
    rest = spent(features[1:])
    return {
        "first feature, with all that comes once, ms": 1000 * first,
        "each of the others, ms": 1000 * rest / (len(features) - 1),
        "all in one, ms a feature": 1000 * (first + rest) / len(features),
    }


def memory(features: int) -> dict[str, float]:
    peaks = {}
    for n in (features // 4, features):
        command = [sys.executable, __file__, "--child", str(n)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        peaks[n] = float(done.stdout.splitlines()[-1])
    small, large = peaks
    figures = {f"peak with {n} features, MB": peak for n, peak in peaks.items()}
    return {**figures, "MB for each feature more": (peaks[large] - peaks[small]) / (large - small)}


def _peak(n: int) -> float:
    source = LookupSource()
    with tempfile.TemporaryDirectory() as folder, Scripted(0.5) as mind:
        run(source, source.chosen(n), mind, Path(folder) / "j.db")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def sizes(source: LookupSource, features: list[int]) -> dict[str, float]:
    with Scripted() as mind, Journal.open(None) as journal:
        run(source, features, mind, journal)
        calls = [
            [_size(source, event.payload) for event in journal.run("x").events(feature, ["call"])]
            for feature in features
        ]
    tokens = [sum(map(sum, one)) for one in calls]

    def typical(values: Any) -> float:
        return statistics.median(values)

    return {
        "calls a feature": typical(map(len, calls)),
        "calls, at most": max(map(len, calls)),
        "tokens a feature": typical(tokens),
        "tokens, at most": max(tokens),
        "first prompt": typical(one[0][0] for one in calls),
        "first reply": typical(one[0][1] for one in calls),
        "later calls": typical(len(one) - 1 for one in calls),
        "later prompts": typical(sum(asked for asked, _ in one[1:]) for one in calls),
        "later replies": typical(sum(said for _, said in one[1:]) for one in calls),
    }


def _size(source: LookupSource, call: dict[str, Any]) -> tuple[int, int]:
    request = call["request"]
    texts = [message["text"] for message in request["messages"]]
    asked = sum(map(source.count, [*texts, json.dumps(request["reply_schema"]["json_schema"])]))
    return asked, source.count(call["reply"]["text"])


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--features", type=int, default=DRAWS * A_DRAW)
    options.add_argument("--only", default="speed,cost,memory,sizes")
    options.add_argument("--json", action="store_true")
    options.add_argument("--child", type=int)
    asked = options.parse_args()
    if asked.child:
        print(_peak(asked.child))
        return
    parts = asked.only.split(",")
    figures: dict[str, dict[str, float]] = {}
    source = LookupSource()
    features = source.chosen(asked.features)
    for part in parts:
        if part == "memory":
            figures[part] = memory(asked.features)
        else:
            figures[part] = {"speed": speed, "cost": cost, "sizes": sizes}[part](source, features)
        if not asked.json:
            print(part)
            for name, value in figures[part].items():
                print(f"  {name:45} {value:12,.1f}", flush=True)
    if asked.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
