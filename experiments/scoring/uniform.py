"""Metrics over uniformly sampled text: what a reader meets who picks a token at random.

The mixture of `predictive` holds more firing contexts than text does, on which explanations that
are too broad get off lightly. Here every token of the `score` split counts alike. A simulator that
cannot run over all of it (a language model that reads) simulates WINDOWS random windows.

p: predicted, a: measured activation of a token (its positive part), both in the SAE's units. A
token fires, or is said to, from `fires_at` on. The formulas are those of `metrics`; NeuronEval
(Oikarinen et al. 2025, "Evaluating Neuron Explanations") finds that, of eighteen, these five lose
points both for missing and for extra labels.

| score | formula |
|---|---|
| uniform_pearson | cov(p, a) / √(var(p) var(a)) |
| uniform_cosine | Σ p a / √(Σ p² Σ a²) |
| uniform_auprc | average precision of p for "the token fires" |
| uniform_f1 | 2 TP / (2 TP + FP + FN) |
| uniform_iou | TP / (TP + FP + FN) |

Intervals resample documents. Windows that a simulator failed on are failed items.
"""

from __future__ import annotations

import numpy as np

from ...sae.errors import CannotAnswer
from ...sae.mixture import lots, stretch
from .bench import Marks, Target, scorer
from .metrics import auprc, cosine, f1, iou, pearson
from .score import Score
from .simulation import Simulated, simulate
from .simulator import Simulator

NAMES = ("uniform_pearson", "uniform_cosine", "uniform_auprc", "uniform_f1", "uniform_iou")
#: Random windows for simulators that read, and at most this many tokens of each.
WINDOWS = 30


@scorer("uniform", NAMES)
async def uniform(target: Target, simulator: Simulator) -> Marks:
    """The five scores of this module's table."""
    if reason := target.silent:
        return Marks({name: Score.undefined(reason) for name in NAMES})
    found = await _everywhere(target, simulator)
    p, a, documents, seed = found.predicted, found.measured, found.documents, target.seed
    if not len(p):
        return found.marks({name: found.nothing for name in NAMES})
    said, fires = target.fires(p), target.fires(a)
    scores = {
        "uniform_pearson": pearson(p, a, documents, seed),
        "uniform_cosine": cosine(p, a, documents, seed),
        "uniform_auprc": auprc(p, fires, documents, seed),
        "uniform_f1": f1(said, fires, documents, seed),
        "uniform_iou": iou(said, fires, documents, seed),
    }
    return found.marks(scores)


async def _everywhere(target: Target, simulator: Simulator) -> Simulated:
    """Predictions for the whole split, or for random windows of it."""
    table = target.held_out.tokens
    try:
        predicted = np.asarray(await simulator.predict(target.text), np.float64)
    except CannotAnswer:
        # Another order than the mixture's, so that not the same windows are drawn.
        lot = lots(table, target.seed + 1)
        windows = np.argsort(lot, kind="stable")[:WINDOWS]
        stretches = [stretch(table, int(w), int(lot[w] >> np.uint64(40))) for w in windows]
        return await simulate(target, simulator, stretches)
    documents = table.documents[table.window_of]
    return Simulated(predicted, target.measured, documents, (), 0)
