"""Wires: how a request goes over one provider's protocol, through the provider's own package.

A wire turns a Request into the arguments of the package's call and the package's answer into a
Reply. Limits, retries, budgets and keys in messages are not its business (see `provider`).
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from urllib.parse import SplitResult, urlsplit

from ...sae.errors import UnknownName
from .client import Reply, ReplySchema, Request, Usage, tokens_of
from .keys import key_of, needed_key

Finish = Literal["stop", "length", "refusal", "other"]


@dataclass(frozen=True)
class Wire(ABC):
    """One protocol, at one address, with one key. at_once: how many calls are tried to begin with.

    optional: the parts of a request that a provider may not know; they are left out where it
    refuses them.
    """

    provider: str
    base_url: str
    key: str | None = field(repr=False)
    at_once: int = 32
    optional: ClassVar[tuple[str, ...]]

    @property
    def place(self) -> str:
        """The base URL without what may be secret in it."""
        url = urlsplit(self.base_url)
        return url._replace(netloc=url.netloc.rpartition("@")[2], query="").geturl()

    @abstractmethod
    def package(self) -> Any:
        """The provider's package, imported."""

    @abstractmethod
    def connect(self) -> Any:
        """The package's asynchronous client, without retries of its own."""

    @abstractmethod
    def arguments(self, request: Request, model: str, without: Collection[str]) -> dict[str, Any]:
        """What to send. `without`: which of `optional` to leave out."""

    @abstractmethod
    async def send(self, connection: Any, arguments: dict[str, Any], seconds: float) -> Any:
        """Send it, once, for so many seconds; the package's errors are raised as they are."""

    @abstractmethod
    def reply(self, answer: Any, request: Request) -> Reply:
        """Read the answer; anything may be raised where it is not of the protocol."""


@dataclass(frozen=True)
class OpenAIWire(Wire):
    """OpenAI's chat completions."""

    optional: ClassVar[tuple[str, ...]] = ("temperature", "seed", "response_format")
    cap: ClassVar[str] = "max_completion_tokens"

    def package(self) -> Any:
        """See Wire."""
        import openai

        return openai

    def connect(self) -> Any:
        """See Wire."""
        import openai

        return openai.AsyncOpenAI(api_key=self.key, base_url=self.base_url, max_retries=0)

    def arguments(self, request: Request, model: str, without: Collection[str]) -> dict[str, Any]:
        """See Wire."""
        schema = request.reply_schema
        arguments: dict[str, Any] = {"model": model, self.cap: request.max_output_tokens}
        if request.temperature is not None:
            arguments["temperature"] = request.temperature
        if request.seed is not None:
            arguments["seed"] = request.seed
        if schema:
            arguments["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": schema.name,
                    "strict": True,
                    "schema": strict(schema.json_schema),
                },
            }
        for name in without:
            arguments.pop(name, None)
        turns = [{"role": m.role, "content": m.text} for m in request.messages]
        if schema and "response_format" in without:
            turns[-1]["content"] += described(schema)
        return {**arguments, "messages": turns}

    async def send(self, connection: Any, arguments: dict[str, Any], seconds: float) -> Any:
        """See Wire."""
        return await self._post(connection, arguments, seconds, {})

    async def _post(
        self, connection: Any, arguments: dict[str, Any], seconds: float, headers: dict[str, Any]
    ) -> Any:
        from openai.types.chat import ChatCompletion

        # What `chat.completions.create` does, but for its walk through types over all we send, which
        # takes longer than everything else about a call.
        return await connection.post(
            "/chat/completions",
            body={**arguments, "stream": False},
            options={
                "timeout": seconds,
                "headers": headers,
                "security": {"bearer_auth": True},  # else an administrator's key goes along, too
            },
            cast_to=ChatCompletion,
        )

    def reply(self, answer: Any, request: Request) -> Reply:
        """See Wire."""
        choice = answer.choices[0]
        text = choice.message.content or ""
        refusal = getattr(choice.message, "refusal", None)
        finish = "refusal" if refusal else _OPENAI_FINISH.get(choice.finish_reason, "other")
        usage = expected(request, refusal or text)
        if answer.usage is not None:
            details = answer.usage.prompt_tokens_details
            usage = Usage(
                input_tokens=answer.usage.prompt_tokens,
                cached_input_tokens=getattr(details, "cached_tokens", None) or 0,
                cache_write_tokens=getattr(details, "cache_write_tokens", None) or 0,
                output_tokens=answer.usage.completion_tokens,
            )
        return Reply(text=refusal or text, finish=finish, usage=usage, model=answer.model)


