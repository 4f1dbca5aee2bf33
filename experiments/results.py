"""Results: what a run found, as objects, and as the JSON that other programs rely on.

`sagescope results RUN --json` prints one `Result` a line. The fields below are a contract: later
versions add fields, and never rename, remove or re-purpose one. docs/results.md explains each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, PrivateAttr

from ..agents import records
from ..sae.errors import RuleError
from ..sae.source import FeatureId, FeatureSource
from ..sae.tokens import TokenActivations
from .calls import unanswered
from .journal import Event, Run
from .scoring import CONTROL_NAMES, SCORE_NAMES, Score, blind_to
from .scoring.bench import Blind

#: The scores that every result names. Others may stand beside them.
HEADLINE = ("predictive_pearson", "predictive_auprc", "generative", "boundary", "input")

#: Why a control may be missing.
WHY_NOT = {
    "random_explanation": "no other feature of the run has an explanation",
    "shuffled_activations": "not scored where a language model judges: it would be asked as much again",
    "single_token": "the feature never fires on the explain split",
    "token_lookup": "the feature never fires on the explain split",
    "one_shot": "nothing was said at once",
    "random_weights": "not asked for: --random-weights makes it",
}
#: Why none of them is there.
UNCONTROLLED = "scored without controls; `sagescope score` makes them"

#: What answered where an event does not name it: those of the first versions.
RULE = "rule"

#: What a "scored" event tells of its making.
ABOUT = ("explanation_of", "feature", "density", "run", "simulator", "judge", "why")

#: Scores by name; None for one that was not made.
Scores = dict[str, Score | None]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cost(_Frozen):
    """What the explanation took. calls, tokens: of a language model. probes: texts run.

    dollars: what the calls cost by the price list; None where one of them has no known price.
    unanswered: attempts at calls that may have been charged though no reply came, in all attempts at
    the feature.
    """

    calls: int
    tokens: int
    probes: int
    seconds: float
    dollars: float | None = 0.0
    unanswered: int = 0


class ScoringCost(_Frozen):
    """What a language model took to judge the explanation and its controls, all scorers together.

    dollars: None where one of the calls has no known price.
    """

    calls: int = 0
    tokens: int = 0
    dollars: float | None = 0.0


class Explanation(records.Explanation):
    """An explanation that can predict, where it has a rule and a source to cut texts into tokens."""

    _source: FeatureSource | None = PrivateAttr(default=None)

    def predict(
        self, texts: Sequence[str], source: FeatureSource | None = None
    ) -> list[TokenActivations]:
        """The activation it predicts for each token of each text, in the SAE's own units.

        source: cuts the texts into tokens; by default the one the feature was explained with.
        Raises RuleError for an explanation that has no rule or no source.
        """
        from ..agents.rules.match import predict

        if isinstance(texts, str):
            raise TypeError("predict takes a list of texts, not one text.")
        if self.rule is None:
            raise RuleError(
                f"This explanation has no executable rule, so it predicts nothing: "
                f"{records.short(self.description)!r}"
            )
        source = source or self._source
        if source is None:
            raise RuleError(
                "This result was read back without its feature source: pass one, as in "
                "predict(texts, source=source)."
            )
        tokens = source.tokenize(texts)
        predicted = predict(self.rule, tokens)
        return [
            TokenActivations(tuple(row), np.asarray(values, np.float32))
            for row, values in zip(tokens, predicted, strict=True)
        ]


class Result(_Frozen):
    """One feature of one run.

    feature: SUBJECT/SAE/INDEX. details: per score set, what stands behind the headline scores
    (recall by activation quantile, the mixture of contexts, items that failed), and why a control
    is missing. error: what went wrong, for "failed". controlled: whether controls stand beside the
    scores. uncontrolled: the scores beside which no control was scored, though they have a value.
    blind: score → what it does not see of a label, "extra" or "missing".
    """

    feature: str
    stratum: Literal["lexical", "contextual"] | None
    status: Literal["concluded", "out_of_budget", "failed"]
    explanation: Explanation
    scores: Scores
    controls: dict[str, Scores | None]
    cost: Cost
    explainer: str
    mind: str
    run: str
    seed: int
    error: str | None = None
    details: dict[str, Any] = {}
    controlled: bool = True
    uncontrolled: tuple[str, ...] = ()
    blind: dict[str, tuple[Blind, ...]] = {}
    scoring_cost: ScoringCost = ScoringCost()

    @property
    def index(self) -> int:
        """The feature's index in its SAE."""
        return int(self.feature.rpartition("/")[2])

    def as_json(self) -> str:
        """The contract: one JSON object on one line, in ASCII."""
        return json.dumps(self.model_dump(), allow_nan=False)


