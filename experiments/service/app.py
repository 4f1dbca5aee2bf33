"""The application: endpoints, the queue in front of them, and what every request has to pass."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from ...sae.errors import EvidenceError, FeatureError, SagescopeError, UnknownName, WrongSplit
from ..guard import Guard, Guarded
from . import corpus_routes, routes
from .bounds import Bounded
from .limits import Limits
from .metrics import Measured, Metrics
from .queue import Full, Queue
from .served import NotReady, Opened, Served
from .wire import Failure

log = logging.getLogger(__name__)

#: The first that fits counts.
STATUS: dict[type[SagescopeError], int] = {
    Full: 429,
    NotReady: 503,
    WrongSplit: 403,
    EvidenceError: 409,
    FeatureError: 404,
    UnknownName: 404,
    SagescopeError: 422,
}
#: Seconds after which to look again whether the model is loaded.
LOADING = 2

ABOUT = """Activations of the features of sparse autoencoders on texts, what the features did on a
corpus, and what they do to the next token. Errors are a sentence and a kind."""


def make_app(
    load: Callable[[], Opened],
    guard: Guard,
    limits: Limits | None = None,
    failed: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The application. load: opens what is served, in a thread, while the server already answers.

    failed: called when that did not work; why is in `app.state.served.failure`.
    """
    limits = limits or Limits()
    served, queue = Served(load), Queue(limits)
    metrics = Metrics(queue)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async def start() -> None:
            opened = await served.start()
            if opened is None:
                failed()
            else:
                metrics.watch(opened.host)

        starting = asyncio.create_task(start())
        yield
        starting.cancel()
        served.close()

    app = FastAPI(
        title="Sagescope",
        version=version("sagescope"),
        description=ABOUT,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # their scripts would come from another host
        redoc_url=None,
        lifespan=lifespan,
        responses=_failures(),
    )
    app.state.served, app.state.queue = served, queue
    app.include_router(routes.router)
    app.include_router(corpus_routes.router)
    _add_metrics(app, metrics)
    _add_failures(app)
    app.add_middleware(Bounded, limits=limits)  # pyright: ignore[reportArgumentType]
    app.add_middleware(Guarded, guard=guard)  # pyright: ignore[reportArgumentType]
    app.add_middleware(Measured, metrics=metrics)  # pyright: ignore[reportArgumentType]
    return app


def _failures() -> dict[int | str, dict[str, Any]]:
    """The answers that any endpoint may give in place of its own."""
    why = {
        400: "No JSON.",
        401: "The token is missing or wrong.",
        403: "A split that the role must not see, or a page of another origin.",
        404: "No such feature or SAE.",
        408: "The request did not arrive in time.",
        409: "The evidence is not gathered yet.",
        413: "Too large a request.",
        421: "Not a name of this machine.",
        422: "A request that cannot be served as it is.",
        429: "Too much is waiting; Retry-After says when to come back.",
        503: "Still loading, or too slow.",
    }
    return {status: {"model": Failure, "description": text} for status, text in why.items()}


def _add_metrics(app: FastAPI, metrics: Metrics) -> None:
    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def figures() -> Response:
        """For Prometheus."""
        return Response(
            generate_latest(metrics.registry), headers={"content-type": CONTENT_TYPE_LATEST}
        )


def _add_failures(app: FastAPI) -> None:
    @app.exception_handler(SagescopeError)
    async def ours(request: Request, error: SagescopeError) -> Response:
        status = next(code for kind, code in STATUS.items() if isinstance(error, kind))
        headers = {}
        if isinstance(error, Full):
            headers["retry-after"] = str(error.retry_after)
        if isinstance(error, NotReady):
            headers["retry-after"] = str(LOADING)
        kind = "ServiceError" if isinstance(error, Full | NotReady) else type(error).__name__
        return _failure(status, str(error), kind, headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        # What was sent is not repeated: it may be large, or no JSON.
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        sentence = f"{place}: {first['msg']}. /v1/openapi.json says what a request may hold."
        return _failure(422, sentence, "RequestRefused")

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        sentence = f"{error.detail}: /v1/openapi.json lists what can be asked."
        return _failure(error.status_code, sentence, "RequestRefused", dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        log.error("%s failed", request.url.path, exc_info=error)
        return _failure(500, "The service failed: its log says why.", "ServiceError")


def _failure(
    status: int, sentence: str, kind: str, headers: dict[str, str] | None = None
) -> Response:
    body = Failure(error=sentence.encode("utf-8", "replace").decode(), kind=kind)
    return Response(body.model_dump_json(), status, headers, media_type="application/json")
