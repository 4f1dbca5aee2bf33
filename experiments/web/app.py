"""The application: who may ask, how errors look, what is static.

serve(site, Guard.of("127.0.0.1"), "127.0.0.1", 8080)
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...sae.errors import FeatureError, SagescopeError, ServiceError, UnknownName
from ..guard import Guard, Guarded
from . import downloads, feature, leaderboard, live, runs, session
from .pages import asks_for_fragment, page, static_files
from .site import Site

#: Only what the site itself serves is loaded, run or asked for, and nobody may frame it.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
#: The longest body of a request that is read, in bytes.
LONGEST = 1 << 20
#: How often idle sessions are looked for, in seconds.
TIDY = 10.0


class Secured:
    """ASGI middleware: the headers of every answer, and a limit to what is sent here."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve with the headers."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > LONGEST:
                raise HTTPException(413, "That is too long: send a megabyte at most.")
            return message

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((n.encode(), v.encode()) for n, v in HEADERS.items()),
                    *([] if b"cache-control" in there else [(b"cache-control", b"no-store")]),
                ]
            await send(message)

        await self.app(scope, limited, headed)


def create_app(site: Site, guard: Guard) -> FastAPI:
    """The application of a site. It closes what the site has opened when it ends."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tidying = asyncio.create_task(_tidy(site))
        yield
        tidying.cancel()
        await site.close()

    app = FastAPI(
        title="Sagescope",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        # What is refused has the headers too.
        middleware=[Middleware(Secured), Middleware(Guarded, guard=guard)],
    )
    for part in (runs, feature, session, leaderboard, downloads, live):
        app.include_router(part.router(site))

    @app.get("/", include_in_schema=False)
    def home() -> Response:
        return RedirectResponse("/runs", 303)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in static_files():
            raise HTTPException(404, "There is no such file.")
        found = static_files()[name]
        kept = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(found.content, media_type=found.kind, headers=kept)

    app.add_exception_handler(SagescopeError, _explained)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _misread)
    return app


def _error(request: Request, status: int, sentence: str) -> Response:
    name = "error_fragment" if asks_for_fragment(request) else "error"
    return page(request, name, {"status": status, "sentence": sentence}, status)


async def _explained(request: Request, error: Exception) -> Response:
    missing = isinstance(error, UnknownName | FeatureError)
    return _error(request, 404 if missing else 409, str(error))


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400
    detail = str(error.detail) if isinstance(error, HTTPException) else str(error)
    return _error(request, status, "There is no such page." if detail == "Not Found" else detail)


async def _misread(request: Request, error: Exception) -> Response:
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    place = " ".join(str(part) for part in first.get("loc", ())[1:])
    return _error(request, 422, f"{place or 'That'} cannot be read: {first.get('msg', error)}.")


async def _tidy(site: Site) -> None:
    while True:
        await asyncio.sleep(TIDY)
        site.sessions.let_go()


def serve(site: Site, guard: Guard, bind: str, port: int) -> None:
    """Serve until Ctrl-C. port: 0 takes a free one; which, is said on standard error.

    Raises ServiceError where the address cannot be had.
    """
    static_files()  # what is missing is said now, not on the first page
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    try:
        bound = socket.create_server((bind, port), family=family)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ServiceError(
            f"{bind}, port {port}, cannot be served on ({why}): name another, or 0 for a free one."
        ) from error
    with bound:
        shown = f"[{bind}]" if ":" in bind else bind
        sys.stderr.write(f"Serving http://{shown}:{bound.getsockname()[1]}/ – Ctrl-C ends it.\n")
        sys.stderr.flush()
        asyncio.run(server_of(site, guard).serve([bound]))


def server_of(site: Site, guard: Guard) -> uvicorn.Server:
    """A server of a site that ends the streams of events, which never end by themselves."""
    config = uvicorn.Config(create_app(site, guard), log_level="error", timeout_graceful_shutdown=5)

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            site.ending = True
            await super().shutdown(sockets)

    return Server(config)
