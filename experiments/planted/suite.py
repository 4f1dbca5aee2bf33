"""The suite: an explainer on planted features, and what it recovered, class by class."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel, ConfigDict

from ...sae.source import FeatureSource
from ..jobs import Watch, explain
from ..journal import Journal
from ..results import Result
from ..scoring import Score, mean_with_interval
from .recovery import AnswerKey, Recovery, recovery
from .source import DECOY

#: What stands for several meanings or for none; all other classes are single concepts.
NOT_SINGLE = ("disjunction", "degenerate", DECOY)
#: Features that have nothing to recover.
NOTHING = ("dead", "noisy")
#: The same explainer without probes, where there is one.
WITHOUT_PROBES = {"sage": "sage:no-probes"}
#: Why a share of confirmed explanations is undefined.
NOT_PROBED = "the explainer does not probe, so it can confirm nothing"


class Answer(BaseModel):
    """What was said of one planted feature, and how far it is right. One line of `--json`.

    feature: its index. class_, form, label: what was planted. explanation, verdict: what was said.
    recovered, agreement, pearson, equivalent: see `recovery`; recovered is None for dead and noisy
    features, whose false_label says whether their explanation was confirmed all the same. Of a feature
    that failed, which has no explanation, all of these are None, and error says why.
    """

    model_config = ConfigDict(frozen=True)

    feature: int
    class_: str
    form: str
    label: str
    explainer: str
    mind: str
    status: str
    explanation: str
    executable: bool
    verdict: str | None
    recovered: bool | None
    agreement: float | None
    pearson: float | None
    equivalent: bool | None
    false_label: bool | None
    probes: int
    calls: int
    tokens: int
    seconds: float
    error: str | None = None

    @property
    def failed(self) -> bool:
        """Whether there is no explanation, so that nothing can be right or wrong."""
        return self.status == "failed"

    def as_json(self) -> str:
        """One JSON object on one line, in ASCII."""
        named = {name.rstrip("_"): value for name, value in self.model_dump().items()}
        return json.dumps(named, allow_nan=False)


@dataclass(frozen=True)
class Group:
    """A group of answers. recovered, equivalent: shares of those that have a meaning to recover;
    confirmed: share whose explanation the probes confirmed, undefined for an explainer that does not
    probe. failed: how many of the features have no explanation; they count in none of the shares. The
    rest in sum.
    """

    name: str
    features: int
    failed: int
    recovered: Score
    equivalent: Score
    confirmed: Score
    probes: int
    calls: int
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Findings:
    """What an explainer recovered of a source.

    answers: one a feature. without_probes: of the decoy features once more, the same explainer
    with probing off; empty where there is no such explainer.
    """

    answers: tuple[Answer, ...]
    without_probes: tuple[Answer, ...] = ()

    def groups(self) -> list[Group]:
        """One a class, in the order of the source, then the single concepts together."""
        classes = dict.fromkeys(answer.class_ for answer in self.answers)
        probed = self.probed
        found = [group(name, self._of(lambda a, n=name: a.class_ == n), probed) for name in classes]
        single = self._of(lambda answer: answer.class_ not in NOT_SINGLE)
        return [*found, group("single concepts", single, probed)] if single else found

    @property
    def probed(self) -> bool:
        """Whether the explainer probes: without that it can confirm nothing."""
        return any(answer.probes for answer in self.answers)

    @property
    def false_labels(self) -> Score:
        """Share of dead and noisy features whose explanation was confirmed; see `Group.confirmed`."""
        if not self.probed:
            return Score.undefined(NOT_PROBED)
        marks = [answer.false_label for answer in self.answers]
        return share([mark for mark in marks if mark is not None])

    @property
    def lift(self) -> Score:
        """What probing adds to recovery in the decoy class, paired by feature.

        A feature that failed with probing or without it is in no pair. Where it adds all of it to every feature, the interval is Wilson's of that share.
        """
        before = {a.feature: bool(a.recovered) for a in self.without_probes if not a.failed}
        lifts = [
            float(bool(a.recovered)) - before[a.feature]
            for a in self.answers
            if a.feature in before and not a.failed
        ]
        return share([True] * len(lifts)) if set(lifts) == {1.0} else mean_with_interval(lifts)

    @property
    def failed(self) -> int:
        """How many explanations there are not, with and without probes."""
        return sum(answer.failed for answer in (*self.answers, *self.without_probes))

    def _of(self, wanted: Callable[[Answer], bool]) -> list[Answer]:
        return [answer for answer in self.answers if wanted(answer)]


def run_suite(
    source: AnswerKey,
    *,
    explainer: str = "sage",
    mind: str = "rules",
    run: str | None = None,
    journal: Journal | None = None,
    watch: Watch | None = None,
    **settings: Any,
) -> Findings:
    """Explain every feature of a planted source, and compare with the key.

    run, journal: where it is kept; a run that was begun is gone on with. settings: see
    `sagescope.experiments.explain`. Raises what that raises.
    """
    # An answer key is one; and a cached property serves as the protocol's, which pyright misses.
    features = cast(FeatureSource, source)
    found = explain(
        features, [one.index for one in source.features], explainer=explainer, mind=mind, run=run,
        journal=journal, score=False, watch=watch, **settings,
    )  # fmt: skip
    decoys = [one.index for one in source.features if one.kind == DECOY]
    blind: list[Result] = []
    if decoys and explainer in WITHOUT_PROBES:
        other = WITHOUT_PROBES[explainer]
        blind = explain(
            features, decoys, explainer=other, mind=mind, run=f"{run}-no-probes" if run else None,
            journal=journal, score=False, watch=watch, **settings,
        )  # fmt: skip
    return Findings(answers(source, found), answers(source, blind))


def answers(source: AnswerKey, results: Iterable[Result]) -> tuple[Answer, ...]:
    """Results compared with the key."""
    return tuple(_answer(result, source) for result in results)


def _answer(result: Result, source: AnswerKey) -> Answer:
    planted, said = source.planted(result.index), result.explanation
    failed = result.status == "failed"
    right: Recovery | None = None if failed else recovery(source, planted.index, said)
    nothing = planted.form in NOTHING
    return Answer(
        feature=planted.index,
        class_=planted.kind,
        form=planted.form,
        label=planted.label,
        explainer=result.explainer,
        mind=result.mind,
        status=result.status,
        explanation=said.description,
        executable=said.rule is not None,
        verdict=said.verdict,
        recovered=right and right.recovered,
        agreement=right and round(right.agreement, 4),
        pearson=right and round(right.pearson, 4),
        equivalent=right and right.equivalent,
        false_label=said.verdict == "confirmed" if nothing and not failed else None,
        probes=result.cost.probes,
        calls=result.cost.calls,
        tokens=result.cost.tokens,
        seconds=result.cost.seconds,
        error=result.error,
    )


def group(name: str, members: Sequence[Answer], probed: bool = True) -> Group:
    """Answers together. probed: whether their explainer probes."""
    confirmed = [answer.verdict == "confirmed" for answer in members if not answer.failed]
    meant = [answer for answer in members if answer.recovered is not None]
    return Group(
        name=name,
        features=len(members),
        failed=sum(answer.failed for answer in members),
        recovered=share([bool(answer.recovered) for answer in meant]),
        equivalent=share([bool(answer.equivalent) for answer in meant]),
        confirmed=share(confirmed) if probed else Score.undefined(NOT_PROBED),
        probes=sum(answer.probes for answer in members),
        calls=sum(answer.calls for answer in members),
        tokens=sum(answer.tokens for answer in members),
        seconds=sum(answer.seconds for answer in members),
    )


def share(marks: Sequence[bool]) -> Score:
    """Share of True with its 95 % interval after Wilson, which holds where all are the same."""
    from scipy.stats import binomtest

    if not marks:
        return Score.undefined("there is no such feature")
    hits, n = sum(marks), len(marks)
    low, high = binomtest(hits, n).proportion_ci(method="wilson")
    return Score(value=hits / n, low=min(low, hits / n), high=max(high, hits / n), n=n)
