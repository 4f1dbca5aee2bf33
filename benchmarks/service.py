"""What a service gains when many clients ask at once, and what HTTP costs one that asks alone.

    python benchmarks/service.py [CLIENTS] [--requests N] [--subject S] [--sae SAE] [--json]

A real server (`sagescope serve`) on loopback runs the demo's model and SAE. Each of CLIENTS clients
(default 32) sends N requests (default 8) of one text, mostly of 5 to 12 tokens, for one feature, each
after the answer to the one before. Measured, in requests a second: all clients at once, and one
client with as many requests, one after another. Then one text at a time goes to the service and to
the same model in a process of its own, in turns: the ratio of the medians is what a single request
pays. That of processor time, of server and client together, says the same where the machine has
other work too, if OMP_NUM_THREADS is 1. Every text is another one. All figures are of one run; the ratios are what to compare.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from sagescope.sae.corpus import load_corpus
from sagescope.sae.loading import pretrained_names
from sagescope.sae.model_source import ModelSource

FEATURE, SINGLE = 3, 30


def main(clients: int, requests: int, subject: str, sae: str) -> dict[str, float]:
    """Every figure, by name."""
    texts = _texts(2 * clients * requests + 2 * SINGLE + 40)
    with _server(subject, sae) as url:
        asyncio.run(_each(url, [texts.take(20)]))  # warms up
        alone = asyncio.run(_rate(url, [texts.take(clients * requests)]))
        before = _metric(url, "sagescope_passes_total")
        together = asyncio.run(_rate(url, [texts.take(requests) for _ in range(clients)]))
        passes = _metric(url, "sagescope_passes_total") - before
        with _in_process(subject, sae) as local:
            for text in texts.take(20):
                local(text)
            there, here = asyncio.run(_in_turns(url, local, texts.take(SINGLE)))
    return {
        "clients": clients,
        "requests of each": requests,
        "one after another, requests/s": alone,
        "all at once, requests/s": together,
        "all at once / one after another": together / alone,
        "requests to a pass, all at once": clients * requests / passes,
        "a single request, service, ms": 1000 * there.seconds,
        "a single request, in process, ms": 1000 * here.seconds,
        "service / in process": there.seconds / here.seconds,
        "processor time, service and client, ms": 1000 * there.processor,
        "processor time, in process, ms": 1000 * here.processor,
        "processor time, service / in process": there.processor / here.processor,
    }


@dataclass(frozen=True)
class Single:
    """What one text takes: seconds that pass, the median, and of a processor, the mean."""

    seconds: float
    processor: float


class _Texts:
    def __init__(self, texts: list[str]):
        self._left = iter(texts)

    def take(self, n: int) -> list[str]:
        return [next(self._left) for _ in range(n)]


def _texts(n: int) -> _Texts:
    """Short stretches of held-out English, all different."""
    draw = random.Random(0)
    parts = " ".join(
        document.text for document, _ in zip(load_corpus("builtin:news"), range(400), strict=False)
    ).split()
    starts = [draw.randrange(len(parts) - 10) for _ in range(n)]
    return _Texts(
        [
            f"{number} " + " ".join(parts[start : start + draw.randint(3, 7)])
            for number, start in enumerate(starts)
        ]
    )


@contextmanager
def _server(subject: str, sae: str) -> Iterator[str]:
    command = [sys.executable, "-m", "sagescope.experiments.cli", "serve", "--port", "0"]
    command += ["--subject", subject, "--sae", sae]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            found = re.search(r"http://\S+:\d+", server.stderr.readline())
            assert found, "the server did not start"
            while not _is_ready(found.group()):
                assert server.poll() is None, "the server ended"
                time.sleep(0.2)
            yield found.group()
        finally:
            server.send_signal(signal.SIGTERM)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False


def _metric(url: str, name: str) -> float:
    figures = httpx.get(f"{url}/metrics", trust_env=False).text
    return float(re.search(rf"^{name} (\S+)", figures, re.MULTILINE).group(1))  # pyright: ignore[reportOptionalMemberAccess]


async def _rate(url: str, by_client: list[list[str]]) -> float:
    start = time.perf_counter()
    await _each(url, by_client)
    return sum(map(len, by_client)) / (time.perf_counter() - start)


async def _each(url: str, by_client: list[list[str]]) -> None:
    limits = httpx.Limits(max_connections=len(by_client))
    async with httpx.AsyncClient(base_url=url, limits=limits, trust_env=False, timeout=120) as http:

        async def client(number: int, texts: list[str]) -> None:
            for text in texts:
                await _ask(http, text, f"{number}")

        await asyncio.gather(*(client(*one) for one in enumerate(by_client)))


async def _ask(http: httpx.AsyncClient, text: str, client: str) -> None:
    answer = await http.post(
        "/v1/activations",
        json={"texts": [text], "features": [FEATURE]},
        headers={"x-sagescope-client": client},
    )
    answer.raise_for_status()


async def _in_turns(
    url: str, local: Callable[[str], tuple[float, float]], texts: list[str]
) -> tuple[Single, Single]:
    """What a text takes through the service, and what it takes in process."""
    there, here, ours = [], [], 0.0
    before = _metric(url, "process_cpu_seconds_total")
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=120) as http:
        for text in texts:
            start, began = time.perf_counter(), time.process_time()
            await _ask(http, text, "single")
            there.append(time.perf_counter() - start)
            ours += time.process_time() - began
            here.append(local(text))
    theirs = _metric(url, "process_cpu_seconds_total") - before
    seconds, processor = zip(*here, strict=True)
    return (
        Single(statistics.median(there), (ours + theirs) / len(texts)),
        Single(statistics.median(seconds), statistics.mean(processor)),
    )


@contextmanager
def _in_process(subject: str, sae: str) -> Iterator[Callable[[str], tuple[float, float]]]:
    """Runs a text in a process of its own, whose threads do not compete with a client's.

    Gives seconds that passed there, and seconds of a processor.
    """
    command = [sys.executable, __file__, "--in-process", "--subject", subject, "--sae", sae]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asks, answers = process.stdin, process.stdout

        def ask(text: str) -> tuple[float, float]:
            asks.write(json.dumps(text) + "\n")
            asks.flush()
            seconds, processor = json.loads(answers.readline())
            return seconds, processor

        yield ask
        asks.close()


async def _answer(subject: str, sae: str) -> None:
    """The other side of `_in_process`."""
    with ModelSource.load(subject, sae) as source:
        for line in sys.stdin:
            start, began = time.perf_counter(), time.process_time()
            await source.activations(FEATURE, [json.loads(line)])
            print(
                json.dumps([time.perf_counter() - start, time.process_time() - began]), flush=True
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("clients", nargs="?", type=int, default=32)
    parser.add_argument("--requests", type=int, default=8)
    parser.add_argument("--subject", default="smollm2-135m-instruct")
    parser.add_argument("--sae", default=(pretrained_names() or [""])[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.in_process:
        asyncio.run(_answer(asked.subject, asked.sae))
        sys.exit()
    figures = main(asked.clients, asked.requests, asked.subject, asked.sae)
    if asked.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:40} {value:12,.2f}")
