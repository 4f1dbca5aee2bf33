"""What explaining features with a language model will take, before anything is sent or spent.

The first prompt of each feature is the real one: the explainer itself runs until it asks for the
first time. What comes after depends on the answers, so that is reckoned from what replies of
a script, without thinking, led to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..agents.budget import Budget, Charge, Spending
from ..agents.explainers import Task, check, explainer_named, plain_name
from ..agents.llm.client import Attempts, Reply, Request, Usage, provider_and_model
from ..agents.llm.prices import Price, price_of
from ..agents.minds.choice import PLAIN_MINDS, Mind
from ..agents.wording import check_prompts
from ..sae.source import FeatureSource


@dataclass(frozen=True)
class Later:
    """What an explainer typically asks after its first prompt, of one feature.

    first_output: tokens of the first reply. calls, input_tokens, output_tokens: of all other calls.
    after_first: whether each of those begins with the first prompt, which is not in input_tokens.
    """

    first_output: int
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    after_first: bool = False

    @classmethod
    def samples(cls, k: int, output: int) -> Later:
        """The first prompt, k times."""
        return cls(output, k - 1, 0, output * (k - 1), after_first=True)


_SAGE, _ONE_CALL, _NONE = Later(930, 3, 6940, 1665), Later(600), Later(0)
#: By explainer, from runs with scripted replies: `sage` as `python benchmarks/minds.py --only sizes`
#: prints it; SAGE as published where each hypothesis is settled by its first test.
TYPICAL = {
    "sage": _SAGE,
    "sage:no-probes": _SAGE,
    "sage:random-probes": _SAGE,
    "sage:one-hypothesis": _SAGE,
    "sage:no-refinement": _SAGE,
    "sage:no-negatives": _SAGE,
    "sage:model-verdicts": _SAGE,
    "output-side": _ONE_CALL,
    "one-shot": _ONE_CALL,
    "one-shot:contrastive": _ONE_CALL,
    "one-shot:token-activation": _ONE_CALL,
    "one-shot:max-activation": _ONE_CALL,
    "one-shot:quantiles": _ONE_CALL,
    "best-of-4": Later.samples(4, 600),
    "best-of-8": Later.samples(8, 600),
    "sage-paper": Later(300, 14, 5600, 2100),
    "sage-paper:released": Later(300, 14, 21000, 2100, after_first=True),
    "weightlens": _NONE,
    "circuitlens": _NONE,
    "attribution": _NONE,
    "attention-rules": _NONE,
}


@dataclass(frozen=True)
class Estimate:
    """What one feature, or several, will take.

    feature: its index; None for several. calls, tokens (input and output together), dollars: as one
    may expect. most_calls, most_tokens, most_dollars: what the caps allow; None without a cap.
    dollars, most_dollars: None where no price is known, too.
    """

    feature: int | None
    calls: int
    tokens: int
    dollars: float | None
    most_calls: int | None
    most_tokens: int | None
    most_dollars: float | None

    def as_json(self) -> dict[str, Any]:
        """JSON values; the row of the whole has feature "all"."""
        return {**asdict(self), "feature": "all" if self.feature is None else self.feature}


async def estimate(
    source: FeatureSource,
    features: Sequence[int],
    *,
    explainer: str,
    mind: str,
    budget: Budget,
    prompts: Path | None = None,
    seed: int = 0,
) -> list[Estimate]:
    """What each feature will take. No key is needed, and nothing is sent.

    Raises UnknownName for an explainer or mind that there is not, MindError for an explainer that
    needs a language model and gets none, FeatureError for a feature.
    """
    thinker = _Unheard(mind, prompts)
    check(explainer, thinker)
    thinker.check()
    check_prompts(prompts)
    if not thinker.is_language_model:
        return [Estimate(feature, 0, 0, 0.0, 0, 0, 0.0) for feature in features]
    client = thinker.client()
    source.cover(features)
    found = []
    for feature in features:
        spending = Spending(budget)
        task = Task(source, feature, thinker, spending, seed, lambda kind, *records: None)
        try:
            await explainer_named(explainer).explain(task)
            found.append(Estimate(feature, 0, 0, 0.0, 0, 0, 0.0))
        except _Heard as heard:
            found.append(
                _reckoned(feature, heard.request, TYPICAL[plain_name(explainer)], client, budget)
            )
    return found


def together(estimates: Sequence[Estimate], run_budget: Budget) -> Estimate:
    """The sum of some estimates, held to the caps of a run."""
    whole = Estimate(
        None,
        int(_lesser(sum(one.calls for one in estimates), run_budget.calls) or 0),
        int(_lesser(sum(one.tokens for one in estimates), run_budget.tokens) or 0),
        _lesser(_sum([one.dollars for one in estimates]), run_budget.cost, of_unknown=False),
        _whole(_lesser(_sum([one.most_calls for one in estimates]), run_budget.calls)),
        _whole(_lesser(_sum([one.most_tokens for one in estimates]), run_budget.tokens)),
        _lesser(_sum([one.most_dollars for one in estimates]), run_budget.cost),
    )
    return whole


# -------------------------------------------------------------------- one feature


def _reckoned(
    feature: int, first: Request, later: Later, client: _Listener, budget: Budget
) -> Estimate:
    asked = first.expected_usage().input_tokens
    # A prompt's price may depend on its length, so each call is charged for itself.
    calls = [Usage(input_tokens=asked, output_tokens=later.first_output)]
    if later.calls:
        shown = later.input_tokens // later.calls + asked * later.after_first
        said = later.output_tokens // later.calls
        calls += [Usage(input_tokens=shown, output_tokens=said)] * later.calls
    dollars = _sum([client.charge(one).cost for one in calls])
    # No token costs more than one of output.
    most = budget.tokens
    worst = None if most is None else client.charge(Usage(output_tokens=most)).cost
    return Estimate(
        feature,
        int(_lesser(len(calls), budget.calls) or 0),
        int(_lesser(sum(one.tokens for one in calls), most) or 0),
        _lesser(dollars, budget.cost, of_unknown=False),
        budget.calls,
        most,
        _lesser(worst, budget.cost),
    )


def _lesser(value: float | None, cap: float | None, of_unknown: bool = True) -> float | None:
    """A figure under a cap. of_unknown: whether the cap itself says something of an unknown one."""
    if value is None:
        return cap if of_unknown else None
    return value if cap is None else min(value, cap)


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


class _Heard(Exception):
    """The first request, which nobody answers."""

    def __init__(self, request: Request):
        super().__init__("This is a dry run: nothing is asked.")
        self.request = request


@dataclass
class _Listener:
    """A Client without a key that answers nothing: see `agents.llm.client.Client`."""

    provider: str
    model: str
    address: str
    price: Price | None

    def charge(self, usage: Usage) -> Charge:
        return Charge(usage.tokens, self.price.cost(usage) if self.price else None)

    async def complete(
        self,
        request: Request,
        spending: Spending | None = None,
        leaving: Charge | None = None,
        attempts: Attempts | None = None,
    ) -> Reply:
        raise _Heard(request)


@dataclass(frozen=True)
class _Unheard(Mind):
    """A mind that gets no answer to its first question."""

    def check(self) -> None:
        if self.name not in PLAIN_MINDS and ":" not in self.name:
            super().check()  # says which names there are
        if self.is_language_model:
            provider_and_model(self.name)

    def client(self) -> _Listener:
        if not self.is_language_model:
            super().client()  # says which names there are
        provider, model = provider_and_model(self.name)
        return _Listener(provider, model, self.name, price_of(provider, model))
