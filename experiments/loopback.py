"""A language-model provider on 127.0.0.1 that answers by script: no key, no cost, no network.

It speaks the protocols of OpenAI (`/v1/chat/completions`, `/v1/models`) and Anthropic
(`/v1/messages`) well enough that the providers' own packages are what tests and benchmarks
exercise, with everything that goes wrong with real ones:

    with LoopbackProvider(lambda call: {"labels": ["boats"]}) as server:
        client = open_client(f"{server.url}/v1#scripted")

For the providers themselves, set OPENAI_BASE_URL to `server.url + "/v1"`, ANTHROPIC_BASE_URL to
`server.url`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from ..agents.llm.client import Message

# -------------------------------------------------------------------- what scripts see and say


@dataclass(frozen=True)
class Call:
    """One request. number: counted from 1. schema: what the reply is held to, if anything.

    digest: of the exact body, so equal digests are equal requests.
    """

    provider: Literal["openai", "anthropic"]
    number: int
    model: str
    messages: tuple[Message, ...]
    schema: dict[str, Any] | None
    headers: Mapping[str, str]
    body: dict[str, Any]
    digest: str


@dataclass(frozen=True)
class Text:
    """A reply. finish: "length" for one that is cut. delay: seconds before it."""

    text: str
    finish: Literal["stop", "length"] = "stop"
    delay: float = 0.0


@dataclass(frozen=True)
class Refusal:
    """The model will not answer."""

    text: str = "I cannot help with that."
    delay: float = 0.0


@dataclass(frozen=True)
class Failure:
    """An HTTP error. retry_after: the header, as it is. code: OpenAI's, such as a used-up quota."""

    status: int
    message: str = "It went wrong."
    retry_after: str | None = None
    code: str | None = None
    delay: float = 0.0


@dataclass(frozen=True)
class Cut:
    """The connection breaks off in the middle of the reply."""

    delay: float = 0.0


@dataclass(frozen=True)
class Endless:
    """A reply that trickles, and never ends until the client leaves."""

    delay: float = 0.0


@dataclass(frozen=True)
class Raw:
    """A body that is not of the protocol."""

    body: str
    content_type: str = "application/json"
    delay: float = 0.0


Answer = Text | Refusal | Failure | Cut | Endless | Raw
#: Text and JSON values stand for a Text of them.
Script = Callable[[Call], Answer | str | dict[str, Any] | list[Any]]


# -------------------------------------------------------------------- the server


#: Prompts shorter than this many tokens are not kept by the providers' prompt caches (the least of
#: their models' minima; some ask for 4,096).
CACHED_FROM = 1_024


