"""The judge: a language model that answers from an explanation's words, and sees nothing else.

It is told the explanation and texts, never an activation, the rule, the evidence or who explained;
each question is a conversation of its own, so that the call that judges is never the one that wrote.
Texts are JSON strings on a line of their own, and marks in them cannot be forged, so that no corpus
text can speak to it. What it gives no usable answer for has failed, and is no zero.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ...prompts.render import render
from ...sae.errors import CannotAnswer, ReplyError, RequestRefused
from ...sae.evidence import FIRES_AT
from ...sae.visible import visible
from .simulator import Context, Simulator, settled

if TYPE_CHECKING:
    from ...agents.budget import Spending
    from ...agents.llm.client import Client

#: Texts of one question; of one in which every token gets a level.
BATCH, BATCH_BY_TOKEN = 10, 5
#: Levels are tenths of the typical maximum.
TENTHS = 10.0
OPEN, CLOSE = "⟦", "⟧"

F = TypeVar("F", bound=BaseModel)
V = TypeVar("V")


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Grade(_Form):
    """One text's level."""

    text: int = Field(description="the number of the text")
    # A level out of range is this text's failure alone, so the form takes it.
    level: float = Field(description="from 0 (silent) to 10 (a typical peak)")


class Grades(_Form):
    """The levels of all texts."""

    grades: tuple[Grade, ...]


class Levels(_Form):
    """The levels of one text's tokens."""

    text: int = Field(description="the number of the text")
    levels: tuple[float, ...] = Field(description="one from 0 to 10 for each token, in order")


class Simulation(_Form):
    """The levels of the tokens of all texts."""

    texts: tuple[Levels, ...]


