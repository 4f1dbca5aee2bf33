"""What no request gets past: its size, its time, and that whoever leaves is not served any more."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from .limits import Limits
from .wire import Failure

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Bounded:
    """ASGI middleware: takes the whole body first, then runs the application under a clock.

    The application is cancelled when its client disconnects, or when the time is over.
    """

    def __init__(self, app: ASGIApp, limits: Limits):
        self.app, self.limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                body = await self._body(receive)
        except TimeoutError:
            return await refuse(send, 408, "The request did not arrive in time: send it again.")
        except ValueError:
            most = self.limits.body_bytes
            return await refuse(send, 413, f"A request may have {most} bytes: send fewer texts.")
        if body is None:
            return None
        return await self._serve(scope, receive, send, body)

    async def _body(self, receive: Receive) -> bytes | None:
        """The body; None where the client has left. Raises ValueError where it is too large."""
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.limits.body_bytes:
                raise ValueError
            if not message.get("more_body"):
                return b"".join(parts)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
        begun = False
        gone = asyncio.create_task(_departure(receive))
        taken = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def read() -> Message:
            for message in taken:
                return message
            await asyncio.shield(gone)
            return {"type": "http.disconnect"}

        async def answer(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        served = asyncio.create_task(_run(self.app, scope, read, answer))
        both: set[asyncio.Task[Any]] = {served, gone}
        try:
            await asyncio.wait(
                both, timeout=self.limits.request_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if served.done():
                return served.result()
            served.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await served
            if not gone.done() and not begun:
                await refuse(send, 503, "The answer took too long: ask for less at once.", 5)
        finally:
            served.cancel()
            gone.cancel()


async def _run(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def refuse(send: Send, status: int, sentence: str, retry_after: int | None = None) -> None:
    """Answer with a sentence."""
    body = Failure(error=sentence).model_dump_json().encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % retry_after))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
