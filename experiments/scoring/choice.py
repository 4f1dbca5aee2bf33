"""Which simulator answers for an explanation: its rule, a language model, or sentence embeddings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...agents.minds.choice import FORMS, Mind
from ...agents.records import Explanation
from ...agents.rules.write import Tokenize
from ...sae.errors import CannotAnswer, UnknownName
from . import embedding
from .embedding import EmbeddingSimulator
from .judge import JudgeSimulator
from .simulator import OutputSimulator, RuleSimulator, Simulator, words_of

if TYPE_CHECKING:
    from ...agents.budget import Spending
    from ...agents.llm.client import Usage

#: What users may ask for.
KINDS = ("auto", "rule", "judge", "embedding")

#: Why an explanation has no scores that nothing here can answer for.
NO_RULE = (
    "it is in words alone, and nothing here predicts activations from words: give it a rule, name a "
    "language model that judges it (--scorer-mind), or install sentence embeddings "
    "(pip install 'sagescope[embeddings]')"
)


@dataclass(frozen=True)
class Choice:
    """How explanations, and the controls beside them, are made to answer.

    kind: one of KINDS. "auto" runs the rule where an explanation has one; else `mind` judges, where
    there is one; else sentence embeddings are compared, where they are installed. mind: the language
    model that judges. seed: see JudgeSimulator. spending: what its calls are counted in.
    """

    kind: str = "auto"
    mind: Mind | None = None
    seed: int = 0
    spending: Spending | None = None

    def check(self) -> None:
        """Raise UnknownName, KeyRefused or CannotAnswer for what can never be, before any work."""
        if self.kind not in KINDS:
            raise UnknownName("simulator", self.kind, KINDS)
        if self.kind == "judge" and self.mind is None:
            raise UnknownName("judge", "", FORMS)
        if self.kind == "embedding" and not embedding.installed():
            raise CannotAnswer(embedding.MISSING)
        if self.mind is not None:
            self.mind.client()

    def of(self, explanation: Explanation) -> Choice:
        """The choice with "auto" decided, as this explanation has it.

        Raises CannotAnswer where nothing can answer for it.
        """
        if self.kind == "auto":
            return dataclasses.replace(self, kind=self._best(explanation))
        if self.kind == "rule" and not self.able(explanation):
            raise CannotAnswer("it is in words alone: have it judged, by --simulator judge")
        return self

    def able(self, explanation: Explanation) -> bool:
        """Whether an explanation can answer in this way."""
        by_rule = explanation.rule is not None or explanation.side == "output"
        return by_rule if self.kind == "rule" else bool(words_of(explanation))

    def simulator(
        self, explanation: Explanation, tokenize: Tokenize, room: int | None = None
    ) -> Simulator:
        """The simulator of an explanation. tokenize, room: the feature source's (see `RuleSimulator`).

        Of kind "rule", an explanation without one predicts silence everywhere.
        """
        words = words_of(explanation)
        if self.kind == "auto":
            return self.of(explanation).simulator(explanation, tokenize, room)
        if self.kind == "judge" and self.mind is not None:
            how = self.seed, self.spending, self.mind.prompts
            client = _kept(self.mind).client()
            return JudgeSimulator(words, client, *how, side=explanation.side)
        if self.kind == "embedding":
            return EmbeddingSimulator(words, side=explanation.side)
        if explanation.rule is None and explanation.side == "output":
            return OutputSimulator(explanation.labels, words)
        return RuleSimulator(explanation.rule, tokenize, words=words, room=room)

    def _best(self, explanation: Explanation) -> str:
        if explanation.rule is not None:
            return "rule"
        if self.mind is not None:
            return "judge"
        if explanation.side == "output":
            return "rule"
        if embedding.installed():
            return "embedding"
        raise CannotAnswer(NO_RULE)


#: Every explanation by its rule.
BY_RULE = Choice("rule")


def simulator_of(
    explanation: Explanation,
    tokenize: Tokenize,
    choice: Choice = BY_RULE,
    room: int | None = None,
) -> Simulator:
    """The simulator of an explanation. Raises CannotAnswer where nothing can answer for it."""
    return choice.simulator(explanation, tokenize, room)


def _kept(mind: Mind) -> Mind:
    """A mind that is asked nothing twice: several scorers put the same question."""
    return mind if mind.calls is not None else dataclasses.replace(mind, calls=_Memory())


@dataclass
class _Memory:
    """Calls kept for as long as this lives (see `agents.llm.recorded.CallLog`)."""

    calls: dict[str, dict[str, Any]] = field(default_factory=dict)

    def get(self, digest: str) -> dict[str, Any] | None:
        return self.calls.get(digest)

    def put(self, digest: str, call: dict[str, Any]) -> None:
        self.calls[digest] = call

    def asked(self, digest: str, expected: Usage) -> None:
        return

    def gave_up(self, digest: str, maybe_paid: bool) -> None:
        return
