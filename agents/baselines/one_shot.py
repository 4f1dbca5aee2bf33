"""One-shot explainers: one look at the evidence, one call, one explanation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from ...prompts.render import render
from ...sae.errors import BudgetExhausted
from ..groups import coverage
from ..loop import Investigation, Proposal
from ..minds.levels import measured_rule
from ..minds.sketch import Form, Group
from ..notebook import Notebook
from ..records import Conclusion, Explanation, Hypothesis
from ..task import Task
from .styles import STYLES, promoted

if TYPE_CHECKING:
    from pathlib import Path

    from ..llm.client import Client, Message

#: The style that is the matched rival of `sage`.
DEFAULT_STYLE = "contrastive"


class Account(Form):
    """The explanation of a feature."""

    labels: tuple[str, ...] = Field(
        min_length=1, description="one short name for each unrelated thing, most activation first"
    )
    description: str = Field(min_length=1, description="what it fires on, and what it does not")
    groups: tuple[Group, ...] = Field(
        default=(), description="the sketch; empty only where no list of words can stand for it"
    )


@dataclass(frozen=True)
class OneShot:
    """One call, in one of STYLES. An explanation in words alone has no rule."""

    style: str = DEFAULT_STYLE

    async def explain(self, task: Task) -> Conclusion:
        """See Explainer. Raises ReplyError where the model gives no explanation, twice."""
        client = task.mind.client()
        loop = task.investigation()
        if not loop.notebook.stats.fired:
            return loop.conclusion(SILENT, "concluded")
        messages = await prompt(self.style, loop.notebook, task.mind.prompts)
        try:
            account = await ask_once(client, messages, loop.notebook)
        except BudgetExhausted as error:
            return loop.conclusion(nothing(str(error)), "out_of_budget")
        return loop.conclusion(
            stated(write_down(account, self.style, loop), account, loop), "concluded"
        )


#: What is said of a feature that there is nothing to see of.
SILENT = Explanation(labels=("never fires",), description="It never fires on the corpus.")


def nothing(*notes: str) -> Explanation:
    """What is said where the budget had no room for an explanation."""
    return Explanation(
        labels=("no explanation",), description="No explanation was found.", notes=notes
    )


async def prompt(style: str, notebook: Notebook, folder: Path | None) -> tuple[Message, ...]:
    """The whole prompt of a style. folder: somebody's edited templates."""
    from ..llm.client import Message

    shown = {"stats": notebook.stats, **STYLES[style](notebook)}
    if style == "max-activation":
        shown["promoted"] = await promoted(notebook)
    return (
        Message(role="system", text=render("one-shot/system.j2", folder), stable=True),
        Message(role="user", text=render(f"one-shot/{style}.j2", folder, **shown)),
    )


async def ask_once(
    client: Client, messages: tuple[Message, ...], notebook: Notebook, sample: int = 0
) -> Account:
    """One answer. sample: tells equal questions apart. Raises ReplyError, BudgetExhausted."""
    from ..llm.structured import ask

    account, _ = await ask(client, messages, Account, spending=notebook.spending, sample=sample)
    return account


def write_down(account: Account, kind: str, loop: Investigation) -> Hypothesis:
    """The answer as a hypothesis of the record, its sketch with the levels that are measured."""
    rule = measured_rule(account.groups, loop.notebook)
    (added,) = loop.add([Proposal(kind, account.description, rule)])
    return added


def stated(
    hypothesis: Hypothesis, account: Account, loop: Investigation, *notes: str
) -> Explanation:
    """An answer as the explanation."""
    rule = hypothesis.rule
    return Explanation(
        labels=account.labels,
        description=account.description,
        rule=rule,
        coverage=coverage(rule, loop.notebook) if rule else None,
        hypothesis=hypothesis.id,
        notes=notes,
    )
