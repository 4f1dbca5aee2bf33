"""Hints: what explainers that need no language model say of a feature, as hypotheses for the loop.

`sage+weightlens` is the loop with such hints: they stand beside what its mind proposes, are probed
and refined as those are, and their kind says where they come from. A hint that fails, or has nothing
to say, is a note of the explanation and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isinf
from typing import TYPE_CHECKING, Protocol

from ..sae.errors import JournalError, ServiceError
from .budget import Budget, Spending
from .inside.circuit_graph import CircuitGraph
from .loop import ProbeDesign, Proposal, Reasoner
from .notebook import Notebook
from .records import Explanation, Record
from .rules.language import Rule

if TYPE_CHECKING:
    from .task import Explainer, Task

#: What the kind of a hypothesis begins with that is a hint; the explainer's name follows.
HINT = "hint: "
#: What hints of one feature may take together of the probes and of the seconds that it has left.
SHARE = 0.25


class Hint(Record):
    """What an explainer said of a feature.

    explainer: its name. explanation: None where it failed. why: it failed, else "". probes: texts
    that it ran. circuit: the attribution graph that it found, where it looks for one.
    """

    explainer: str
    explanation: Explanation | None = None
    why: str = ""
    probes: int = 0
    circuit: CircuitGraph | None = None


class HintLog(Protocol):
    """Keeps what hints said, so that an attempt that is gone on with hears the same."""

    def find(self, explainer: str) -> Hint | None:
        """What was said before, if anything."""
        ...

    def keep(self, hint: Hint) -> None:
        """Keep what was said."""
        ...


@dataclass
class NoLog:
    """A log that forgets."""

    def find(self, explainer: str) -> Hint | None:
        """See HintLog."""
        return None

    def keep(self, hint: Hint) -> None:
        """See HintLog."""


async def hints_of(task: Task, explainers: Sequence[tuple[str, Explainer]]) -> list[Hint]:
    """What each of some explainers says of a task's feature.

    They share a part of its probes and seconds. Raises what stops a run as a whole (JournalError,
    ServiceError).
    """
    found = []
    spending = task.spending
    most = SHARE * spending.left("probes")
    until = spending.seconds + SHARE * spending.left("seconds")
    for place, (name, explainer) in enumerate(explainers):
        hint = task.hints.find(name)
        if hint is None:
            others = len(explainers) - place
            seconds = max(0.0, until - spending.seconds) / others
            hint = await _asked(task, name, explainer, most / others, seconds)
            task.hints.keep(hint)
        if hint.circuit is not None:
            task.record("circuit", hint.circuit)
        most = max(0.0, most - hint.probes)
        # What was run counts, also where the log answers: so an attempt ends as it would have.
        spending.add("probes", int(min(hint.probes, spending.left("probes"))))
        found.append(hint)
    return found


async def _asked(
    task: Task, name: str, explainer: Explainer, probes: float, seconds: float
) -> Hint:
    """What one explainer says, with caps of its own; infinite ones are none."""
    own = Spending(
        Budget(
            probes=None if isinf(probes) else int(probes),
            rounds=None,
            seconds=None if isinf(seconds) else seconds,
        )
    )
    circuits: list[CircuitGraph] = []

    def record(kind: str, /, *records: Record) -> None:
        """Of what a hint does only the graph is written down: its hypotheses are none of the loop's."""
        circuits.extend(one for one in records if isinstance(one, CircuitGraph))

    try:
        conclusion = await explainer.explain(replace(task, spending=own, record=record))
    except (JournalError, ServiceError):
        raise
    except Exception as error:
        return Hint(explainer=name, why=f"{type(error).__name__}: {error}", probes=own.probes)
    if conclusion.status == "failed":
        return Hint(explainer=name, why=conclusion.error or "it failed", probes=own.probes)
    return Hint(
        explainer=name,
        explanation=conclusion.explanation,
        probes=own.probes,
        circuit=circuits[-1] if circuits else None,
    )


@dataclass
class Hinted:
    """A mind that is told hints: it proposes them beside its own hypotheses.

    notes: what came of hints that are no hypotheses, which the conclusion tells.
    """

    mind: Reasoner
    hints: Sequence[Hint]
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The mind's own."""
        return self.mind.name

    async def propose(self, notebook: Notebook) -> Sequence[Proposal]:
        """The mind's proposals, then those hints that say something else."""
        own = list(await self.mind.propose(notebook))
        for hint in self.hints:
            one = self._proposal(hint, [other.rule for other in own if other.rule])
            own += [one] if one else []
        return own

    def _proposal(self, hint: Hint, rules: Sequence[Rule]) -> Proposal | None:
        said, name = hint.explanation, hint.explainer
        if said is None:
            self.notes.append(f"The hint of {name} failed: {hint.why}")
        elif said.rule is None or not said.rule.clauses:
            self.notes.append(f"The hint of {name}: {said.description}")
        elif _conditions(said.rule) in map(_conditions, rules):
            self.notes.append(f"The hint of {name} says what was proposed already.")
        else:
            return Proposal(HINT + name, said.description, said.rule)
        return None

    async def design(self, notebook: Notebook) -> Sequence[ProbeDesign]:
        """See Reasoner."""
        return await self.mind.design(notebook)

    async def refine(self, notebook: Notebook) -> Sequence[Proposal]:
        """See Reasoner."""
        return await self.mind.refine(notebook)

    async def settle(self, notebook: Notebook) -> Sequence[ProbeDesign]:
        """See Reasoner."""
        return await self.mind.settle(notebook)

    async def conclude(self, notebook: Notebook) -> Explanation:
        """The mind's explanation, with what is to be told of the hints."""
        found = await self.mind.conclude(notebook)
        told = [*self.notes, *_taken(found, notebook)]
        return found.model_copy(update={"notes": (*found.notes, *told)}) if told else found


def _taken(explanation: Explanation, notebook: Notebook) -> list[str]:
    """Where what is concluded was a hint, or was refined from one: its origin."""
    number = explanation.hypothesis
    while number is not None:
        one = notebook.hypotheses[number]
        if one.kind.startswith(HINT):
            how = "is" if number == explanation.hypothesis else "is refined from"
            return [f"This {how} the hint of {one.kind.removeprefix(HINT)}."]
        number = one.parent
    return []


def _conditions(rule: Rule) -> frozenset[object]:
    return frozenset(clause.conditions for clause in rule.clauses)