class LoopbackProvider:
    """A server in a thread of its own, from `with` on, at `url`. Counts what it was asked.

    After `with` it is gone; another `with` brings it back at the same address.

    cached_from: the shortest prefix, in tokens, that its prompt cache keeps.

    calls: every call, in order. paid: by digest, how often a whole reply was sent, which is what
    real providers charge for. most_at_once: the most calls under way at one time.
    """

    def __init__(self, script: Script):
        self.at_once = 0
        self.cached_from = CACHED_FROM
        self._port = 0
        self.reset(script)

    def reset(self, script: Script) -> None:
        """Forget all that was counted, and go on with another script."""
        self.script = script
        self.calls: list[Call] = []
        self.paid: Counter[str] = Counter()
        self.most_at_once = 0
        self._cached: set[tuple[Any, ...]] = set()

    def __enter__(self) -> Self:
        import uvicorn

        # The protocol is named so that asyncio turns Nagle's algorithm off, which costs 40 ms a call.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", self._port))
        self._socket.listen(1024)
        self._port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        config = uvicorn.Config(
            self._serve,
            interface="asgi3",
            lifespan="off",
            ws="none",
            loop="asyncio",
            log_config=None,
            log_level=60,  # connections that break off on purpose are no news
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    # ---------------------------------------------------------------- one connection

    async def _serve(self, scope: Any, receive: _Receive, send: _Send) -> None:
        connection = _Connection(receive, send)
        protocol = _PROTOCOLS.get((scope["method"], scope["path"]))
        if (scope["method"], scope["path"]) == ("GET", "/v1/models"):
            await connection.answer(200, {"object": "list", "data": [_MODEL]})
        elif protocol is None:
            await connection.answer(404, {"error": {"message": f"no {scope['path']} here"}})
        else:
            headers = {k.decode().lower(): v.decode("latin-1") for k, v in scope["headers"]}
            body = await connection.body()
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                await self._call(connection, protocol, headers, body)
            finally:
                self.at_once -= 1

    async def _call(
        self, connection: _Connection, protocol: _Protocol, headers: dict[str, str], body: bytes
    ) -> None:
        call = protocol.call(len(self.calls) + 1, headers, body)
        self.calls.append(call)
        said = self.script(call)
        if isinstance(said, dict | list):
            said = json.dumps(said)
        answer = Text(said) if isinstance(said, str) else said
        if await connection.left_within(answer.delay):
            return
        match answer:
            case Failure():
                after = {} if answer.retry_after is None else {"retry-after": answer.retry_after}
                await connection.answer(answer.status, protocol.failure(answer), after)
            case Raw():
                await connection.answer(200, answer.body, {"content-type": answer.content_type})
            case Cut():
                await connection.begin(200, {"content-length": "1000"})
                await connection.more(b'{"id": "cut-off", ')
            case Endless():
                await connection.begin(200, {})
                while not await connection.left_within(0.02):
                    await connection.more(b" ")
            case _:
                self.paid[call.digest] += 1
                await connection.answer(200, protocol.reply(call, answer, self._usage(call)))

    def _usage(self, call: Call) -> _Usage:
        """What the prompt counts, and how much of it the prompt cache has seen or now keeps."""
        marked = [n for n, message in enumerate(call.messages, 1) if message.stable]
        # OpenAI keeps every prompt, Anthropic the ones that are marked.
        ends = range(1, len(call.messages) + 1) if call.provider == "openai" else marked
        counts = [tokens_in(message.text) for message in call.messages]
        ends = [n for n in ends if sum(counts[:n]) >= self.cached_from]
        prefixes = {n: (call.provider, call.model, *call.messages[:n]) for n in ends}
        read = max((n for n, prefix in prefixes.items() if prefix in self._cached), default=0)
        self._cached.update(prefixes.values())
        written = max({*ends} & {*marked}, default=0)
        return _Usage(sum(counts), sum(counts[:read]), sum(counts[read:written]))


def tokens_in(text: str) -> int:
    """How many tokens this provider counts in a text: words and marks."""
    return len(re.findall(r"\w+|[^\w\s]", text))


class _Connection:
    """One request and what is sent for it."""

    def __init__(self, receive: _Receive, send: _Send):
        self._receive, self._send = receive, send

    async def body(self) -> bytes:
        parts = []
        while (event := await self._receive())["type"] == "http.request":
            parts.append(event["body"])
            if not event["more_body"]:
                break
        return b"".join(parts)

    async def left_within(self, seconds: float) -> bool:
        """Wait so long; whether the client left meanwhile."""
        if seconds <= 0:
            return False
        try:
            async with asyncio.timeout(seconds):
                return (await self._receive())["type"] == "http.disconnect"
        except TimeoutError:
            return False

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        named = {"content-type": "application/json", **headers}
        pairs = [(name.encode(), value.encode()) for name, value in named.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def more(self, body: bytes, last: bool = False) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": not last})

    async def answer(
        self, status: int, body: Any, headers: Mapping[str, str] | None = None
    ) -> None:
        await self.begin(status, headers or {})
        text = body if isinstance(body, str) else json.dumps(body)
        await self.more(text.encode(), last=True)


# -------------------------------------------------------------------- the two protocols


@dataclass(frozen=True)
class _Usage:
    """Tokens of a prompt: all, those read from the prompt cache, those written to it."""

    prompt: int
    read: int
    written: int


class _OpenAI:
    """Chat completions."""

    @staticmethod
    def call(number: int, headers: Mapping[str, str], body: bytes) -> Call:
        asked = json.loads(body)
        form = asked.get("response_format") or {}
        return Call(
            provider="openai",
            number=number,
            model=asked["model"],
            messages=tuple(Message(role=m["role"], text=m["content"]) for m in asked["messages"]),
            schema=form.get("json_schema", {}).get("schema"),
            headers=headers,
            body=asked,
            digest=hashlib.sha256(body).hexdigest(),
        )

    @staticmethod
    def reply(call: Call, answer: Text | Refusal, usage: _Usage) -> dict[str, Any]:
        refused = isinstance(answer, Refusal)
        said = {"content": None if refused else answer.text}
        message = {"role": "assistant", **said, "refusal": answer.text if refused else None}
        counted = tokens_in(answer.text)
        return {
            "id": f"chatcmpl-{call.number}",
            "object": "chat.completion",
            "created": 0,
            "model": call.model,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "finish_reason": "stop" if refused else answer.finish,
                    "logprobs": None,
                }
            ],
            "usage": {
                "prompt_tokens": usage.prompt,
                "completion_tokens": counted,
                "total_tokens": usage.prompt + counted,
                "prompt_tokens_details": {"cached_tokens": usage.read},
            },
        }

    @staticmethod
    def failure(answer: Failure) -> dict[str, Any]:
        kind = "invalid_request_error" if answer.status < 500 else "server_error"
        error = {"message": answer.message, "type": kind, "param": None, "code": answer.code}
        return {"error": error}


