"""SAEBench's form of detection: fourteen contexts, and the share that is sorted rightly.

SAEBench's "autointerp" (Karvonen et al. 2025, "SAEBench"; its form and numbers are those of its
AutoInterpEvalConfig): 2 contexts with the highest activation, 2 drawn with weights in proportion to
activation from the rest below or at those, and 10 drawn anywhere; each of 10 tokens on both sides of the one that it
was drawn for. A context is active where some token of it has more than ACTIVE of the highest
activation shown in any of the top ones.

    saebench_autointerp = contexts that are active and said so, or are not and said not / 14

Ten of the fourteen answers are right for "never fires", so that .71 means nothing: hence balanced accuracy
of the same contexts beside it (`saebench_balanced`). Here every text is from the `score` split,
a random context is active where it is measured to be (SAEBench takes every one for silent), overlapping
contexts are not drawn twice, and each context gets a grade in place of one list for all.
"""

from __future__ import annotations

import numpy as np

from .bench import Marks, Target, scorer
from .classification import NO_UNIT, Answers, accuracy, balanced_accuracy, items_of
from .contexts import Drawn, mixed
from .score import Score
from .simulator import Context, Simulator

NAMES = ("saebench_autointerp", "saebench_balanced")
TOP, WEIGHTED, ANYWHERE = 2, 2, 10
#: Tokens on each side of the one that a context is drawn for.
BUFFER = 10
#: Share of the highest activation above which a token is active.
ACTIVE = 0.01


@scorer("saebench", NAMES, default=False, blind=dict.fromkeys(NAMES, ("extra",)))
async def saebench(target: Target, simulator: Simulator) -> Marks:
    """The scores of this module; each context as an item."""
    drawn = mixed(tuple(_drawn(target)), target.seed)
    highest = max((one.peak for one in drawn if one.kind == "top"), default=0.0)
    fires = [one.peak > ACTIVE * highest for one in drawn]
    if highest <= 0 or len(drawn) < TOP + WEIGHTED + ANYWHERE:
        reason = "the score split has no 14 such contexts"
        return Marks({name: Score.undefined(reason) for name in NAMES})
    grades = await simulator.grade([one.context for one in drawn])
    asked = Answers.of(drawn, fires, grades, simulator)
    return Marks(
        {
            "saebench_autointerp": _accuracy(asked, target.seed),
            "saebench_balanced": balanced_accuracy(asked, target.seed),
        },
        {
            "items": items_of("saebench", target, drawn, asked),
            "failed": {"saebench": asked.share_failed},
        },
    )


def _accuracy(asked: Answers, seed: int) -> Score:
    if reason := asked.lacks():
        return Score.undefined(reason, asked.failed)
    if asked.fires_from is None:
        return Score.undefined(NO_UNIT, asked.failed)
    own = asked.answered
    return accuracy((own.said == own.fires).astype(float), own.documents, seed, asked.failed)


def _drawn(target: Target) -> list[Drawn]:
    """The fourteen, fewer where the split has no more."""
    values = np.maximum(target.held_out.activations(target.feature), 0).astype(np.float64)
    draw = np.random.default_rng([target.seed, target.feature])
    free = np.ones(len(values), bool)
    found: list[Drawn] = []

    def take(kind: str, token: int) -> None:
        one = _cut(target, kind, token, values)
        found.append(one)
        # No later context may overlap this one.
        free[max(0, one.start - BUFFER) : one.start + len(one.activations) + BUFFER] = False

    def drawn_by(weights: np.ndarray) -> int | None:
        total = weights.sum()
        return int(draw.choice(len(weights), p=weights / total)) if total > 0 else None

    for _ in range(TOP):
        place = int(np.argmax(values * free))
        if values[place] * free[place] > 0:
            take("top", place)
    below = min((one.peak for one in found), default=0.0)
    for _ in range(WEIGHTED):
        place = drawn_by(values * free * (values <= below))
        if place is not None:
            take("importance-weighted", place)
    for _ in range(ANYWHERE):
        place = drawn_by(free.astype(np.float64))
        if place is not None:
            take("anywhere", place)
    return found


def _cut(target: Target, kind: str, token: int, values: np.ndarray) -> Drawn:
    table = target.held_out.tokens
    window = int(table.window_of[token])
    low, high = (int(edge) for edge in table.starts[window : window + 2])
    start, end = max(low, token - BUFFER), min(high, token + BUFFER + 1)
    context = Context(tuple(table.window(window)), start - low, end - low)
    document = int(table.documents[window])
    return Drawn(kind, context, start, values[start:end], token - low, document)
