"""What a run found on the whole: means over features, by stratum, beside the controls' means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from ..agents.records import MeasuredGroup, ProbeCounts
from ..agents.rules.render import strength
from ..sae.evidence import QUANTILES
from .results import RULE, Result, Scores
from .scoring import SCORERS, Score, blind_to, mean_with_interval
from .scoring.bench import Blind

#: What a score does not see (see `scoring.sanity`): mark behind its heading, and what it means.
MARKS: dict[Blind, str] = {"extra": "⁺", "missing": "⁻", "unmeasured": "°"}
BLIND_LINE = (
    "⁺ blind to extra labels, ⁻ blind to missing labels: read such scores beside the others. "
    "° not measured whether it is."
)
_HEADINGS = {
    "coverage": "coverage",
    "recall": "band recall",
    "precision": "precision",
    "predictive_pearson": "Pearson",
    "predictive_auprc": "AUPRC",
    "generative": "generative",
    "boundary": "boundary",
    "input": "input",
}
#: The scores of a table, coverage first: name → heading, with its marks.
COLUMNS = {
    name: heading + "".join(MARKS[kind] for kind in blind_to(name))
    for name, heading in _HEADINGS.items()
}
#: What leads where explanations are in words, and no rule answers: name → heading, with its marks.
GRADED = {
    name: name.replace("_", " ") + "".join(MARKS[kind] for kind in blind_to(name))
    for name in SCORERS["graded"].scores
}
#: Behind a score beside which no control was scored, and what it means.
NO_CONTROL = "†"
NO_CONTROL_LINE = "† no control was scored beside it: what it is worth is not known."
#: Whose scores: name → heading.
ROWS = {
    "explanation": "explanation",
    "random_explanation": "random explanation",
    "shuffled_activations": "shuffled activations",
    "single_token": "single token",
    "token_lookup": "token lookup",
    "one_shot": "one-shot",
    "random_weights": "random weights",
}
#: What is said of results that stand without controls.
UNCONTROLLED = "uncontrolled"
#: Bands of a feature's non-zero activations, as quantiles.
BANDS = tuple(pairwise((0.0, *QUANTILES, 1.0)))
#: The two kinds of features, which every run reports apart (see `sagescope.sae.lookup`).
STRATA = ("lexical", "contextual")
#: What probes may say of an explanation, the best first.
VERDICTS = ("confirmed", "open", "refuted", "untested")


@dataclass(frozen=True)
class FailedItems:
    """Shares of scores' items that could not be run or graded.

    mean: over all scores and features. worst: the highest mean over features of one scorer, and
    scorer its name, "" where nothing failed.
    """

    mean: float
    worst: float = 0.0
    scorer: str = ""

    def __str__(self) -> str:
        worst = f" ({self.scorer.replace('_', ' ')} {self.worst:.1%})" if self.scorer else ""
        return f"{self.mean:.1%}{worst}"


def failed_items(results: Sequence[Result], of: str = "explanation") -> FailedItems | None:
    """What failed of the items behind some results' scores; None where no score has items.

    of: whose scores, a name in ROWS.
    """
    shares: dict[str, list[float]] = {}
    for result in results:
        for scorer, share in result.details.get(of, {}).get("failed", {}).items():
            shares.setdefault(scorer, []).append(share)
    if not shares:
        return None
    worst = max(shares, key=lambda scorer: fmean(shares[scorer]))
    highest = fmean(shares[worst])
    mean = fmean(share for found in shares.values() for share in found)
    return FailedItems(mean, highest, worst) if highest else FailedItems(mean)


@dataclass(frozen=True)
class Means:
    """Mean scores of some features. group: "lexical", "contextual" or "all". of: a name in ROWS.

    scores: by name, with an interval from resampling features. recalls: mean recall in each band of
    BANDS, None where no feature has any tokens in it. failed: see `failed_items`. uncontrolled: the
    scores that some features have without a control.
    """

    group: str
    of: str
    features: int
    scores: dict[str, Score]
    recalls: tuple[float | None, ...]
    failed: FailedItems | None = None
    uncontrolled: frozenset[str] = frozenset()


def simulator_in(result: Result, of: str = "explanation") -> str | None:
    """What answered for a result's explanation or control; None where nothing was scored."""
    if not any(
        score and score.value is not None for score in (scores_of(result, of) or {}).values()
    ):
        return None
    about = result.details.get(of, {})
    return " ".join(filter(None, (about.get("simulator", RULE), about.get("judge"))))


def unit_of(result: Result, of: str = "explanation") -> str:
    """The feature that a result's scores are of: one with random weights may stand beside several."""
    return result.details.get(of, {}).get("feature", result.feature)


def columns_of(results: Sequence[Result]) -> dict[str, str]:
    """The scores of a table of these results: name → heading, the headline first.

    Where explanations are in words, graded scores lead, and scores that none has are left out.
    """
    if {simulator_in(result) for result in results} <= {None, RULE}:
        return COLUMNS
    valued = {
        name
        for result in results
        for name, score in result.scores.items()
        if score is not None and score.value is not None
    }
    return {name: heading for name, heading in {**GRADED, **COLUMNS}.items() if name in valued}


def others_of(results: Sequence[Result], scorers: Iterable[str]) -> dict[str, str]:
    """The scores of some scorers that a table of these results has no column for: name → heading."""
    columns = columns_of(results)
    names = [name for scorer in scorers for name in SCORERS[scorer].scores if name not in columns]
    return {
        name: name.replace("_", " ") + "".join(MARKS[kind] for kind in blind_to(name))
        for name in names
    }