class _Anthropic:
    """Messages."""

    @staticmethod
    def call(number: int, headers: Mapping[str, str], body: bytes) -> Call:
        asked = json.loads(body)
        blocks = [("system", block) for block in asked.get("system", [])]
        blocks += [(m["role"], block) for m in asked["messages"] for block in m["content"]]
        form = asked.get("output_config", {}).get("format") or {}
        return Call(
            provider="anthropic",
            number=number,
            model=asked["model"],
            messages=tuple(
                Message.model_validate(
                    {"role": role, "text": block["text"], "stable": "cache_control" in block}
                )
                for role, block in blocks
            ),
            schema=form.get("schema"),
            headers=headers,
            body=asked,
            digest=hashlib.sha256(body).hexdigest(),
        )

    @staticmethod
    def reply(call: Call, answer: Text | Refusal, usage: _Usage) -> dict[str, Any]:
        refused = isinstance(answer, Refusal)
        ended = {"stop": "end_turn", "length": "max_tokens"}
        return {
            "id": f"msg_{call.number}",
            "type": "message",
            "role": "assistant",
            "model": call.model,
            "content": [{"type": "text", "text": answer.text}] if answer.text else [],
            "stop_reason": "refusal" if refused else ended[answer.finish],
            "stop_sequence": None,
            "usage": {
                "input_tokens": usage.prompt - usage.read - usage.written,
                "cache_creation_input_tokens": usage.written,
                "cache_read_input_tokens": usage.read,
                "output_tokens": tokens_in(answer.text),
            },
        }

    @staticmethod
    def failure(answer: Failure) -> dict[str, Any]:
        kind = _ANTHROPIC_KINDS.get(answer.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": answer.message}}


_ANTHROPIC_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_MODEL = {"id": "scripted", "object": "model", "created": 0, "owned_by": "sagescope"}
_Protocol = type[_OpenAI] | type[_Anthropic]
_PROTOCOLS: dict[tuple[str, str], _Protocol] = {
    ("POST", "/v1/chat/completions"): _OpenAI,
    ("POST", "/v1/messages"): _Anthropic,
}
_Receive = Callable[[], Awaitable[Any]]
_Send = Callable[[Any], Awaitable[None]]