class Texts(_Form):
    """Texts that were asked for."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class JudgeSimulator(Simulator):
    """A language model as simulator.

    words: the explanation's. spending: what its calls are counted in. prompts: a folder of edited
    templates. seed: decides the order in which texts are shown, and tells equal questions apart.

    A batch whose reply is refused, empty, cut or of the wrong form (after one repair) has failed; so
    has a text that a reply leaves out, names twice with different levels, or gives a level outside 0
    to 10. A provider that cannot be reached, a budget that is spent and a wrong key are raised as
    they come (see `Client.complete`), since another try may mend them.
    """

    words: str
    client: Client
    seed: int = 0
    spending: Spending | None = None
    prompts: Path | None = None
    fires_from: float | None = FIRES_AT
    side: str = "input"

    async def grade(self, contexts: Sequence[Context]) -> np.ndarray:
        """The level of each context's strongest token. See Simulator."""
        return await self._graded("grade", [_quoted(context.shown) for context in contexts])

    async def grade_marked(self, contexts: Sequence[Context]) -> np.ndarray:
        """The mean level of the marked tokens. See Simulator."""
        return await self._graded("grade-marked", [_with_marks(one) for one in contexts])

    async def simulate(self, contexts: Sequence[Context]) -> list[np.ndarray | None]:
        """The level of each token, all of a text at once (Bills et al. 2023). See Simulator."""
        lengths = [len(context.shown) for context in contexts]

        async def one(batch: Sequence[int]) -> dict[int, np.ndarray]:
            reply = await self._ask(
                "simulate",
                Simulation,
                texts=[_numbered(contexts[place].shown) for place in batch],
                lengths=[lengths[place] for place in batch],
            )
            said = [(text.text, text.levels) for text in reply.texts] if reply else []
            told = _one_answer_each(said, batch)
            sound = {
                place: np.array(levels) / TENTHS
                for place, levels in told.items()
                if len(levels) == lengths[place] and all(_is_level(level) for level in levels)
            }
            return sound

        found = await self._all(len(contexts), BATCH_BY_TOKEN, one)
        return [found.get(place) for place in range(len(contexts))]

    async def resemblance(self, sets: Sequence[Sequence[str]]) -> np.ndarray:
        """How much of each set of tokens is what the explanation speaks of. See Simulator."""
        told = [[visible(token) for token in one] for one in sets]
        return await self._graded(
            "resemblance", [json.dumps(one, ensure_ascii=False) for one in told]
        )

    async def firing_texts(self, n: int, seed: int) -> list[str]:
        """Texts that the model writes. Raises CannotAnswer where it gives none. See Simulator."""
        return await self._written("firing-texts", n, seed)

    async def near_miss_texts(self, n: int, seed: int) -> list[str]:
        """Texts that the model writes. Raises CannotAnswer where it gives none. See Simulator."""
        return await self._written("near-miss-texts", n, seed)

    # ---------------------------------------------------------------- inside

    async def _graded(self, template: str, texts: Sequence[str]) -> np.ndarray:
        async def one(batch: Sequence[int]) -> dict[int, float]:
            reply = await self._ask(template, Grades, texts=[texts[place] for place in batch])
            said = [(grade.text, grade.level) for grade in reply.grades] if reply else []
            told = _one_answer_each(said, batch)
            return {place: level / TENTHS for place, level in told.items() if _is_level(level)}

        found = await self._all(len(texts), BATCH, one)
        return np.array([found.get(place, np.nan) for place in range(len(texts))], np.float64)

    async def _all(self, n: int, size: int, one: Any) -> dict[int, Any]:
        """Ask about n texts: in batches of about equal size, none left over, each shuffled."""
        draw = np.random.default_rng(self.seed)
        batches = np.array_split(np.arange(n), -(-n // size)) if n else []
        shuffled = [draw.permutation(batch).tolist() for batch in batches]
        found: dict[int, Any] = {}
        for part in await settled(*(one(batch) for batch in shuffled)):
            found.update(part)
        return found

    async def _written(self, template: str, n: int, seed: int) -> list[str]:
        reply = await self._ask(template, Texts, sample=seed, n=n)
        written = [text.strip() for text in reply.texts] if reply else []
        if not any(written):
            raise CannotAnswer("the judge gave no texts: name another one with --scorer-mind")
        return list(dict.fromkeys(text for text in written if text))[:n]

    async def _ask(
        self, template: str, form: type[F], *, sample: int = 0, **shown: Any
    ) -> F | None:
        """The reply to one question; None where there is no usable one."""
        from ...agents.llm.client import Message
        from ...agents.llm.structured import ask

        explanation = json.dumps(visible(self.words), ensure_ascii=False)
        question = render(f"scoring/{template}.j2", self.prompts, explanation=explanation, **shown)
        messages = [
            Message(role="system", text=render("scoring/system.j2", self.prompts), stable=True),
            Message(role="user", text=question),
        ]
        try:
            reply, _ = await ask(self.client, messages, form, spending=self.spending, sample=sample)
        except (ReplyError, RequestRefused):
            return None
        return reply


def _one_answer_each(said: Sequence[tuple[int, V]], batch: Sequence[int]) -> dict[int, V]:
    """Answers by the place that each text of the batch had before it was shuffled.

    Without those about texts that there are not, and without contradictions.
    """
    told: dict[int, V] = {}
    contradicted = set()
    for number, answer in said:
        if told.setdefault(number, answer) != answer:
            contradicted.add(number)
    known = set(told) & set(range(len(batch))) - contradicted
    return {batch[number]: told[number] for number in known}


def _is_level(level: float) -> bool:
    return 0 <= level <= TENTHS  # not for NaN


def _quoted(tokens: Sequence[str]) -> str:
    return json.dumps(visible("".join(tokens)), ensure_ascii=False)


def _numbered(tokens: Sequence[str]) -> str:
    return json.dumps([[n, visible(token)] for n, token in enumerate(tokens)], ensure_ascii=False)


def _with_marks(context: Context) -> str:
    """The text with its marked tokens in brackets that nothing else in it has."""
    marked = set(context.marked)
    parts: list[str] = []
    for place in range(context.first, context.end):
        token = visible(context.tokens[place]).replace(OPEN, "[[").replace(CLOSE, "]]")
        lead = token[: len(token) - len(token.lstrip(" "))]
        shown = f"{lead}{OPEN}{token[len(lead) :]}{CLOSE}" if place in marked else token
        parts.append(shown)
    return json.dumps("".join(parts), ensure_ascii=False)