@dataclass(frozen=True)
class CompatibleWire(OpenAIWire):
    """The same at another server: it knows the cap by its old name, and gets nothing of OpenAI's."""

    cap: ClassVar[str] = "max_tokens"

    def connect(self) -> Any:
        """See Wire."""
        import openai

        lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
        ambient = [line.partition(":")[0].strip() for line in lines if ":" in line]
        headers: dict[str, Any] = dict.fromkeys(
            [*ambient, "OpenAI-Organization", "OpenAI-Project"], openai.Omit()
        )
        return openai.AsyncOpenAI(
            # Not None, which would be OpenAI's key; what is sent instead stands in `send`.
            api_key=self.key or "none",
            base_url=self.base_url,
            max_retries=0,
            default_headers=headers,
        )

    async def send(self, connection: Any, arguments: dict[str, Any], seconds: float) -> Any:
        """See Wire."""
        import openai

        bearer = f"Bearer {self.key}" if self.key else openai.Omit()
        return await self._post(connection, arguments, seconds, {"Authorization": bearer})


@dataclass(frozen=True)
class AnthropicWire(Wire):
    """Anthropic's messages. They take neither a temperature nor a seed."""

    optional: ClassVar[tuple[str, ...]] = ("output_config",)

    def package(self) -> Any:
        """See Wire."""
        import anthropic

        return anthropic

    def connect(self) -> Any:
        """See Wire."""
        import anthropic

        return anthropic.AsyncAnthropic(api_key=self.key, base_url=self.base_url, max_retries=0)

    def arguments(self, request: Request, model: str, without: Collection[str]) -> dict[str, Any]:
        """See Wire."""
        import anthropic

        schema = request.reply_schema
        blocks = [
            (m.role, _block(m.text, m.stable or m.role == "system")) for m in request.messages
        ]
        if schema and "output_config" in without:
            blocks[-1][1]["text"] += described(schema)
        arguments: dict[str, Any] = {
            "model": model,
            "max_tokens": request.max_output_tokens,
            "messages": [
                {"role": role, "content": [block]} for role, block in blocks if role != "system"
            ],
        }
        if system := [block for role, block in blocks if role == "system"]:
            arguments["system"] = system
        if schema and "output_config" not in without:
            form = anthropic.transform_schema(strict(schema.json_schema))
            arguments["output_config"] = {"format": {"type": "json_schema", "schema": form}}
        return arguments

    async def send(self, connection: Any, arguments: dict[str, Any], seconds: float) -> Any:
        """See Wire."""
        return await connection.messages.create(**arguments, timeout=seconds)

    def reply(self, answer: Any, request: Request) -> Reply:
        """See Wire."""
        used = answer.usage
        written, read = used.cache_creation_input_tokens or 0, used.cache_read_input_tokens or 0
        return Reply(
            text="".join(block.text for block in answer.content if block.type == "text"),
            finish=_ANTHROPIC_FINISH.get(answer.stop_reason, "other"),
            usage=Usage(
                input_tokens=used.input_tokens + written + read,
                cached_input_tokens=read,
                cache_write_tokens=written,
                output_tokens=used.output_tokens,
            ),
            model=answer.model,
        )


# -------------------------------------------------------------------- which there are


