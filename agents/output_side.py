"""The explainer `output-side`: what a feature makes the model say, not what it responds to.

From the tokens that the feature promotes and suppresses through the unembedding, and from how the
next token changes under steering on neutral prompts (Gur-Arieh et al. 2025). A language model words
it in one call; without one, the promoted tokens themselves are the explanation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..sae.errors import BudgetExhausted
from ..sae.outputs import Outputs, Promoted, Steering, TokenShift, TokenWeight, outputs_of
from ..sae.visible import visible
from .minds.sketch import Form, Said
from .records import Conclusion, Explanation
from .wording import render

if TYPE_CHECKING:
    from .task import Task

#: Openings that leave the next word open.
NEUTRAL = (
    "The",
    "I think that",
    "In this case, the",
    "She said that it was",
    "There is a",
    "For example,",
    "We went to the",
    "My favourite",
)
#: By how many typical maxima the feature is steered.
STRENGTHS = (1.0, 4.0)
#: Tokens listed on each side, and how many of them are labels where no language model gives any.
LISTED, LABELS = 20, 5


class Effect(Form):
    """What a feature makes the model say."""

    labels: tuple[Said, ...] = Field(
        min_length=1, description="one short name for each unrelated thing, the clearest first"
    )
    description: Said = Field(
        description="what the model is made to say next, and what it is kept from"
    )


@dataclass(frozen=True)
class OutputSide:
    """Explains features of sources that have outputs.

    strengths: by how many typical maxima the feature is steered, for a language model to see.
    """

    strengths: tuple[float, ...] = STRENGTHS

    async def explain(self, task: Task) -> Conclusion:
        """See Explainer. Raises SAEError for a source that has no outputs, or not at its hook point,
        and ReplyError where a language model gives no explanation, twice."""
        task.mind.check()
        outputs = outputs_of(task.source)
        promoted = await outputs.promoted(task.feature, LISTED)
        status = "concluded"
        explanation = _tokens_alone(promoted, task)
        if task.mind.is_language_model:
            try:
                explanation = await _worded(promoted, await self._steering(outputs, task), task)
            except BudgetExhausted as error:
                status = "out_of_budget"
                note = f"The tokens stand for themselves: {error}"
                explanation = explanation.model_copy(update={"notes": (note,)})
        return Conclusion(status=status, explanation=explanation, spent=task.spending.spent())

    async def _steering(self, outputs: Outputs, task: Task) -> list[Steering]:
        """At each strength; nothing for a feature that never fires, whose strength has no unit."""
        split = task.source.evidence.reader("explainer").split("explain")
        if not split.stats(task.feature).typical_max > 0:
            return []
        return [
            await outputs.steered(task.feature, NEUTRAL, strength, LISTED, task.seed)
            for strength in self.strengths
        ]


async def _worded(promoted: Promoted, steering: Sequence[Steering], task: Task) -> Explanation:
    from .llm.client import Message
    from .llm.structured import ask

    mind = task.mind
    shown = {
        "promoted": _weights(promoted.promoted),
        "suppressed": _weights(promoted.suppressed),
        "steering": [_steered(one) for one in steering],
        "prompt": NEUTRAL[1],
    }
    messages = [
        Message(role="system", text=render("output-side/system.j2", mind.prompts), stable=True),
        Message(role="user", text=render("output-side/explain.j2", mind.prompts, **shown)),
    ]
    found, _ = await ask(mind.client(), messages, Effect, spending=task.spending)
    return Explanation(
        labels=found.labels,
        description=found.description,
        side="output",
        notes=tuple(
            f"Steering by {one.strength:g} typical maxima moves the next token by {one.kl:.2f} nats, "
            f"a random direction by {one.control_kl:.2f}."
            for one in steering
        ),
    )


def _tokens_alone(promoted: Promoted, task: Task) -> Explanation:
    up, down = (
        [_quoted(one.token) for one in listed[:LABELS]]
        for listed in (promoted.promoted, promoted.suppressed)
    )
    words = (visible(one.token).strip() for one in promoted.promoted)
    distinct = {word.casefold(): word for word in words if word}
    return Explanation(
        labels=tuple(distinct.values())[:LABELS] or tuple(up),
        description=render(
            "output-side/tokens.j2", task.mind.prompts, promoted=up, suppressed=down
        ),
        side="output",
    )


def _weights(listed: Sequence[TokenWeight]) -> list[tuple[str, float]]:
    return [(_quoted(one.token), one.weight) for one in listed]


def _steered(one: Steering) -> dict[str, Any]:
    return {**vars(one), "rises": _shifts(one.rises), "falls": _shifts(one.falls)}


def _shifts(listed: Sequence[TokenShift]) -> list[tuple[str, float, float, float]]:
    return [(_quoted(one.token), one.shift, one.control, one.probability) for one in listed]


def _quoted(token: str) -> str:
    return json.dumps(visible(token), ensure_ascii=False)
