"""Replies of a given form: the provider's schema mode where it has one, one repair, or an error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ...sae.errors import ReplyError
from ..budget import Charge, Spending
from .client import Client, Message, Reply, ReplySchema, Request

M = TypeVar("M", bound=BaseModel)

#: Of what does not fit: how many places are told, and how much of a reply is shown.
TOLD, SHOWN = 5, 200

_BRACES = re.compile(r'\\.|["{}]', re.DOTALL)


async def ask(
    client: Client,
    messages: Sequence[Message],
    form: type[M],
    *,
    spending: Spending | None = None,
    max_output_tokens: int = 8192,
    temperature: float | None = None,
    seed: int | None = None,
    sample: int = 0,
    leaving: Charge | None = None,
) -> tuple[M, list[Reply]]:
    """Ask for an object of the type `form`; also returns the one or two replies that it took.

    A reply that does not fit is sent back once, with what is wrong with it. Raises ReplyError where
    the second does not fit either, and for replies that a second try would not mend: refusals,
    empty ones, and ones cut at max_output_tokens. Else raises what Client.complete raises.
    leaving: what the feature's own caps must have room for beside each of the two calls.
    """
    request = Request(
        messages=tuple(messages),
        reply_schema=ReplySchema(
            name=re.sub(r"[^A-Za-z0-9_-]", "_", form.__name__)[:64],
            json_schema=_schema_of(form),
        ),
        max_output_tokens=max_output_tokens,
        temperature=temperature,
        seed=seed,
        sample=sample,
    )
    reply = await client.complete(request, spending, leaving)
    replies = [reply]
    try:
        return read(reply, form), replies
    except ReplyError as error:
        if error.reason != "form":
            raise
        told = Message(role="user", text=f"{error} Give the whole object again, corrected.")
    said = Message(role="assistant", text=reply.text)
    repair = request.model_copy(update={"messages": (*request.messages, said, told)})
    replies.append(await client.complete(repair, spending, leaving))
    return read(replies[-1], form), replies


# Making one takes longer than a call's other work, and there are few forms.
@cache
def _schema_of(form: type[BaseModel]) -> dict[str, Any]:
    return form.model_json_schema()


def read(reply: Reply, form: type[M]) -> M:
    """The object in a reply. Raises ReplyError; its `reason` says of what kind."""
    if reply.finish == "refusal":
        raise ReplyError(f"The model refused to answer: {_shown(reply.text)}", "refusal")
    if not reply.text.strip():
        what = (
            "empty: all its output tokens went into thinking"
            if reply.finish == "length"
            else "empty"
        )
        raise ReplyError(f"The model's reply is {what}: allow more, or ask another model.", "empty")
    wrong = None
    for text in objects_in(reply.text):
        try:
            return form.model_validate_json(text)
        except ValidationError as error:
            wrong = wrong or error
    if reply.finish == "length":
        raise ReplyError(
            f"The model's reply was cut after {reply.usage.output_tokens} tokens, before its "
            f"object was whole: allow more output tokens, or ask for less.",
            "length",
        )
    if wrong is None:
        raise ReplyError(f"The reply holds no JSON object: {_shown(reply.text)}", "form")
    raise ReplyError(f"The reply's object does not fit the schema: {_told(wrong)}.", "form")


def objects_in(text: str) -> Iterator[str]:
    """The outermost JSON objects of a text, in order, wherever they stand in it."""
    if text.lstrip().startswith("<think>"):  # drafts stand there
        text = text.partition("</think>")[2]
    place = text.find("{")
    while place >= 0:
        end = _end_of_object(text, place)
        if end is None:
            return
        yield text[place:end]
        place = text.find("{", end)


def _end_of_object(text: str, start: int) -> int | None:
    """Where the braces that open at `start` close; None where they do not."""
    depth, in_string = 0, False
    for piece in _BRACES.finditer(text, start):
        mark = piece.group()
        if mark == '"':
            in_string = not in_string
        elif not in_string and mark in "{}":
            depth += 1 if mark == "{" else -1
            if depth == 0:
                return piece.end()
    return None


def _told(error: ValidationError) -> str:
    # Without the input: it stands in the reply, and may be long.
    places = error.errors(include_url=False, include_input=False, include_context=False)
    told = [f"{'.'.join(map(str, p['loc'])) or 'the object'}: {p['msg']}" for p in places[:TOLD]]
    more = len(places) - TOLD
    return "; ".join([*told, f"and {more} more"] if more > 0 else told)


def _shown(text: str) -> str:
    shown = " ".join(text.split())
    return json.dumps(shown if len(shown) <= SHOWN else shown[:SHOWN] + "…", ensure_ascii=True)