def results_of(run: Run, source: FeatureSource | None = None) -> list[Result]:
    """The features of a run that are done, in the order in which they were asked for."""
    standing = standing_events(run)
    found = [_result(run, feature, standing.get(feature, {}), source) for feature in run.features]
    return [result for result in found if result is not None]


def result_of(run: Run, feature: int, source: FeatureSource | None = None) -> Result | None:
    """One feature's result, None where it is not done."""
    return _result(run, feature, standing_events(run, feature).get(feature, {}), source)


def standing_events(run: Run, feature: int | None = None) -> dict[int, dict[str, Any]]:
    """Feature → what counts of its events: "facts", "concluded", "asks", each scored "of".

    A new conclusion voids the one before, with its scores; an attempt without one voids nothing.
    "asks": the events that tell which calls were settled.
    """
    standing: dict[int, dict[str, Any]] = {}
    kinds = ["asked", "concluded", "facts", "said_at_once", "scored", "settled", "undone"]
    for event in run.in_force(feature, kinds):
        if event.feature is None:
            continue
        with run.reading(event.feature):
            _count(standing.setdefault(event.feature, {}), event)
    return standing


def _count(standing: dict[str, Any], event: Event) -> None:
    if event.kind == "concluded":
        for name in standing.keys() - {"facts", "asks"}:
            del standing[name]
    if event.kind in ("asked", "settled"):
        standing.setdefault("asks", []).append(event)
    elif event.kind == "scored":
        name = event.payload["of"]
        standing[name] = with_scores(standing.get(name), event.payload)
    else:
        standing[event.kind] = event.payload


def with_scores(before: Mapping[str, Any] | None, event: Mapping[str, Any]) -> dict[str, Any]:
    """What was scored before and a new "scored" event together; the new one counts where both do.

    Scores of two kinds of simulators, or of two judges, do not stand side by side: the new ones
    replace the others.
    """
    # What was spent stays spent, whatever becomes of the scores.
    costs = [one["cost"] for one in (before or {}, event) if "cost" in one]
    cost = {"cost": _together(costs)} if costs else {}
    if before and "scores" in before and "why" in event:
        return {**before, **cost}  # what was scored stands, whatever fails later
    before = made_with(before, event.get("simulator", RULE), event.get("judge"))
    if not before or "why" in before or "why" in event:
        return {**event, **cost}
    return {
        **before,
        **event,
        "scores": {**before["scores"], **event["scores"]},
        "details": _joined(before["details"], event["details"]),
        **cost,
        "scorers": [*dict.fromkeys([*made_by(before), *made_by(event)])],
    }


