"""Calibration: do the loop's posteriors and its word "confirmed" hold on probes it never ran?

For each hypothesis of a run that has a rule and was probed, fresh probes are written from the rule
as the miner writes its own (texts that should fire, near misses, variants), with another seed, and
without any text of the feature's own probes. They run on the feature source like any probe.

| what | how | source |
|---|---|---|
| posterior | the verdict's: probability that a fresh probe of the weaker side agrees | `agents.records.Verdict` |
| observed | share of fresh probes of that side that agree | |
| ECE | Σ over bins of posterior, (hypotheses in the bin / all) × abs(mean posterior − mean observed) | Naeini, Cooper & Hauskrecht 2015 |
| precision of "confirmed" | share of fresh probes of confirmed hypotheses that agree: the mean of the two sides, then over hypotheses | |
| held | share of confirmed hypotheses whose fresh probes agree, on each side, at least as often as `CONFIRMED` asks; some thirty probes miss that now and then where it is true | |

Intervals resample features, since the hypotheses of one feature are of one text.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..agents.notebook import POSITION_TESTS
from ..agents.records import Hypothesis, Standing, Verdict
from ..agents.rules.drafts import fitted, room_of
from ..agents.rules.language import Rule
from ..agents.rules.match import predict
from ..agents.rules.write import firing_drafts, near_miss_drafts, variant_drafts
from ..agents.verdicts import CONFIRMED, agreement
from ..sae.evidence import FIRES_AT
from ..sae.source import FeatureSource
from .jobs import run_to_end
from .journal import Journal, Run
from .recorded import RecordedSource
from .scoring.score import RESAMPLES_OF_MEAN, Score, interval, ratio
from .transcript import transcript_of

#: Fresh probes of each sort for a hypothesis.
FRESH = {"should fire": 12, "near miss": 12, "variant": 6}
#: Edges of the bins of posterior.
BINS = tuple(k / 10 for k in range(11))


@dataclass(frozen=True)
class Tried:
    """One hypothesis and its fresh probes.

    status, posterior: the loop's verdict on it. fires, silent: (agreed, run) of the fresh probes
    that should fire, and of those that should not. side: which of the two the posterior speaks of.
    """

    feature: int
    hypothesis: int
    status: Standing
    posterior: float
    fires: tuple[int, int]
    silent: tuple[int, int]
    side: bool

    @property
    def observed(self) -> float | None:
        """Share of the fresh probes of the posterior's side that agree; None without any."""
        agreed, run = self.fires if self.side else self.silent
        return agreed / run if run else None

    @property
    def held(self) -> bool | None:
        """Whether each side agrees as often as "confirmed" asks; None where a side has no probe."""
        if not self.fires[1] or not self.silent[1]:
            return None
        return all(agreed / run >= CONFIRMED for agreed, run in (self.fires, self.silent))


@dataclass(frozen=True)
class Bin:
    """Hypotheses with a posterior in [low, high). posterior, observed: means over them."""

    low: float
    high: float
    n: int
    posterior: float
    observed: Score


@dataclass(frozen=True)
class Calibration:
    """How far a run's verdicts hold. tried: every hypothesis that had fresh probes.

    ece, precision, held: see the module. bins: those that hold any hypothesis.
    """

    tried: tuple[Tried, ...]
    ece: Score
    precision: Score
    held: Score
    bins: tuple[Bin, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "ece": self.ece.model_dump(),
            "precision": self.precision.model_dump(),
            "held": self.held.model_dump(),
            "bins": [{**asdict(b), "observed": b.observed.model_dump()} for b in self.bins],
            "hypotheses": [{**asdict(one), "observed": one.observed} for one in self.tried],
        }


def calibrate(source: FeatureSource, run: str, *, journal: Journal, seed: int = 1) -> Calibration:
    """Try a run's verdicts on fresh probes; what is measured is kept in the run.

    source: the one that the run was made with. seed: of the fresh probes. Raises JournalError for a
    run of another source, UnknownName for one that does not exist.
    """
    config = journal.run(run).config
    made_with = {"subject": source.subject, "sae": source.sae, "evidence": source.key}
    with journal.begin(run, {**config, **made_with}) as begun:
        source.cover(begun.features)
        recorded = RecordedSource(source, begun)
        return calibration_of(run_to_end(_tried(recorded, begun, seed)))


async def _tried(source: FeatureSource, run: Run, seed: int) -> list[Tried]:
    each = [_of_feature(source, run, feature, seed) for feature in run.features]
    return [one for found in await asyncio.gather(*each) for one in found]


