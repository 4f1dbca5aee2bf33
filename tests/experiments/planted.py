"""Planted features: a source whose features are known, and as a script, a job that explains them.

    python planted.py JOURNAL RUN [PAUSE]

PAUSE: seconds that each measurement takes, so that there is time to kill the job in.
"""

import asyncio
import random
import sys
from pathlib import Path

from sagescope.experiments import explain
from sagescope.sae.source import FunctionSource

WORDS = [
    "the",
    "bank",
    "river",
    "money",
    "tree",
    "green",
    "he",
    "she",
    "wrote",
    "nothing",
    "saw",
    "blue",
    "car",
    "12",
    "99",
    "house",
]
#: What each planted feature fires on.
TRIGGERS = [{"bank"}, {"green", "blue"}, {"12", "99"}, {"river"}, {"he", "she"}]


def texts(n: int = 200, seed: int = 0) -> list[str]:
    """Random sentences over WORDS."""
    draw = random.Random(seed)
    lengths = [draw.randint(8, 25) for _ in range(n)]
    return [" ".join(draw.choice(WORDS) for _ in range(length)) + "." for length in lengths]


def fires(text: str, feature: int) -> list[tuple[str, float]]:
    """3 on a trigger of the feature, and a little more the further on in the text."""
    tokens = text.replace(".", " .").split()
    return [
        (token, 3 + place / 7 if token in TRIGGERS[feature] else 0.0)
        for place, token in enumerate(tokens)
    ]


class PlantedSource(FunctionSource):
    """The planted features. measured: every (feature, texts) that was asked for, in order."""

    def __init__(self, pause: float = 0.0, fn=fires, corpus=None):
        super().__init__(fn, len(TRIGGERS), corpus or texts(), name="planted")
        self.pause = pause
        self.measured = []

    async def activations(self, feature, texts):
        self.measured.append((feature, tuple(texts)))
        await asyncio.sleep(self.pause)
        return await super().activations(feature, texts)


if __name__ == "__main__":
    journal, run, *pause = sys.argv[1:]
    source = PlantedSource(float(pause[0]) if pause else 0.0)
    explain(source, range(len(TRIGGERS)), journal=Path(journal), run=run, concurrency=2)
