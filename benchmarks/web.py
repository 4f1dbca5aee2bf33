"""How fast a feature's page is: with 100 features in the journal, and with 10,000.

    python benchmarks/web.py

Makes journals of runs whose features each have 6 hypotheses, 60 probes and 12 exemplars, asks a real
server for pages of features all over them, one after another, and prints the time of the median and
of the slowest in twenty as shares of 150 ms. The first request of all is told apart, since it
compiles the templates.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path

import httpx

from sagescope.agents.records import Conclusion, Explanation, Hypothesis, Outcome, Probe, Verdict
from sagescope.experiments import Journal
from sagescope.experiments.guard import Guard
from sagescope.experiments.web.app import server_of
from sagescope.experiments.web.site import Site

SIZES = (100, 10_000)
AIM = 0.150
REQUESTS = 60
WORDS = [
    "the",
    "next",
    "scene",
    "was",
    "shot",
    "in",
    "a",
    "garden",
    "and",
    "nobody",
    "said",
    "what",
    "it",
    "meant",
    "to",
    "them",
]


def main() -> None:
    """Print the figures."""
    medians = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "journal.db"
            write(path, size)
            first, times = measured(path, size)
            medians[size] = statistics.median(times)
            slow = statistics.quantiles(times, n=20)[-1]
            print(
                f"{size:>6,} features, journal of {path.stat().st_size / 2**20:,.0f} MB: feature page "
                f"median {medians[size] / AIM:.2f} × 150 ms, slowest in twenty {slow / AIM:.2f} ×, "
                f"first of all {first / AIM:.2f} ×"
            )
    few, many = (medians[size] for size in SIZES)
    print(f"{SIZES[1]:,} features take {many / few:.2f} times as long as {SIZES[0]}")


def measured(path: Path, size: int) -> tuple[float, list[float]]:
    """Seconds of the first request, and of each that follows."""
    with Journal.open(path) as journal, served(journal) as base, httpx.Client(base_url=base) as ask:
        times = []
        for place in range(REQUESTS + 1):
            feature = place * 7919 % size
            began = time.perf_counter()
            answer = ask.get(f"/runs/many/features/{feature}")
            times.append(time.perf_counter() - began)
            assert answer.status_code == 200, answer.text
            assert "P59" in answer.text
        return times[0], times[1:]


@contextlib.contextmanager
def served(journal: Journal):
    """The address of a server of the page."""

    def no_source():
        raise RuntimeError("a page of the journal needs no model")

    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = server_of(Site(journal, no_source), Guard(token=None, local=True))
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def write(path: Path, size: int) -> None:
    """A journal with a run of so many features."""
    config = {"subject": "model", "sae": "sae", "explainer": "sage", "mind": "rules", "seed": 0}
    with Journal.open(path) as journal, journal.begin("many", {**config, "evidence": {}}) as run:
        run.write("session", {"features": list(range(size)), "versions": {}})
        for start in range(0, size, 200):
            features = range(start, min(size, start + 200))
            run.write_all(
                (kind, payload, feature) for feature in features for kind, payload in EVENTS
            )


def events() -> list[tuple[str, object]]:
    """What the journal has of one feature."""
    tokens = [f" {word}" for word in WORDS * 3]
    values = [float(place % 7 == 3) * (place + 1) for place in range(len(tokens))]
    exemplar = {"tokens": tokens, "activations": values, "peak": 38}
    stats = {"tokens": 250_000, "fired": 900, "density": 0.0036, "maximum": 40.0, "mean": 9.0,
             "quantiles": [1.0] * 6, "typical_max": 38.0, "fires_at": 7.6}  # fmt: skip
    text = "".join(tokens[: len(WORDS)])
    found: list[tuple[str, object]] = [
        ("facts", {"stratum": "lexical", "lookup_pearson": 0.7, "stats": stats}),
        ("exemplars", {"top": [exemplar] * 6, "spread": [exemplar] * 6}),
        ("started", {}),
    ]
    for number in range(6):
        said = f"fires on parts of a film, version {number} " * 4
        found.append(("hypothesis", Hypothesis(id=number, kind="words", text=said).model_dump()))
    for number in range(60):
        short = tokens[: len(WORDS)]
        probe = Probe(id=number, hypothesis=number % 6, purpose="bare", text=text, fires=True)
        outcome = Outcome(
            probe=number, tokens=tuple(short), activations=tuple(values[: len(short)]),
            maximum=11.0, fired=True, agreed=True,
        )  # fmt: skip
        found.append(("probe", probe.model_dump()))
        found.append(
            ("measured", {"text": text, "tokens": short, "activations": [0.0] * len(short)})
        )
        found.append(("outcome", outcome.model_dump()))
    verdicts = tuple(Verdict(hypothesis=number, status="open") for number in range(6))
    found += [("verdict", one.model_dump()) for one in verdicts]
    explanation = Explanation(labels=("parts of a film",), description="fires on parts of a film")
    conclusion = Conclusion(
        status="concluded", explanation=explanation, verdicts=verdicts, spent={"probes": 60}
    )
    found.append(
        ("concluded", {"conclusion": conclusion.model_dump(), "seconds": 9.0, "traceback": None})
    )
    score = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 100}
    names = ("coverage", "recall", "precision", "predictive_pearson", "predictive_auprc")
    bands = [{"quantiles": [0.0, 0.1], "recall": 0.5}]
    for of in ("explanation", "random_explanation", "token_lookup"):
        details = {"items": [], "recall_by_quantile": bands}
        scored = {"of": of, "scorers": ["predictive"], "details": details}
        found.append(("scored", {**scored, "scores": dict.fromkeys(names, score)}))
    return found


EVENTS = events()

if __name__ == "__main__":
    main()
