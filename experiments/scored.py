"""Scoring as a job does it: each explanation beside its controls, each score written once."""

from __future__ import annotations

import bisect
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..agents.budget import Budget, Spending
from ..agents.records import Explanation
from ..sae.errors import BudgetExhausted, CannotAnswer, JournalError
from ..sae.source import FeatureSource
from .calls import JudgingCalls
from .journal import Run
from .one_shot import at_once, why_none
from .recorded import RecordedSource
from .results import made_by, made_with, standing_events, with_scores
from .scoring import (
    CONTROL_NAMES,
    Choice,
    Simulator,
    Target,
    chosen,
    score_simulator,
    simulators,
    target_of,
)
from .scoring.choice import NO_RULE

log = logging.getLogger(__name__)

#: Controls that are tables or rules, whatever answers for the explanation.
BY_TOKENS = ("single_token", "token_lookup")


class RunScorer:
    """Scores what a run concluded, as far as that is not done.

    standing: feature → what counts of its events (see `standing_events`); scores are added to it.
    scorers: by name, None those that run by default. choice: what answers for explanations. again: whether what could not be scored before
    is tried again. controls: whether controls are scored too. spending: of the run, for what a
    control asks of a language model. prompts: a folder of edited templates for that.
    """

    def __init__(
        self,
        source: FeatureSource,
        run: Run,
        seed: int,
        standing: dict[int, dict[str, Any]] | None = None,
        scorers: Sequence[str] | None = None,
        choice: Choice | None = None,
        again: bool = False,
        controls: bool = True,
        spending: Spending | None = None,
        prompts: Path | None = None,
    ):
        self.source, self.run = source, run
        self.standing = standing_events(run) if standing is None else standing
        self._seed, self._again = seed, again
        self._scorers = chosen(scorers)
        self._controls, self._prompts = controls, prompts
        self._spending = spending or Spending(Budget.of_run())
        self._choice = choice or Choice(seed=seed)
        self._read: dict[int, Explanation | None] = {}
        # Made once for each kind of simulator: over all features at every feature it took hours.
        self._circles: dict[str, list[tuple[bytes, int]]] = {}

    async def score(self, feature: int) -> None:
        """Score one feature's explanation and its controls, as far as that is not done."""
        standing = self.standing.get(feature, {})
        explanation = self._explanation(feature)
        if explanation is None:
            return
        choice, why = self._choice_for(feature, explanation)
        other = self._other(feature, choice) if self._controls else None
        target = Target(RecordedSource(self.source, self.run), feature, self._seed)
        random = self._explanation(other) if other is not None else None
        about = {"random_explanation": {"explanation_of": other}} if random else {}
        one_shot = await self._one_shot(feature) if self._controls else None
        given = {"random_explanation": random, "one_shot": one_shot}
        try:
            subjects = simulators(
                target, explanation, random, choice, one_shot=one_shot, controlled=self._controls
            )
        except JournalError:
            raise
        except Exception as error:
            log.info("scoring feature %d failed", feature, exc_info=True)
            made_here = CONTROL_NAMES[:-1] if self._controls else ()
            for name in ("explanation", *made_here):
                absent = given.get(name, explanation) is None
                if not absent and name not in standing:
                    self._scored(feature, name, {**about.get(name, {}), "why": sentence(error)})
            return
        whys = {"explanation": why, "shuffled_activations": why}
        if one_shot and not choice.able(one_shot):
            whys["one_shot"] = why or NO_RULE
        for name, simulator in subjects.items():
            kind = "rule" if name in BY_TOKENS else choice.kind
            judge = choice.mind.name if kind == "judge" and choice.mind else None
            before = made_with(standing.get(name), kind, judge)
            again = self._again and "why" in before
            made = () if again else made_by(before)
            scorers = [scorer for scorer in self._scorers if scorer not in made]
            if not scorers or ("why" in before and not again):
                continue
            try:
                no = whys.get(name)
                marks = (
                    {"why": no}
                    if no
                    else await self._marks(target_of(name, target), simulator, scorers)
                )
            except BudgetExhausted:
                return  # what is not scored yet is for a later session
            told = {**about.get(name, {}), "simulator": kind, **_cost(choice)}
            told |= {"judge": judge} if judge else {}
            self._scored(feature, name, {**told, **marks})

    def other_of(self, feature: int) -> int | None:
        """The feature whose explanation stands beside this one's as a control, if one does."""
        explanation = self._explanation(feature)
        if explanation is None or not self._controls:
            return None
        return self._other(feature, self._choice_for(feature, explanation)[0])

    def is_to_score(self, feature: int) -> bool:
        """Whether there is an explanation."""
        return self._explanation(feature) is not None

    def give_up(self, feature: int, error: Exception) -> None:
        """Write that a feature could not be scored, for what could not write it down itself."""
        if "explanation" not in self.standing.get(feature, {}):
            self._scored(feature, "explanation", {"why": sentence(error)})

    def _choice_for(self, feature: int, explanation: Explanation) -> tuple[Choice, str | None]:
        """What answers for an explanation and its controls, and why nothing can."""
        spending = Spending(Budget.of_run(), run=self._spending)
        choice = replace(self._choice, spending=spending)
        if choice.mind:
            calls = JudgingCalls(self.run, feature)
            choice = replace(choice, mind=replace(choice.mind, calls=calls))
        try:
            return choice.of(explanation), None
        except CannotAnswer as reason:
            return replace(choice, kind="rule"), str(reason)

    async def _one_shot(self, feature: int) -> Explanation | None:
        """What the run's mind says at once: from the journal, or asked now and written there."""
        standing = self.standing[feature]
        if said := standing.get("said_at_once"):
            with self.run.reading(feature):
                return Explanation.model_validate(said["explanation"])
        if "why" in standing.get("one_shot", {}) and not self._again:
            return None
        why = why_none(self.run.config, self._prompts)
        try:
            found = None if why else await self._asked(feature)
        except JournalError:
            raise
        except Exception as error:
            log.info("the one-shot control of feature %d failed", feature, exc_info=True)
            found, why = None, sentence(error)
        if found is None:
            if why:
                self._scored(feature, "one_shot", {"why": why})
            return None
        explanation, spent = found
        said = {"explanation": explanation.model_dump(), "spent": spent}
        self.run.write("said_at_once", said, feature)
        standing["said_at_once"] = said
        return explanation

    async def _asked(self, feature: int) -> tuple[Explanation, dict[str, float]] | None:
        return await at_once(self.source, self.run, feature, self._spending, self._prompts)

    async def _marks(
        self, target: Target, simulator: Simulator, scorers: Sequence[str]
    ) -> dict[str, Any]:
        """What a simulator scores, or why it scores nothing: the others are scored all the same."""
        try:
            scored = await score_simulator(target, simulator, scorers)
            return {"scorers": list(scorers), **scored.model_dump()}
        except (JournalError, BudgetExhausted):
            raise
        except Exception as error:
            log.info("scoring feature %d failed", target.feature, exc_info=True)
            return {"why": sentence(error)}

    def _scored(self, feature: int, name: str, payload: dict[str, Any]) -> None:
        event = {"of": name, **payload}
        self.run.write("scored", event, feature)
        standing = self.standing[feature]
        standing[name] = with_scores(standing.get(name), event)

    def _other(self, feature: int, choice: Choice) -> int | None:
        """The feature whose explanation is this one's random control.

        The run's features stand in a circle, in an order drawn by the seed; each gets the next
        one that has an explanation that can answer likewise. So nobody gets its own, and timing
        changes nothing.
        """
        circle = self._circle(choice)
        at = bisect.bisect_right(circle, self._place(feature), key=lambda one: one[0])
        for _, other in (*circle[at : at + 2], *circle[:2]):
            if other != feature:
                return other
        return None

    def _circle(self, choice: Choice) -> list[tuple[bytes, int]]:
        """Place and feature of all whose explanation can answer in a way, in order."""
        if choice.kind not in self._circles:
            self._circles[choice.kind] = sorted(
                (self._place(one), one)
                for one in self.standing
                if (found := self._explanation(one)) and choice.able(found)
            )
        return self._circles[choice.kind]

    def _place(self, feature: int) -> bytes:
        return hashlib.sha256(f"{self._seed} {feature}".encode()).digest()

    def _explanation(self, feature: int) -> Explanation | None:
        """What was concluded of a feature; None where that failed, or is not done."""
        if feature not in self._read:
            with self.run.reading(feature):
                self._read[feature] = explanation_in(self.standing.get(feature, {}))
        return self._read[feature]


async def score_feature(source: FeatureSource, run: Run, feature: int, seed: int) -> None:
    """Score what a run concluded of one feature, beside its controls, as a job does."""
    await RunScorer(source, run, seed).score(feature)


def _cost(choice: Choice) -> dict[str, Any]:
    """What judging took since it was last written down."""
    judge = choice.mind
    if judge is None or not isinstance(judge.calls, JudgingCalls):
        return {}
    return {"cost": judge.calls.cost(judge.client().charge)}


def explanation_in(standing: dict[str, Any]) -> Explanation | None:
    """The explanation among what stands of a feature, if there is one."""
    concluded = standing.get("concluded")
    if concluded is None or concluded["conclusion"]["status"] == "failed":
        return None
    return Explanation.model_validate(concluded["conclusion"]["explanation"])


def sentence(error: Exception) -> str:
    """What went wrong, as it stands in the journal."""
    return f"{type(error).__name__}: {error}"
