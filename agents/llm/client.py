"""The interface of language models: messages and a JSON schema in, text and usage out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ...sae.errors import UnknownName
from ..budget import Charge, Spending
from .retry import Patience

#: What a reply is reckoned at, in tokens, until it is there (or the request's cap, if that is less).
EXPECTED_OUTPUT = 1000


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(_Frozen):
    """One turn of a conversation.

    stable: later requests begin with the same messages up to and including this one, so that a
    provider with a prompt cache should keep them. System messages always count as stable.
    """

    role: Literal["system", "user", "assistant"]
    text: str
    stable: bool = False

    @field_validator("text")
    @classmethod
    def _encodable(cls, text: str) -> str:
        # Half a surrogate pair, as cut texts have it, goes over no wire.
        return text.encode("utf-8", "replace").decode()


class ReplySchema(_Frozen):
    """What a reply has to look like. name: letters, digits, '_' and '-', at most 64."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    json_schema: dict[str, Any]


class Request(_Frozen):
    """What a model is asked.

    messages: system messages first. max_output_tokens: includes what the model thinks unseen.
    temperature, seed: sent where the provider takes them; None is the provider's own. sample: tells
    apart requests that are equal and are each to be answered (best of k); it is not sent.
    """

    messages: tuple[Message, ...] = Field(min_length=1)
    reply_schema: ReplySchema | None = None
    max_output_tokens: int = Field(default=8192, gt=0)
    temperature: float | None = None
    seed: int | None = None
    sample: int = 0

    def digest(self, address: str) -> str:
        """Identifies this exact request to the client of this `address`."""
        exact = json.dumps([address, self.model_dump()], sort_keys=True)
        return hashlib.sha256(exact.encode()).hexdigest()

    def expected_usage(self) -> Usage:
        """What the call will use, as far as one can say beforehand, rather too much input."""
        schema = json.dumps(self.reply_schema.json_schema) if self.reply_schema else ""
        texts = [*(message.text for message in self.messages), schema]
        return Usage(
            input_tokens=sum(tokens_of(text) + 8 for text in texts),
            output_tokens=min(EXPECTED_OUTPUT, self.max_output_tokens),
            estimated=True,
        )


class Usage(_Frozen):
    """Tokens of one call.

    input_tokens: all of the input, of which cached_input_tokens were read from the provider's prompt
    cache and cache_write_tokens written to it. output_tokens: with what the model thought unseen.
    estimated: reckoned by us, where the provider did not say.
    """

    input_tokens: int = Field(default=0, ge=0)
    cached_input_tokens: int = Field(default=0, ge=0)
    cache_write_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    estimated: bool = False

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class Reply(_Frozen):
    """What came back.

    finish: "stop" is a full reply, "length" one cut at max_output_tokens. model: as the provider
    names it. seconds: from the first attempt to the end. replayed: taken from a log, for nothing.
    """

    text: str
    finish: Literal["stop", "length", "refusal", "other"]
    usage: Usage
    model: str
    seconds: float = 0.0
    replayed: bool = False


class Attempts(Protocol):
    """Is told of the attempts at one call."""

    def begun(self) -> None:
        """One is about to be sent: unless a reply or `failed` follows, it may have been paid for."""
        ...

    def failed(self, maybe_paid: bool) -> None:
        """It brought no reply. maybe_paid: whether it may have been paid for all the same."""
        ...


class Client(Protocol):
    """Asks one model of one provider. Many tasks of one event loop may share it.

    address: provider, base URL and model in one line; no key in it.
    """

    provider: str
    model: str
    address: str

    def charge(self, usage: Usage) -> Charge:
        """What a call of this usage takes."""
        ...

    async def complete(
        self,
        request: Request,
        spending: Spending | None = None,
        leaving: Charge | None = None,
        attempts: Attempts | None = None,
    ) -> Reply:
        """Ask, with retries; every attempt is counted in `spending`, before and after.

        leaving: what the feature's own caps must have room for beside the call. attempts: is told
        of each.

        Raises BudgetExhausted before a call that a cap has no room for, PriceError for a cap on
        money where the model has no known price, and ProviderError.
        """
        ...


def tokens_of(text: str) -> int:
    """About how many tokens a text has, for any tokenizer; rather too many."""
    return math.ceil(len(text.encode(errors="replace")) / 3.5)


def open_client(spec: str, patience: Patience | None = None) -> Client:
    """The client of a model as it is named on the command line.

    spec: `openai:MODEL`, `anthropic:MODEL`, or `http://HOST:PORT/v1#MODEL` for a server that speaks
    OpenAI's protocol. Keys come from OPENAI_API_KEY, ANTHROPIC_API_KEY and (for other servers, if
    at all) SAGESCOPE_API_KEY, in the environment or in `.env` in the working directory; base URLs
    from OPENAI_BASE_URL and ANTHROPIC_BASE_URL, as the providers' own packages have it. Raises
    UnknownName for another spec, KeyRefused where there is no key.
    """
    from .provider import ProviderClient
    from .wires import WIRES, compatible

    if (opener := _opener.get()) is not None:
        return opener(spec)
    provider, model = provider_and_model(spec)
    if provider == "http":
        return ProviderClient(*compatible(spec), patience or Patience())
    return ProviderClient(WIRES[provider](), model, patience or Patience())


#: Opens clients in the place of `open_client`.
_opener: ContextVar[Callable[[str], Client] | None] = ContextVar("opener", default=None)


@contextlib.contextmanager
def opened_by(opener: Callable[[str], Client]) -> Iterator[None]:
    """Inside the block every client comes from `opener`: a process that has no keys asks another."""
    before = _opener.set(opener)
    try:
        yield
    finally:
        _opener.reset(before)


def provider_and_model(spec: str) -> tuple[str, str]:
    """What a spec names, without a key: "openai", "anthropic" or "http", and the model.

    Raises UnknownName as `open_client` does.
    """
    from .wires import WIRES, compatible

    name, _, model = spec.partition(":")
    if name in ("http", "https"):
        return "http", compatible(spec)[1]
    if name not in WIRES or not model:
        forms = [*(f"{known}:MODEL" for known in WIRES), "http://HOST:PORT/v1#MODEL"]
        raise UnknownName("language model", spec, forms)
    return name, model