async def _of_feature(source: FeatureSource, run: Run, feature: int, seed: int) -> list[Tried]:
    story = transcript_of(run, feature)
    if story.result is None or story.facts is None:
        return []
    used = {trial.probe.text for trial in story.trials}
    found = []
    for hypothesis in story.hypotheses:
        verdict = story.verdicts.get(hypothesis.id)
        if verdict is None or verdict.status == "untested" or not hypothesis.rule:
            continue
        fresh = fresh_probes(source, feature, hypothesis, hypothesis.rule, used, seed)
        measured = await source.activations(feature, [*fresh])
        counts = {True: [0, 0], False: [0, 0]}
        for fires, seen in zip(fresh.values(), measured, strict=True):
            counts[fires][0] += (seen.maximum >= story.facts["stats"]["fires_at"] > 0) == fires
            counts[fires][1] += 1
        found.append(
            Tried(
                feature,
                hypothesis.id,
                verdict.status,
                verdict.posterior,
                (counts[True][0], counts[True][1]),
                (counts[False][0], counts[False][1]),
                _weaker(verdict),
            )
        )
    return found


def fresh_probes(
    source: FeatureSource,
    feature: int,
    hypothesis: Hypothesis,
    rule: Rule,
    used: set[str],
    seed: int,
) -> dict[str, bool]:
    """Texts that no probe has, each with whether the rule says that it fires."""
    draw = zlib.crc32(f"fresh {seed} {feature} {hypothesis.id}".encode())
    fit = (source.tokenize, room_of(source))
    drafts = {
        "should fire": firing_drafts(rule, 3 * FRESH["should fire"], draw, *fit),
        "near miss": near_miss_drafts(rule, 3 * FRESH["near miss"], draw, *fit),
        "variant": [
            one
            for one in fitted(variant_drafts(rule, 6 * FRESH["variant"], draw), *fit)
            if one.edit not in POSITION_TESTS
        ],
    }
    taken: list[str] = []
    for sort, written in drafts.items():
        texts = [one.text for one in written if one.text and one.text not in used]
        taken += [*dict.fromkeys(text for text in texts if text not in taken)][: FRESH[sort]]
    said = predict(rule, source.tokenize(taken))
    return {
        text: bool(level.max(initial=0) >= FIRES_AT * rule.unit > 0)
        for text, level in zip(taken, said, strict=True)
    }


def _weaker(verdict: Verdict) -> bool:
    """The side that the posterior is of: True for the probes that should fire."""
    fires = agreement(True, *verdict.fires_as_predicted)
    return fires <= agreement(False, *verdict.silent_as_predicted)


# -------------------------------------------------------------------- figures


def calibration_of(tried: Sequence[Tried], seed: int = 0) -> Calibration:
    """The figures of some hypotheses and their fresh probes."""
    known = [one for one in tried if one.observed is not None]
    confirmed = [one for one in tried if one.status == "confirmed" and one.held is not None]
    return Calibration(
        tuple(tried),
        _ece(known, seed),
        _mean(confirmed, [_agreement(one) for one in confirmed], seed),
        _mean(confirmed, [float(one.held or 0) for one in confirmed], seed),
        tuple(_bins(known, seed)),
    )


def _agreement(one: Tried) -> float:
    return sum(agreed / run for agreed, run in (one.fires, one.silent)) / 2


def _bins(known: Sequence[Tried], seed: int) -> list[Bin]:
    place = np.digitize([one.posterior for one in known], BINS[1:-1])
    found = []
    for k in np.unique(place).tolist():
        members = [one for one, at in zip(known, place, strict=True) if at == k]
        observed = [one.observed or 0.0 for one in members]
        mean = float(np.mean([one.posterior for one in members]))
        found.append(Bin(BINS[k], BINS[k + 1], len(members), mean, _mean(members, observed, seed)))
    return found


def _ece(known: Sequence[Tried], seed: int) -> Score:
    """The expected calibration error; by feature, the sums over bins of what goes into it."""
    if not known:
        return Score.undefined("no hypothesis of the run has a rule and a verdict")
    place = np.digitize([one.posterior for one in known], BINS[1:-1])
    gaps = np.zeros((len(known), len(BINS)))
    gaps[np.arange(len(known)), place] = [one.posterior - (one.observed or 0.0) for one in known]
    gaps[:, -1] = 1.0
    units = _by_feature(known, gaps)
    low, high = interval(units, _total_gap, seed, RESAMPLES_OF_MEAN) or (None, None)
    value = float(_total_gap(units.sum(axis=0)))
    return Score(value=value, low=low, high=high, n=len(units))


def _total_gap(totals: np.ndarray) -> np.ndarray:
    """Σ abs(gap of a bin) / hypotheses: [..., bins + 1] → [...]."""
    return np.abs(totals[..., :-1]).sum(axis=-1) / np.maximum(totals[..., -1], 1.0)


def _mean(of: Sequence[Tried], values: Sequence[float], seed: int) -> Score:
    """The mean over hypotheses, features resampled. n: features."""
    if not of:
        return Score.undefined("no hypothesis of the run was confirmed")
    units = _by_feature(of, np.array([[value, 1.0] for value in values]))
    low, high = interval(units, ratio, seed, RESAMPLES_OF_MEAN) or (None, None)
    return Score(value=float(np.mean(values)), low=low, high=high, n=len(units))


def _by_feature(of: Sequence[Tried], rows: np.ndarray) -> np.ndarray:
    names, place = np.unique([one.feature for one in of], return_inverse=True)
    units = np.zeros((len(names), rows.shape[1]))
    np.add.at(units, place, rows)
    return units
