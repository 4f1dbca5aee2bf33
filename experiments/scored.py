"""Scoring as a job does it: each explanation beside its controls, each score written once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any

from ..agents.records import Explanation
from ..sae.errors import JournalError
from ..sae.source import FeatureSource
from .journal import Run
from .recorded import RecordedSource
from .results import made_by, standing_events, with_scores
from .scoring import Simulator, Target, can_answer, chosen, score_simulator, simulators

log = logging.getLogger(__name__)

#: Why an explanation has no scores that is in words alone.
NO_RULE = "it is in words alone, and nothing here predicts activations from words: give it a rule"


class RunScorer:
    """Scores what a run concluded, as far as that is not done.

    standing: feature → what counts of its events (see `standing_events`); scores are added to it.
    scorers: by name, None those that run by default. again: whether what could not be scored before is tried again.
    """

    def __init__(
        self,
        source: FeatureSource,
        run: Run,
        seed: int,
        standing: dict[int, dict[str, Any]] | None = None,
        scorers: Sequence[str] | None = None,
        again: bool = False,
    ):
        self.source, self.run = source, run
        self.standing = standing_events(run) if standing is None else standing
        self._seed, self._again = seed, again
        self._scorers = chosen(scorers)
        self._read: dict[int, Explanation | None] = {}

    async def score(self, feature: int) -> None:
        """Score one feature's explanation and its controls, as far as that is not done."""
        standing = self.standing.get(feature, {})
        explanation = self._explanation(feature)
        if explanation is None:
            return
        other = self._other(feature)
        target = Target(RecordedSource(self.source, self.run), feature, self._seed)
        random = self._explanation(other) if other is not None else None
        about = {"random_explanation": {"explanation_of": other}} if random else {}
        try:
            subjects = simulators(target, explanation, random)
        except JournalError:
            raise
        except Exception as error:
            log.info("scoring feature %d failed", feature, exc_info=True)
            for name in ("explanation", *about, "token_lookup"):
                if name not in standing:
                    self._scored(feature, name, {**about.get(name, {}), "why": sentence(error)})
            return
        for name, simulator in subjects.items():
            fails = "why" in standing.get(name, {})
            again = self._again and fails
            made = () if again else made_by(standing.get(name))
            scorers = [scorer for scorer in self._scorers if scorer not in made]
            if not scorers or (fails and not again):
                continue
            if name == "explanation" and not can_answer(explanation):
                marks = {"why": NO_RULE}
            else:
                marks = await self._marks(target, simulator, scorers)
            self._scored(feature, name, {**about.get(name, {}), **marks})

    async def _marks(
        self, target: Target, simulator: Simulator, scorers: Sequence[str]
    ) -> dict[str, Any]:
        """What a simulator scores, or why it scores nothing: the others are scored all the same."""
        try:
            scored = await score_simulator(target, simulator, scorers)
            return {"scorers": list(scorers), **scored.model_dump()}
        except JournalError:
            raise
        except Exception as error:
            log.info("scoring feature %d failed", target.feature, exc_info=True)
            return {"why": sentence(error)}

    def _scored(self, feature: int, name: str, payload: dict[str, Any]) -> None:
        event = {"of": name, **payload}
        self.run.write("scored", event, feature)
        standing = self.standing[feature]
        standing[name] = with_scores(standing.get(name), event)

    def _other(self, feature: int) -> int | None:
        """The feature whose explanation is this one's random control.

        The run's features stand in a circle, in an order drawn by the seed; each gets the next
        one that has an explanation to predict with. So nobody gets its own, and timing changes nothing.
        """
        others = {
            self._place(one): one
            for one in self.standing
            if one != feature and (found := self._explanation(one)) and can_answer(found)
        }
        here = self._place(feature)
        nearest = min(others, key=lambda place: (place < here, place), default=None)
        return None if nearest is None else others[nearest]

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


def explanation_in(standing: dict[str, Any]) -> Explanation | None:
    """The explanation among what stands of a feature, if there is one."""
    concluded = standing.get("concluded")
    if concluded is None or concluded["conclusion"]["status"] == "failed":
        return None
    return Explanation.model_validate(concluded["conclusion"]["explanation"])


def sentence(error: Exception) -> str:
    """What went wrong, as it stands in the journal."""
    return f"{type(error).__name__}: {error}"
