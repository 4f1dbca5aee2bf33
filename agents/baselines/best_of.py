"""Best of k: several one-shot explanations, of which the `select` split chooses one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...sae.errors import BudgetExhausted, ReplyError
from ...sae.mixture import draw
from ..loop import Investigation
from ..records import Conclusion, Hypothesis
from ..rules.language import Rule
from ..rules.sample import matcher_of
from ..task import Task
from .one_shot import DEFAULT_STYLE, SILENT, Account, ask_once, nothing, prompt, stated, write_down

if TYPE_CHECKING:
    from ..llm.client import Client, Message


@dataclass(frozen=True)
class BestOf:
    """k answers to one question; the one whose rule correlates best on the `select` split.

    All k are hypotheses of the record, and their correlations stand in the notes. Where correlations
    are equal, or the split has none to give, the earlier answer that has a rule is taken.
    """

    k: int = 4
    style: str = DEFAULT_STYLE

    async def explain(self, task: Task) -> Conclusion:
        """See Explainer. Raises ReplyError where none of the k answers is an explanation."""
        client = task.mind.client()
        loop = task.investigation()
        if not loop.notebook.stats.fired:
            return loop.conclusion(SILENT, "concluded")
        *begin, question = await prompt(self.style, loop.notebook, task.mind.prompts)
        messages = (*begin, question.model_copy(update={"stable": True}))
        answers = await self._answers(client, messages, loop)
        out_of_budget = any(isinstance(one, BudgetExhausted) for one in answers)
        status = "out_of_budget" if out_of_budget else "concluded"
        candidates: list[tuple[Hypothesis, Account, float | None]] = []
        notes: list[str] = []
        for number, answer in enumerate(answers, 1):
            if isinstance(answer, Account):
                written = write_down(answer, f"sample {number}", loop)
                found = correlation(written.rule, task) if written.rule else None
                candidates.append((written, answer, found))
                notes.append(f"Sample {number} (H{written.id}): {_told(written.rule, found)}.")
            else:
                notes.append(f"Sample {number} failed: {answer}")
        if not candidates:
            if out_of_budget:
                return loop.conclusion(nothing(*notes), status)
            raise next(one for one in answers if isinstance(one, ReplyError))
        best, account, _ = max(candidates, key=_rank)
        return loop.conclusion(stated(best, account, loop, *notes), status)

    async def _answers(
        self, client: Client, messages: tuple[Message, ...], loop: Investigation
    ) -> list[Account | ReplyError | BudgetExhausted]:
        """All samples: the first alone, so that the others find the prompt in the provider's cache."""

        async def answer(sample: int) -> Account | ReplyError | BudgetExhausted:
            try:
                return await ask_once(client, messages, loop.notebook, sample)
            except (ReplyError, BudgetExhausted) as error:
                return error

        first = await answer(0)
        try:
            async with asyncio.TaskGroup() as group:
                others = [group.create_task(answer(sample)) for sample in range(1, self.k)]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the provider: one failure says enough
        return [first, *(one.result() for one in others)]


def correlation(rule: Rule, task: Task) -> float | None:
    """Pearson's correlation of a rule with the activations, on a mixture of `select` windows.

    Over tokens, as the scorers do it on theirs. A rule that says the same of every token has 0; None
    where the activations are all the same, so that nothing can be told.
    """
    split = task.source.evidence.reader("selector").split("select")
    tokens = draw(split, task.feature, task.seed).tokens
    measured = np.maximum(split.activations(task.feature)[tokens], 0).astype(np.float64)
    predicted = matcher_of(split).predict(rule)[tokens].astype(np.float64)
    if not len(tokens) or np.ptp(measured) == 0:
        return None
    return float(np.corrcoef(predicted, measured)[0, 1]) if np.ptp(predicted) else 0.0


def _rank(candidate: tuple[Hypothesis, Account, float | None]) -> tuple[bool, float]:
    written, _, found = candidate
    return written.rule is not None, -1.0 if found is None else found


def _told(rule: Rule | None, found: float | None) -> str:
    if rule is None:
        return "in words alone"
    return "no correlation to be had" if found is None else f"Pearson {found:.3f} on select"
