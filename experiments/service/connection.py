"""The client's side of the service: questions out, answers or our own errors back."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from ...sae import errors
from ...sae.errors import ServiceError, first_line
from ..guard import TOKEN, read_token

T = TypeVar("T")

#: How long a client waits for room in the queue, or for a model to be loaded, in seconds.
PATIENCE = 600.0
#: How often a connection that broke is tried again. Every question may be asked twice.
TRIES = 4
#: Longer than a service takes for any answer.
SECONDS = 330.0
#: Errors that come back as what they were.
KINDS = {
    name: getattr(errors, name)
    for name in (
        "CannotAnswer",
        "CorpusError",
        "EvidenceError",
        "FeatureError",
        "SAEError",
        "SubjectError",
        "TextError",
        "WrongSplit",
    )
}


class Connection:
    """A connection to a service, for threads and event loops alike. Close it.

    url: as it was typed. The token is read from SAGESCOPE_TOKEN. Raises ServiceError for a URL that
    is none.
    """

    def __init__(self, url: str, patience: float = PATIENCE):
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ServiceError(f"{url!r} is no address of a service: write http://HOST:PORT.")
        self.url, self._patience = url.rstrip("/"), patience
        headers = {"x-sagescope-client": secrets.token_hex(8), "content-type": "application/json"}
        if token := read_token():
            headers["authorization"] = f"Bearer {token}"
        self._headers = headers
        # A loop of its own: connections live in one loop, and whoever asks may be in any, or none.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="sagescope-connection", daemon=True
        )
        self._thread.start()
        self._client: httpx.AsyncClient | None = None

    def close(self) -> None:
        """Leave. What is under way there is given up."""
        if self._loop.is_closed():
            return
        self._in_loop(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        """Ask, and wait for the answer. Raises what the service says, or ServiceError."""
        return self._in_loop(self._ask(method, path, body, query))

    async def ask_async(
        self, method: str, path: str, body: Any = None, **query: Any
    ) -> httpx.Response:
        """As `ask`. Whoever is cancelled leaves the service's queue as well."""
        asked = asyncio.run_coroutine_threadsafe(self._ask(method, path, body, query), self._loop)
        return await asyncio.wrap_future(asked)

    # ---------------------------------------------------------------- in the loop

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _close(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def _ask(
        self, method: str, path: str, body: Any, query: dict[str, Any]
    ) -> httpx.Response:
        content = None if body is None else json.dumps(body).encode()
        until = time.monotonic() + self._patience
        lost = 0
        while True:
            try:
                answer = await self._open().request(
                    method,
                    self.url + path,
                    content=content,
                    params={name: value for name, value in query.items() if value is not None},
                )
            except httpx.HTTPError as error:
                lost += 1
                if lost == TRIES:
                    raise ServiceError(
                        f"The service at {self.url} does not answer ({first_line(error)}): start it "
                        f"with `sagescope serve`, or check the address."
                    ) from error
                await asyncio.sleep(0.2 * 2**lost)
                continue
            if answer.status_code not in (429, 503):
                return self._checked(answer)
            wait = _retry_after(answer)
            if time.monotonic() + wait > until:
                raise ServiceError(
                    f"The service at {self.url} had no time for {self._patience:g} s "
                    f"({_failure(answer)[0]}) Try again later."
                )
            await asyncio.sleep(wait)

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                headers=self._headers,
                timeout=httpx.Timeout(SECONDS, connect=10.0),
                limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
                # Neither a proxy nor a password file that stands for something else.
                trust_env=False,
            )
        return self._client

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        sentence, kind = _failure(answer)
        if answer.status_code == 401:
            raise ServiceError(
                f"The service at {self.url} wants another token: set {TOKEN} to the one that it was "
                f"started with."
            )
        if kind in KINDS:
            raise KINDS[kind](sentence)
        raise ServiceError(f"The service at {self.url} refused ({answer.status_code}): {sentence}")


def _retry_after(answer: httpx.Response) -> float:
    try:
        return min(60.0, max(0.05, float(answer.headers.get("retry-after", 1.0))))
    except ValueError:
        return 1.0


def _failure(answer: httpx.Response) -> tuple[str, str]:
    """The sentence and the kind of an error; of whatever is no service of ours, what it is."""
    try:
        found = answer.json()
        return str(found["error"]), str(found.get("kind", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return "It does not answer as a Sagescope service does: check the address.", ""
