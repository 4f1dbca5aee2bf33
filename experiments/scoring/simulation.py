"""Simulation: the explanation says, token by token, how contexts will act (Bills et al. 2023).

Over the contexts of the mixture (see `sae.mixture`), each shown by itself. p: predicted, a:
measured activation of a token.

| score | formula | source |
|---|---|---|
| simulation_pearson | corr(p, a) over the tokens of all contexts together | Bills et al. 2023; SAGE, pooled |
| simulation_pearson_by_example | mean over contexts of corr(p, a) within one | SAGE, by example |

By example, contexts on whose tokens the feature does not vary have no correlation and are left
out, as their number in `more` says; a constant prediction for one that varies has no skill, and
counts as 0. So silent contexts count only when pooled: read the two together. Bills et al. let
the simulator give a distribution by its log-probabilities; here it gives a number for each token.

Intervals resample documents, by example contexts. A context that the simulator failed on is a
failed item and no zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .bench import Marks, Target, scorer
from .excerpts import evenly
from .metrics import pearson
from .score import Score, mean_with_interval
from .simulator import Context, Simulator

NAMES = ("simulation_pearson", "simulation_pearson_by_example")


@dataclass(frozen=True)
class Simulated:
    """Predictions beside measurements, token by token.

    predicted, measured: float64 [n], in the SAE's units. documents: int [n]. lengths: of each
    context that was simulated, in the order of the tokens. failed: contexts that were not.
    """

    predicted: np.ndarray
    measured: np.ndarray
    documents: np.ndarray
    lengths: Sequence[int]
    failed: int

    @property
    def nothing(self) -> Score:
        """The score where no context could be simulated."""
        return Score.undefined(f"none of {self.failed} contexts could be simulated", self.failed)

    def marks(self, scores: dict[str, Score], **more: int) -> Marks:
        """Scores that rest on this, each with how many contexts failed."""
        tried = len(self.lengths) + self.failed
        return Marks(
            {name: one.model_copy(update={"failed": self.failed}) for name, one in scores.items()},
            {
                "failed": {name: self.failed / tried for name in scores} if tried else {},
                "more": {name: more for name in scores} if more else {},
            },
        )


@scorer("simulation", NAMES, default=False)
async def simulation(target: Target, simulator: Simulator) -> Marks:
    """The two scores of this module's table."""
    if reason := target.silent:
        return Marks({name: Score.undefined(reason) for name in NAMES})
    found = await simulate(target, simulator, target.mixture.stretches)
    if not len(found.predicted):
        return found.marks(dict.fromkeys(NAMES, found.nothing))
    by_example = [*_by_example(found)]
    scores = {
        "simulation_pearson": pearson(
            found.predicted, found.measured, found.documents, target.seed
        ),
        "simulation_pearson_by_example": mean_with_interval(by_example, seed=target.seed),
    }
    return found.marks(scores, contexts=len(by_example), silent=by_example.count(None))


async def simulate(
    target: Target, simulator: Simulator, stretches: Sequence[np.ndarray]
) -> Simulated:
    """What a simulator predicts for stretches of the `score` split.

    stretches: int64, the places of each one's tokens in the split, consecutive and of one window.
    """
    table, unit = target.held_out.tokens, target.stats.typical_max
    fires = [bool(target.fires(target.measured[places]).any()) for places in stretches]
    stretches = [stretches[place] for place in evenly(fires, target.seed)]
    contexts = []
    for places in stretches:
        window = int(table.window_of[places[0]])
        start = int(table.starts[window])
        tokens = tuple(table.window(window))
        contexts.append(Context(tokens, int(places[0]) - start, int(places[-1]) + 1 - start))
    grades = await simulator.simulate(contexts)
    done = [
        (places, np.asarray(levels, np.float64) * unit)
        for places, levels in zip(stretches, grades, strict=True)
        if levels is not None
    ]
    places = np.concatenate([at for at, _ in done]) if done else np.zeros(0, np.int64)
    predicted = np.concatenate([levels for _, levels in done]) if done else np.zeros(0)
    return Simulated(
        predicted,
        target.measured[places],
        table.documents[table.window_of[places]],
        [len(at) for at, _ in done],
        len(stretches) - len(done),
    )


def _by_example(found: Simulated) -> Iterable[float | None]:
    """Each context's own correlation, None where the feature does not vary in it."""
    ends = np.cumsum(found.lengths)
    for end, length in zip(ends, found.lengths, strict=True):
        p, a = found.predicted[end - length : end], found.measured[end - length : end]
        if np.ptp(a) == 0:
            yield None
        elif np.ptp(p) == 0:
            yield 0.0
        else:
            yield float(np.corrcoef(p, a)[0, 1])