def means(results: Sequence[Result], columns: Mapping[str, str] | None = None) -> list[Means]:
    """The means of explanations and controls, for each stratum that occurs, and always for all.

    Controls that no result has are left out. columns: score → heading, by default of `columns_of`.
    """
    columns = columns or columns_of(results)
    there = [of for of in ROWS if of == "explanation" or any(scores_of(r, of) for r in results)]
    return [
        _means(group, of, members, columns)
        for group, members in by_stratum(results).items()
        for of in there
    ]


def by_stratum(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results of each stratum that occurs, and under "all" every one: the groups of a table."""
    groups = {name: [r for r in results if r.stratum == name] for name in STRATA}
    return {name: found for name, found in groups.items() if found} | {"all": list(results)}


def _means(group: str, of: str, results: Sequence[Result], columns: Iterable[str]) -> Means:
    found = [scores_of(result, of) or {} for result in results]
    units = [unit_of(result, of) for result in results]
    return Means(
        group,
        of,
        len(results),
        {
            name: mean_with_interval([scores.get(name) for scores in found], units)
            for name in columns
        },
        tuple(_mean([*_recalls(results, of, band)]) for band in BANDS),
        failed_items(results, of),
        frozenset(name for one in results for name in one.uncontrolled if of == "explanation"),
    )


def verdict_line(results: Sequence[Result]) -> str:
    """How many explanations the probes confirmed, and how many ran out of budget, in one line."""
    verdicts = Counter(result.explanation.verdict for result in results)
    parts = [f"{verdicts[name]} {name}" for name in VERDICTS if verdicts[name]]
    parts += [f"{verdicts[None]} without a tested hypothesis"] if verdicts[None] else []
    short = sum(result.status == "out_of_budget" for result in results)
    ended = f"; {short} of {len(results)} ran out of budget" if short else ""
    return f"Verdicts of the probes: {', '.join(parts)}{ended}."


def control_line(results: Sequence[Result]) -> str:
    """A warning where results stand without controls; "" where all have them."""
    without = sum(not result.controlled for result in results)
    if not without:
        return ""
    return (
        f"{UNCONTROLLED.capitalize()}: {without} of {len(results)} features have no controls beside "
        f"their scores."
    )


def word_line(results: Sequence[Result]) -> str:
    """What minds themselves said of their explanations beside the probes; "" where none was asked."""
    asked = [one.explanation for one in results if one.explanation.said]
    if not asked:
        return ""
    pairs = Counter((one.said, one.verdict) for one in asked)
    told = [
        f"{n} said {said}, measured {verdict or 'nothing'}" for (said, verdict), n in pairs.items()
    ]
    return f"By the mind's own word: {'; '.join(sorted(told))}."


def counts_of(counts: ProbeCounts) -> str:
    """What probes counted, in words."""
    (fired, should), (silent, should_not) = counts.fires_as_predicted, counts.silent_as_predicted
    return f"fired {fired}/{should}, silent {silent}/{should_not} as predicted"


def group_line(group: MeasuredGroup) -> str:
    """A group of an explanation: how strongly it fires, how much it covers, what its probes said."""
    level = "" if group.level is None else f"fires {strength(group.level)} ({group.level:.2f}), "
    covered = "" if group.coverage is None else f"{group.coverage:.0%} of the activation, "
    return f"{level}{covered}{group.status}: {counts_of(group)}"


def cost_line(results: Sequence[Result]) -> str:
    """What a language model's calls took in all, in one line; "" where there were none."""
    calls = sum(result.cost.calls for result in results)
    unanswered = sum(result.cost.unanswered for result in results)
    if not calls and not unanswered:
        return ""
    prices = [result.cost.dollars for result in results]
    known = [price for price in prices if price is not None]
    dollars = money(sum(known) if len(known) == len(prices) else None)
    tokens = sum(result.cost.tokens for result in results)
    attempts = f"{count(unanswered)} attempt{'s' if unanswered > 1 else ''}"
    lost = f" {attempts} may have been charged without a reply." if unanswered else ""
    return f"Language model: {count(calls)} calls, {count(tokens)} tokens, {dollars}.{lost}"


def scoring_line(results: Sequence[Result]) -> str:
    """What judging by a language model took in all, in one line; "" where there was none."""
    costs = [result.scoring_cost for result in results]
    calls, tokens = sum(cost.calls for cost in costs), sum(cost.tokens for cost in costs)
    if not calls:
        return ""
    known = [cost.dollars for cost in costs if cost.dollars is not None]
    dollars = money(sum(known) if len(known) == len(costs) else None)
    return f"Judging, with controls: {count(calls)} calls, {count(tokens)} tokens, {dollars}."


def scores_of(result: Result, of: str) -> Scores | None:
    """The scores of the explanation or of one control."""
    return result.scores if of == "explanation" else result.controls[of]


def _recalls(results: Sequence[Result], of: str, band: tuple[float, float]) -> Iterator[float]:
    for result in results:
        for found in result.details.get(of, {}).get("recall_by_quantile", ()):
            if tuple(found["quantiles"]) == band and found["recall"] is not None:
                yield found["recall"]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def band_name(band: tuple[float, float]) -> str:
    """A band in percent, as in "25–50 %"."""
    return f"{band[0]:.0%}–{band[1]:.0%}".replace("%–", "–")


def two_decimals(value: float | None) -> str:
    """A score as people read it, as in .73 and −.05; a dash where there is none."""
    if value is None:
        return "–"
    shown = f"{abs(value):.2f}".removeprefix("0")
    return f"−{shown}" if value <= -0.005 else shown


def count(value: int | None) -> str:
    """A number of things as people read it; a dash where there is none."""
    return "–" if value is None else f"{value:,}"


def money(dollars: float | None) -> str:
    """US dollars as people read them; a dash where no price is known."""
    if dollars is None:
        return "–"
    return f"${dollars:,.2f}" if dollars >= 1 or not dollars else f"${dollars:.4f}"