def _joined(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The details of two "scored" events. A new scorer's are empty in what others have to say."""
    joined = {**before, **{name: value for name, value in after.items() if value}}
    for name in ("failed", "more"):
        joined[name] = {**before.get(name, {}), **after.get(name, {})}
    again = {item["scorer"] for item in after["items"]}
    kept = [item for item in before["items"] if item["scorer"] not in again]
    return {**joined, "items": [*kept, *after["items"]]}


def _together(costs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {
        name: sum(cost.get(name, 0) for cost in costs)
        for name in ("calls", "tokens", "cost", "unpriced")
    }


def made_with(
    scored: Mapping[str, Any] | None, simulator: str, judge: str | None = None
) -> dict[str, Any]:
    """What stands of the scores of one kind of simulator; {} where another one made them.

    judge: the language model that judges. Events of the first versions do not name theirs.
    """
    if scored is None or scored.get("simulator", RULE) != simulator:
        return {}
    if judge and scored.get("judge", judge) != judge:
        return {}
    return dict(scored)


def made_by(scored: Mapping[str, Any] | None) -> Sequence[str]:
    """The scorers behind a "scored" event. Events of the first versions name none."""
    return scored.get("scorers", ("predictive", "generated")) if scored else ()


def _result(
    run: Run, feature: int, standing: Mapping[str, Any], source: FeatureSource | None
) -> Result | None:
    concluded = standing.get("concluded")
    if concluded is None:
        return None
    with run.reading(feature):
        conclusion = concluded["conclusion"]
        explanation = Explanation.model_validate(conclusion["explanation"])
        explanation._source = source
        spent = conclusion["spent"]
        config = run.config
        scores = _scores(standing.get("explanation")) or dict.fromkeys(HEADLINE)
        controls = {name: _scores(standing.get(name)) for name in CONTROL_NAMES}
        return Result(
            feature=str(FeatureId(config["subject"], config["sae"], feature)),
            stratum=standing["facts"]["stratum"] if standing.get("facts") else None,
            status=conclusion["status"],
            explanation=explanation,
            scores=scores,
            controls=controls,
            cost=Cost(
                calls=int(spent.get("calls", 0)),
                tokens=int(spent.get("tokens", 0)),
                probes=int(spent.get("probes", 0)),
                seconds=round(concluded["seconds"], 3),
                unanswered=len(unanswered(standing.get("asks", ()))),
                dollars=None if spent.get("unpriced") else round(spent.get("cost", 0.0), 6),
            ),
            explainer=concluded.get("explainer", config["explainer"]),
            mind=concluded.get("mind", config["mind"]),
            run=run.name,
            seed=config["seed"],
            error=conclusion.get("error"),
            details=dict(_details(standing)),
            controlled=_is_controlled(standing),
            uncontrolled=_uncontrolled(scores, controls),
            blind={name: blind for name in scores if (blind := blind_to(name))},
            scoring_cost=_scoring_cost(standing),
        )


def _scores(scored: Mapping[str, Any] | None) -> Scores | None:
    if not scored or "scores" not in scored:
        return None
    made = {name: Score.model_validate(score) for name, score in scored["scores"].items()}
    # Always in one order, whichever scorer came first.
    known = [name for name in SCORE_NAMES if name in made]
    return {name: made.get(name) for name in dict.fromkeys([*HEADLINE, *known, *made])}


def _is_controlled(standing: Mapping[str, Any]) -> bool:
    """Whether anything was scored beside the explanation; of what has no scores, True."""
    return "explanation" not in standing or any(name in standing for name in CONTROL_NAMES)


def _uncontrolled(scores: Scores, controls: Mapping[str, Scores | None]) -> tuple[str, ...]:
    """The scores that have a value, and that no control was scored by."""
    beside = {
        name
        for found in controls.values()
        for name, score in (found or {}).items()
        if score is not None
    }
    return tuple(
        name
        for name, score in scores.items()
        if score is not None and score.value is not None and name not in beside
    )


def _scoring_cost(standing: Mapping[str, Any]) -> ScoringCost:
    subjects = [standing[name] for name in ("explanation", *CONTROL_NAMES) if name in standing]
    spent = _together([scored.get("cost", {}) for scored in subjects])
    return ScoringCost(
        calls=int(spent["calls"]),
        tokens=int(spent["tokens"]),
        dollars=None if spent["unpriced"] else round(spent["cost"], 6),
    )


def _details(standing: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in ("explanation", *CONTROL_NAMES):
        if name in standing:
            scored = standing[name]
            behind = scored.get("details", {})
            # The texts that were made and run are many: they are for the transcript.
            of_control = {"failed", "recall_by_quantile"} & behind.keys()
            kept = behind.keys() - {"items"} if name == "explanation" else of_control
            about = {key: scored[key] for key in ABOUT if key in scored}
            if name == "one_shot" and (said := standing.get("said_at_once")):
                about["description"] = said["explanation"]["description"]
                about["spent"] = said["spent"]
            yield name, {**about, **{key: behind[key] for key in sorted(kept)}}
        elif "explanation" in standing:
            yield name, {"why": WHY_NOT[name] if _is_controlled(standing) else UNCONTROLLED}
