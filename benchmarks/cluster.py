"""Two workers of a local Ray against one process, on the same features and the same text.

    python benchmarks/cluster.py [--features 8] [--tokens 0]

features: how many of those whose evidence comes with the demo's SAE are explained by the rule miner
and scored, without controls: by one process with one thread, and by two workers with one core each. The
results must be equal. The first two go alone before, so that what comes once (starting Ray, opening the
model) can be subtracted. Then what a run on a large cluster is reckoned from: how fast one driver plans
shards (tokens, splits, near-duplicates), and how many bytes the journal takes for a feature. tokens:
collect so many by both, and compare the stores byte for byte; 0 leaves that out.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

os.environ["OMP_NUM_THREADS"] = "1"  # as Ray gives a worker that has one core

from sagescope.experiments import Journal, explain
from sagescope.experiments.cluster import Cluster
from sagescope.experiments.features import draw
from sagescope.sae.collect import Activations, Rows, collect
from sagescope.sae.corpus import load_corpus
from sagescope.sae.loading import pretrained_names
from sagescope.sae.model_source import DEFAULT_CORPUS, DEFAULT_TOKENS, ModelSource

#: The evidence that comes with the demo's SAE.
A_DRAW, DRAWS = 16, 4


def opened(progress: bool = False, root: Path | None = None, tokens: int = 0) -> ModelSource:
    name = pretrained_names()[0]
    what = "smollm2-135m-instruct", name, DEFAULT_CORPUS, tokens or DEFAULT_TOKENS
    return ModelSource.load(*what, root=root, progress=progress)


def explained(source: ModelSource, features: list[int], cluster: Cluster | None) -> dict:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j.db"
        with Journal.open(path) as journal:
            found = explain(
                source,
                features,
                run="x",
                journal=journal,
                controls=False,
                cluster=cluster,
            )
            rows = [json.loads(result.as_json()) for result in found]
        size = path.stat().st_size
    for row in rows:
        del row["cost"]["seconds"]
    return {
        "rows": rows,
        "seconds": time.perf_counter() - began,
        "journal": size / len(features),
    }


def collected(tokens: int, cluster: Cluster | None, root: Path) -> float:
    source = opened(tokens=tokens, root=root)
    began = time.perf_counter()
    if cluster is None:
        source.cover(range(source.n_features))
    else:
        with cluster.opened() as hall, hall.reading(source):
            source.cover(range(source.n_features))
    return time.perf_counter() - began


class Silent:
    """Readers that read nothing: what remains is the driver's part (see `sae.collect.Readers`)."""

    ahead = 0

    def __init__(self, width: int):
        self.empty = {
            "indptr": np.zeros(width + 1, np.int64),
            "positions": np.empty(0, np.uint32),
            "values": np.empty(0, np.float32),
        }

    def begin(self, rows: Rows, advance: Callable[[int], None]) -> Callable[[], Activations]:
        return lambda: dict.fromkeys(rows, self.empty)


def planning(short: int = 50_000, long: int = 250_000) -> float:
    """Tokens that one driver reads, splits, tokenizes, cuts and writes in a second of CPU time."""
    reader, corpus = (source := opened()).reader, load_corpus(DEFAULT_CORPUS)
    taken = []
    for tokens in (short, long):
        with tempfile.TemporaryDirectory() as root:
            began = time.process_time()
            collect(reader, corpus, tokens, Path(root), False, readers=Silent(source.n_features))
            taken.append(time.process_time() - began)
    return (long - short) / (taken[1] - taken[0])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--features", type=int, default=8)
    options.add_argument("--tokens", type=int, default=0)
    asked = options.parse_args()

    with opened() as source:
        drawn = [f for seed in range(DRAWS) for f in draw(source.evidence, A_DRAW, seed)]
        features = drawn[: asked.features]
        source.cover(drawn)
        explained(source, drawn[-1:], None)  # what comes once in a process
        one, two = (
            [explained(source, some, cluster) for some in (features[:2], features)]
            for cluster in (None, Cluster(opened, workers=2))
        )
    equal = all(here["rows"] == there["rows"] for here, there in zip(one, two, strict=True))
    for what, runs in (("one process", one), ("two workers", two)):
        shown = ", ".join(f"{len(run['rows'])} features {run['seconds']:.1f} s" for run in runs)
        print(f"{what}: {shown}")
    more = [long["seconds"] - short["seconds"] for short, long in (one, two)]
    print(
        f"the features that came to the first two, without what comes once (Ray, opening the model): "
        f"two workers {more[0] / more[1]:.2f} × as fast; {'equal' if equal else 'NOT EQUAL'}"
    )
    one = one[1]
    print(f"journal: {one['journal'] / 1000:.0f} kB a feature")
    print(f"planning of shards: {planning():,.0f} tokens/s")
    if asked.tokens:
        compare_collections(asked.tokens)
    if not equal:
        raise SystemExit(1)


def compare_collections(tokens: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        roots = [Path(folder) / name for name in ("one", "two")]
        make = partial(opened, tokens=tokens)
        one = collected(tokens, None, roots[0])
        two = collected(tokens, Cluster(make, workers=2), roots[1])
        stores = [
            {
                path.name: path.read_bytes()
                for path in root.rglob("*")
                if path.suffix != ".lock" and path.is_file()
            }
            for root in roots
        ]
        same = stores[0] == stores[1]
    print(
        f"{tokens:,} tokens collected by one process: {one:.1f} s; by two workers: {two:.1f} s, "
        f"{one / two:.2f} × as fast; {'equal, byte for byte' if same else 'NOT EQUAL'}"
    )
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
