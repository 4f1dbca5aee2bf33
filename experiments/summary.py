"""What a run found on the whole: means over features, by stratum, beside the controls' means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..sae.evidence import QUANTILES
from .results import Result, Scores
from .scoring import Score, mean_with_interval

#: The scores of a table, coverage first: name → heading.
COLUMNS = {
    "coverage": "coverage",
    "recall": "band recall",
    "precision": "precision",
    "predictive_pearson": "Pearson",
    "predictive_auprc": "AUPRC",
    "generative": "generative",
    "boundary": "boundary",
    "input": "input",
}
#: Whose scores: name → heading.
ROWS = {
    "explanation": "explanation",
    "random_explanation": "random explanation",
    "token_lookup": "token lookup",
}
#: Bands of a feature's non-zero activations, as quantiles.
BANDS = tuple(pairwise((0.0, *QUANTILES, 1.0)))
#: The two kinds of features, which every run reports apart (see `sagescope.sae.lookup`).
STRATA = ("lexical", "contextual")
#: What probes may say of an explanation, the best first.
VERDICTS = ("confirmed", "open", "refuted", "untested")


@dataclass(frozen=True)
class Means:
    """Mean scores of some features. group: "lexical", "contextual" or "all". of: a name in ROWS.

    scores: by name in COLUMNS, with an interval from resampling features. recalls: mean recall in
    each band of BANDS, None where no feature has any tokens in it.
    """

    group: str
    of: str
    features: int
    scores: dict[str, Score]
    recalls: tuple[float | None, ...]


def means(results: Sequence[Result]) -> list[Means]:
    """The means of explanations and controls, for each stratum that occurs, and for all."""
    groups = {name: [r for r in results if r.stratum == name] for name in STRATA}
    groups = {name: members for name, members in groups.items() if members}
    if len(groups) != 1 or len(groups[next(iter(groups))]) < len(results):
        groups["all"] = list(results)
    return [_means(group, of, members) for group, members in groups.items() for of in ROWS]


def _means(group: str, of: str, results: Sequence[Result]) -> Means:
    found = [scores_of(result, of) or {} for result in results]
    return Means(
        group,
        of,
        len(results),
        {name: mean_with_interval([scores.get(name) for scores in found]) for name in COLUMNS},
        tuple(_mean([*_recalls(results, of, band)]) for band in BANDS),
    )


def verdict_line(results: Sequence[Result]) -> str:
    """How many explanations the probes confirmed, and how many ran out of budget, in one line."""
    verdicts = Counter(result.explanation.verdict for result in results)
    parts = [f"{verdicts[name]} {name}" for name in VERDICTS if verdicts[name]]
    parts += [f"{verdicts[None]} without a tested hypothesis"] if verdicts[None] else []
    short = sum(result.status == "out_of_budget" for result in results)
    ended = f"; {short} of {len(results)} ran out of budget" if short else ""
    return f"Verdicts of the probes: {', '.join(parts)}{ended}."


def cost_line(results: Sequence[Result]) -> str:
    """What a language model's calls took in all, in one line; "" where there were none."""
    calls = sum(result.cost.calls for result in results)
    if not calls:
        return ""
    prices = [result.cost.dollars for result in results]
    known = [price for price in prices if price is not None]
    dollars = money(sum(known) if len(known) == len(prices) else None)
    tokens = sum(result.cost.tokens for result in results)
    return f"Language model: {count(calls)} calls, {count(tokens)} tokens, {dollars}."


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
