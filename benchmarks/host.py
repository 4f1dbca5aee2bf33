"""What the activation host gains when many explainers ask at once.

    python benchmarks/host.py [EXPLAINERS] [SAE] [--json]

Each of EXPLAINERS explainers (default 32) runs 8 rounds of 6 probe texts of some 8 to 40 tokens and
waits for each round before the next, as the loop does; every text is another one. Measured, in
probe texts a second: all explainers at once, one after another, and all at once asking for other
features of texts already run. SAE: see benchmarks/collection.py.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time

from sagescope.sae.corpus import load_corpus
from sagescope.sae.encoder import LatentReader
from sagescope.sae.host import ActivationHost
from sagescope.sae.loading import load_sae, pretrained_names
from sagescope.sae.subject import SubjectModel

SUBJECT = "smollm2-135m-instruct"
ROUNDS, TEXTS = 8, 6


def main(explainers: int, sae_name: str) -> dict[str, float]:
    """Every figure, by name."""
    reader = LatentReader(SubjectModel.load(SUBJECT), load_sae(sae_name))
    probes = _probes(2 * explainers * ROUNDS * TEXTS)
    half = len(probes) // 2
    with ActivationHost(reader) as host:
        asyncio.run(host.activations(0, ["a text that warms up the model"]))
        before = host.passes
        alone = _rate(host, probes[:half], explainers, at_once=False)
        passes_alone = host.passes - before
        before = host.passes
        together = _rate(host, probes[half:], explainers, at_once=True)
        passes_together = host.passes - before
        again = _rate(host, probes[half:], explainers, at_once=True)
    return {
        "explainers": explainers,
        "probe texts": half,
        "one after another, texts/s": alone,
        "all at once, texts/s": together,
        "all at once / one after another": together / alone,
        "passes one after another": passes_alone,
        "passes all at once": passes_together,
        "texts already run, texts/s": again,
    }


def _probes(n: int) -> list[str]:
    """Stretches of held-out English, all different."""
    draw = random.Random(0)
    words = " ".join(d.text for d, _ in zip(load_corpus("builtin:news"), range(400), strict=False))
    parts = words.split()
    starts = [draw.randrange(len(parts) - 40) for _ in range(n)]
    return [
        f"{number} " + " ".join(parts[start : start + draw.randint(5, 28)])
        for number, start in enumerate(starts)
    ]


def _rate(host: ActivationHost, probes: list[str], explainers: int, at_once: bool) -> float:
    share = len(probes) // explainers

    async def explain(number: int) -> None:
        own = probes[number * share : (number + 1) * share]
        for first in range(0, len(own), TEXTS):
            await host.activations(number, own[first : first + TEXTS])

    async def all_at_once() -> None:
        await asyncio.gather(*(explain(number) for number in range(explainers)))

    async def one_after_another() -> None:
        for number in range(explainers):
            await explain(number)

    start = time.perf_counter()
    asyncio.run(all_at_once() if at_once else one_after_another())
    return len(probes) / (time.perf_counter() - start)


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    numbers = [int(word) for word in words if word[0].isdigit()]
    names = [word for word in words if not word[0].isdigit()]
    figures = main((numbers or [32])[0], (names or pretrained_names())[0])
    if "--json" in sys.argv:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:40} {value:12,.1f}")
