"""One feature's story as the journal tells it: what was thought, tried, measured and concluded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from ..agents.records import Hypothesis, Outcome, Probe, Record, Verdict
from ..sae.errors import FeatureError
from .journal import Event, Run
from .results import Result, result_of, with_scores
from .scoring import Item, generated


class Stats(TypedDict):
    """What every reader needs of the statistics in a "facts" event."""

    __pydantic_config__ = ConfigDict(extra="allow")  # pyright: ignore[reportGeneralTypeIssues]
    tokens: int
    density: float
    mean: float
    typical_max: float
    fires_at: float


class Facts(TypedDict):
    """The payload of a "facts" event."""

    __pydantic_config__ = ConfigDict(extra="allow")  # pyright: ignore[reportGeneralTypeIssues]
    stratum: str
    lookup_pearson: float | None
    stats: Stats


class Shown(TypedDict):
    """One context in an "exemplars" event."""

    tokens: list[str]
    activations: list[float]
    peak: int


FACTS = TypeAdapter(Facts)
EXEMPLARS = TypeAdapter(dict[str, list[Shown]])


class Trial(Record):
    """A probe, and what it measured (None where that was not done, or broken off before)."""

    probe: Probe
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Transcript:
    """The latest attempt at a feature, finished or not.

    facts, exemplars: the payloads of its events of those kinds (see `jobs`). verdicts: the latest of
    each hypothesis, by its number. items: texts that were made from the explanation, and what they
    did. result: None while it is not done. traceback: of the error that ended it.
    circuit: its attribution graph, where an explainer found one (see `circuit_figure`).
    """

    feature: int
    facts: dict[str, Any] | None
    exemplars: dict[str, Any]
    hypotheses: tuple[Hypothesis, ...]
    trials: tuple[Trial, ...]
    verdicts: dict[int, Verdict]
    notes: tuple[Any, ...]
    items: tuple[Item, ...]
    result: Result | None
    traceback: str | None
    circuit: dict[str, Any] | None = None

    def trials_of(self, hypothesis: int) -> list[Trial]:
        """The probes of one hypothesis."""
        return [trial for trial in self.trials if trial.probe.hypothesis == hypothesis]

    def as_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "feature": self.feature,
            "result": self.result.model_dump() if self.result else None,
            "facts": self.facts,
            "exemplars": self.exemplars,
            "hypotheses": [
                {**one.model_dump(), "verdict": verdict.model_dump() if verdict else None}
                for one in self.hypotheses
                for verdict in [self.verdicts.get(one.id)]
            ],
            "probes": [
                {
                    **trial.probe.model_dump(),
                    "outcome": trial.outcome.model_dump() if trial.outcome else None,
                }
                for trial in self.trials
            ],
            "notes": list(self.notes),
            "items": [item.model_dump() for item in self.items],
            "traceback": self.traceback,
            **({"circuit": self.circuit} if self.circuit else {}),
        }


def transcript_of(run: Run, feature: int) -> Transcript:
    """The story of one feature of a run. Raises FeatureError for one that the run does not have."""
    if feature not in run.features:
        raise FeatureError(
            f"The run {run.name!r} has no feature {feature}: `sagescope results {run.name}` lists "
            f"those it has."
        )
    events = run.attempt(feature)
    facts = _last(run.events(feature, ["facts"]), "facts")
    exemplars = _last(run.events(feature, ["exemplars"]), "exemplars")
    with run.reading(feature):
        outcomes = {one.probe: one for one in _read(events, "outcome", Outcome)}
        verdicts = {one.hypothesis: one for one in _read(events, "verdict", Verdict)}
        concluded = _last(events, "concluded") or {}
        for verdict in concluded.get("conclusion", {}).get("verdicts", ()):
            verdicts[verdict["hypothesis"]] = Verdict.model_validate(verdict)
        scored: dict[str, Any] = {}
        for event in events:
            if event.kind == "scored" and event.payload["of"] == "explanation":
                scored = with_scores(scored, event.payload)
        items = scored.get("details", {}).get("items", ())
        return Transcript(
            feature=feature,
            facts=dict(FACTS.validate_python(facts)) if facts else None,
            exemplars=EXEMPLARS.validate_python(exemplars or {}),
            hypotheses=tuple(_read(events, "hypothesis", Hypothesis)),
            trials=tuple(
                Trial(probe=one, outcome=outcomes.get(one.id))
                for one in _read(events, "probe", Probe)
            ),
            verdicts=verdicts,
            notes=tuple(event.payload for event in events if event.kind == "note"),
            items=tuple(
                Item.model_validate(item) for item in items if item["scorer"] in generated.NAMES
            ),
            result=result_of(run, feature),
            traceback=concluded.get("traceback"),
            circuit=_last(events, "circuit"),
        )


def _read(events: Sequence[Event], kind: str, record: Any) -> list[Any]:
    return [record.model_validate(event.payload) for event in events if event.kind == kind]


def _last(events: Sequence[Event], kind: str) -> Any:
    found = [event.payload for event in events if event.kind == kind]
    return found[-1] if found else None
