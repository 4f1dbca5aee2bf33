"""A dialogue with a language model: each step rendered anew, or all that was said before replayed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..budget import Charge, Spending
from ..minds.sketch import Form
from ..wording import render

if TYPE_CHECKING:
    from ..llm.client import Client, Message

F = TypeVar("F", bound=Form)


@dataclass
class Dialogue:
    """Asks step after step. folder: of the templates; prompts: somebody's edited copies of them.

    replayed: whether every request carries all questions and answers before it.
    """

    client: Client
    folder: str
    prompts: Path | None
    replayed: bool
    _said: list[Message] = field(default_factory=list)

    async def ask(
        self,
        step: str,
        form: type[F],
        spending: Spending,
        leaving: Charge | None = None,
        **shown: Any,
    ) -> F:
        """One step. Raises ReplyError, BudgetExhausted and ProviderError; what failed is forgotten.

        leaving: what the feature's budget must have room for beside the call.
        """
        from ..llm.client import Message
        from ..llm.structured import ask

        system = render(f"{self.folder}/system.j2", self.prompts)
        question = Message(
            role="user",
            text=render(f"{self.folder}/{step}.j2", self.prompts, replayed=self.replayed, **shown),
        )
        # Only the last is marked: a provider takes few marks, and finds the shorter prefixes itself.
        marked = question.model_copy(update={"stable": self.replayed})
        messages = [Message(role="system", text=system, stable=True), *self._said, marked]
        answer, replies = await ask(self.client, messages, form, spending=spending, leaving=leaving)
        if self.replayed:
            self._said += [question, Message(role="assistant", text=replies[-1].text)]
        return answer
