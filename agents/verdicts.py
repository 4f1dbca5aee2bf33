"""Verdicts: what probes say together of a hypothesis, counted by code and by no mind."""

from __future__ import annotations

from collections.abc import Iterable
from math import comb

from .records import Outcome, Probe, ProbeCounts, Standing

#: Confirmed is what more likely than not agrees this often on both sides.
CONFIRMED = 0.8
LIKELY = 0.5
#: The Beta prior (for, against) of the probes that should fire (True) and of those that should not.
#: Fitted, as WORTH is, to what fresh probes of 118 mined hypotheses measured (`docs/statistics.md`).
PRIOR = {True: (1.2, 0.2), False: (4.0, 0.5)}
#: What a probe of the loop tells of a fresh one, in fresh ones: it shares words and frames with the
#: others, and was chosen because hypotheses disagree on it.
WORTH = 0.5


def counted(trials: Iterable[tuple[Probe, Outcome]]) -> ProbeCounts:
    """What probes say together (rule: see ProbeCounts)."""
    agreed = {True: [0, 0], False: [0, 0]}
    for probe, outcome in trials:
        agreed[probe.fires][0] += outcome.agreed
        agreed[probe.fires][1] += 1
    fires, silent = ((hits, run) for hits, run in agreed.values())
    return ProbeCounts(
        status=_standing(fires, silent),
        fires_as_predicted=fires,
        silent_as_predicted=silent,
        posterior=min(agreement(True, *fires), agreement(False, *silent)),
    )


def agreement(fires: bool, agreed: int, run: int) -> float:
    """Probability that a fresh probe of one side agrees; .5 where none of that side has run.

    fires: which side. agreed, run: of its probes.
    """
    if not run:
        return 0.5
    good, bad = PRIOR[fires]
    return (good + WORTH * agreed) / (good + bad + WORTH * run)


def _standing(fires: tuple[int, int], silent: tuple[int, int]) -> Standing:
    sides = [side for side in (fires, silent) if side[1]]
    if not sides:
        return "untested"
    if any(2 * agreed < run for agreed, run in sides):
        return "refuted"
    # No prior here: the word has to be earned by the hypothesis's own probes.
    likely = len(sides) == 2 and _often(*fires) * _often(*silent) >= LIKELY
    return "confirmed" if likely else "open"


def _often(agreed: int, run: int) -> float:
    """Probability of agreeing at least CONFIRMED of the time: the tail of Beta(1 + agreed, 1 + not)."""
    return sum(
        comb(run + 1, k) * CONFIRMED**k * (1 - CONFIRMED) ** (run + 1 - k)
        for k in range(agreed + 1)
    )
