"""What steering a feature does to what the model writes, beside the difference of means and chance.

    python benchmarks/steering.py [--features N] [--seed S] [--strength X] [--tokens N] [--sae SAE] [--json]

N features (default 16) of an SAE (default: the one that comes with Sagescope) are drawn as the demo draws
its own. The model goes on from each of three prompts, which were not looked at
before: without steering, along the feature's direction, along the difference of means and along a random
direction, all with the feature's norm. For each of the four are printed, over features (means over
prompts first; 95 % bootstrap intervals, features resampled): the feature's highest activation on the
written text, read again without steering, in typical maxima; KL(steered ‖ unsteered) a token, in nats; and
how often a text fires the feature at all. What a text says is judged by nobody.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

import numpy as np

from sagescope.experiments.cli.opening import default_sae
from sagescope.experiments.features import draw
from sagescope.experiments.scoring.score import interval
from sagescope.sae.errors import SagescopeError
from sagescope.sae.generation.texts import KINDS, Order, generation_of
from sagescope.sae.model_source import ModelSource

PROMPTS = ("It was late in the evening when", "The new report says that", "I asked her about the")
FIGURES = ("highest activation", "KL", "fires")


def main() -> None:
    asked = _arguments()
    sae = asked.sae or default_sae()
    with ModelSource.load("smollm2-135m-instruct", sae, tokens=asked.corpus_tokens) as source:
        features = draw(source.evidence, asked.features, asked.seed)
        source.cover(features)
        found = asyncio.run(_measured(source, features, asked))
    for kind in KINDS:
        rows = np.array([found[feature][kind] for feature in features])  # [features, figures]
        row = {"written": kind, "features": len(rows)} | {
            figure: _with_interval(rows[:, place]) for place, figure in enumerate(FIGURES)
        }
        print(json.dumps(row) if asked.json else _line(row), flush=True)


async def _measured(
    source: ModelSource, features: list[int], asked: argparse.Namespace
) -> dict[int, dict[str, np.ndarray]]:
    """Figures of each feature's texts, means over prompts: feature → kind → [figures]."""
    generation, found = generation_of(source), {}
    for feature in features:
        sums = {kind: np.zeros(len(FIGURES)) for kind in KINDS}
        for prompt in PROMPTS:
            order = Order(prompt, strength=asked.strength, tokens=asked.tokens, seed=asked.seed)
            done = await generation.steered(feature, order)
            fires_at = source.evidence.reader("explainer").split("explain").stats(feature).fires_at
            for one in done.texts:
                fires = float(one.maximum >= fires_at)
                sums[one.kind] += np.array([one.maximum / done.unit, one.kl, fires])
        found[feature] = {kind: total / len(PROMPTS) for kind, total in sums.items()}
        print(f"{len(found)} of {len(features)}: feature {feature}", file=sys.stderr, flush=True)
    return found


def _with_interval(values: np.ndarray) -> list[float]:
    """Mean, and the ends of its interval (the mean twice where there is none)."""
    units = np.stack([values, np.ones_like(values)], 1)
    low, high = (
        interval(units, lambda totals: totals[..., 0] / totals[..., 1], 0) or (values.mean(),) * 2
    )
    return [round(float(one), 3) for one in (values.mean(), low, high)]


def _line(row: dict) -> str:
    told = "  ".join("{} {:.2f} ({:.2f} to {:.2f})".format(name, *row[name]) for name in FIGURES)
    return f"{row['written']:20}  n {row['features']}  {told}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--features", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strength", type=float, default=2.0)
    parser.add_argument("--tokens", type=int, default=30)
    parser.add_argument("--corpus-tokens", type=int, default=500_000)
    parser.add_argument("--sae")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except SagescopeError as error:
        sys.exit(f"steering: {error}")