def compatible(spec: str) -> tuple[Wire, str]:
    """The wire and model of `http://HOST:PORT/v1#MODEL`. Raises UnknownName for another form."""
    forms = ["http://HOST:PORT/v1#MODEL"]
    url = _checked(spec, "language model", forms)
    if not url.fragment or url.username or url.password or url.query:
        raise UnknownName("language model", _shown(spec), forms)
    base_url = url._replace(fragment="").geturl()
    key = key_of("SAGESCOPE_API_KEY")
    return CompatibleWire("http", base_url, key), url.fragment


def _openai() -> Wire:
    base_url = _base_url("OPENAI_BASE_URL", "https://api.openai.com/v1")
    return OpenAIWire("openai", base_url, needed_key("OPENAI_API_KEY"))


def _anthropic() -> Wire:
    base_url = _base_url("ANTHROPIC_BASE_URL", "https://api.anthropic.com")
    return AnthropicWire("anthropic", base_url, needed_key("ANTHROPIC_API_KEY"))


def _base_url(variable: str, usual: str) -> str:
    base_url = (os.environ.get(variable) or "").strip() or usual
    _checked(base_url, f"base URL in {variable}", [usual])
    return base_url


def _checked(url: str, kind: str, forms: Sequence[str]) -> SplitResult:
    """The parts of a URL that a request can be sent to. Raises UnknownName, of a `kind`, for others."""
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")  # as it goes into a request
        clean = all(letter.isprintable() and not letter.isspace() for letter in url)
        if clean and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass
    raise UnknownName(kind, _shown(url), forms)


def _shown(url: str) -> str:
    """A URL without what may be a password in it, whatever else is wrong with it."""
    plain = url.partition("#")[0].partition("?")[0]
    scheme, mark, rest = plain.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


#: What schema modes refuse. A default means nothing where every property has to be there.
UNKNOWN_TO_MODES = ("default", "minLength", "maxLength", "uniqueItems")

#: Providers by the name users type.
WIRES: dict[str, Callable[[], Wire]] = {"openai": _openai, "anthropic": _anthropic}

_OPENAI_FINISH: dict[str | None, Finish] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "refusal",
}
_ANTHROPIC_FINISH: dict[str | None, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}


# -------------------------------------------------------------------- what they share


def _block(text: str, stable: bool) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": text}
    return {**block, "cache_control": {"type": "ephemeral"}} if stable else block


def expected(request: Request, text: str) -> Usage:
    """Usage reckoned from the texts, for a server that does not say."""
    said = request.expected_usage()
    return Usage(input_tokens=said.input_tokens, output_tokens=tokens_of(text), estimated=True)


def described(schema: ReplySchema) -> str:
    """The schema in words, for models whose provider cannot hold them to it."""
    form = json.dumps(schema.json_schema, ensure_ascii=False)
    return f"\n\nAnswer with one JSON object and nothing else. Its JSON schema:\n{form}"


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema as the providers' schema modes want it: every property there, and no others.

    What they do not know is told in the description; whoever reads the reply still checks it.
    """
    form = {name: value for name, value in schema.items() if name not in UNKNOWN_TO_MODES}
    untold = {name: schema[name] for name in UNKNOWN_TO_MODES[1:] if name in schema}
    if untold:
        told = ", ".join(f"{name} {value}" for name, value in untold.items())
        form["description"] = f"{form.get('description', '')} ({told})".strip()
    for name in ("properties", "$defs"):
        if name in form:
            form[name] = {key: strict(value) for key, value in form[name].items()}
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if name in form:
            form[name] = [strict(value) for value in form[name]]
    if isinstance(form.get("items"), dict):
        form["items"] = strict(form["items"])
    if "properties" in form:
        form.update(required=list(form["properties"]), additionalProperties=False)
    if "$ref" in form and len(form) > 1 and "$defs" not in form:
        form["anyOf"] = [{"$ref": form.pop("$ref")}]  # which suffers nothing beside it
    return form
