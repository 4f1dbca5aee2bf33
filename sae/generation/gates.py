"""Gates of steering: whether it begins, and how hard it pushes, from the feature's own activations.

After the gating of GSAE (arXiv 2512.06655), taken as domain-neutral: its thresholds are kept, its random
forest on labelled prompts is replaced by `Presence`, which needs no labels. Nothing here judges what
a text says, and nothing is claimed about safety.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

#: The input gate opens above the first and closes below the second; between, it stays as it is.
OPENS, CLOSES = 0.75, 0.65
#: How present a feature is at most where it is not active at all.
SILENT = 0.05
#: A step of the continuation gate counts upward from the first on, downward up to the second.
HIGH, LOW = 0.9, 0.7
#: So many steps in a row raise it by one state, and so many lower it.
UP, DOWN = 6, 4
#: Tokens of a step.
EVERY = 4

State = Literal["NORMAL", "ELEVATED", "LOCKDOWN"]
STATES: tuple[State, ...] = ("NORMAL", "ELEVATED", "LOCKDOWN")
#: What the strength is multiplied with in each state.
ALPHA: dict[State, float] = {"NORMAL": 1.0, "ELEVATED": 1.5, "LOCKDOWN": 2.0}


@dataclass(frozen=True)
class Presence:
    """How present a feature is in a stretch of text, from 0 to 1, by its highest activation there.

    A logistic curve through two quantiles of its own evidence on the `select` split: .5 at `half`, from
    where a token counts as firing, and .9 at `nine`, the median of the peaks of windows that fire. Below
    `half` it is steeper where that is needed for SILENT at 0: else the absence of a feature that
    counts as firing early would never be evidence enough. It is a scale, not a probability of
    anything in the world. split: where these were read.
    """

    half: float
    nine: float
    split: str = "select"

    @classmethod
    def of(cls, fires_at: float, peaks: Sequence[float], split: str = "select") -> Presence:
        """From the feature's threshold, and its peaks in windows that reach it (at least one)."""
        ordered = sorted(peaks)
        middle = len(ordered) // 2
        median = (
            ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
        )
        # All peaks may be alike: the curve is then as steep as numbers allow.
        return cls(fires_at, max(median, fires_at * (1 + 1e-6)), split)

    def __call__(self, activation: float) -> float:
        """The presence at an activation."""
        slope = math.log(9) / (self.nine - self.half)
        if activation < self.half:
            slope = max(slope, math.log(1 / SILENT - 1) / self.half)
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, slope * (activation - self.half)))))


@dataclass(frozen=True)
class InputGate:
    """Whether steering is on. It begins closed."""

    is_open: bool = False

    def after(self, presence: float) -> InputGate:
        """The gate once it has seen a text."""
        if presence > OPENS:
            return InputGate(True)
        return InputGate(False) if presence < CLOSES else self


@dataclass(frozen=True)
class ContinuationGate:
    """How hard steering pushes, with hysteresis.

    high, low: steps in a row that counted upward and downward. A step of neither kind begins both
    counts anew, and so does a change of state.
    """

    state: State = "NORMAL"
    high: int = 0
    low: int = 0

    @property
    def alpha(self) -> float:
        """What the strength is multiplied with."""
        return ALPHA[self.state]

    def after(self, evidence: float) -> ContinuationGate:
        """The gate after one more step; evidence from 0 to 1 that steering has not done its work."""
        high = self.high + 1 if evidence >= HIGH else 0
        low = self.low + 1 if evidence <= LOW else 0
        place = STATES.index(self.state)
        if high == UP:
            return ContinuationGate(STATES[min(place + 1, len(STATES) - 1)])
        if low == DOWN:
            return ContinuationGate(STATES[max(place - 1, 0)])
        return ContinuationGate(self.state, high, low)
