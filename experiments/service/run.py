"""Start the service, and end it well: what was accepted is finished first."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ...sae.errors import ServiceError
from ..guard import Guard
from .app import make_app
from .limits import Limits
from .served import Opened


def run(
    load: Callable[[], Opened],
    bind: str,
    port: int,
    token_file: Path | None = None,
    limits: Limits | None = None,
) -> None:
    """Serve what `load` opens until SIGTERM or Ctrl-C; where, is said on standard error.

    port: 0 takes a free one. Raises ServiceError where the address cannot be served on, or needs a
    token and has none, and what kept the model from being loaded.
    """
    guard = Guard.of(bind, token_file)
    with listening(bind, port) as bound:
        host, number = bound.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        sys.stderr.write(f"Serving http://{shown}:{number}, once the model is loaded.\n")
        sys.stderr.flush()
        with suppress(KeyboardInterrupt):  # uvicorn has ended well by then
            asyncio.run(_serve(load, guard, limits or Limits(), bound))


def listening(bind: str, port: int) -> socket.socket:
    """A socket that listens. Its protocol is named, or asyncio would leave Nagle's delays in."""
    try:
        found = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(1024)
        except OSError:
            bound.close()
            raise
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ServiceError(
            f"{bind}, port {port}, cannot be served on ({why}): give another --bind or --port."
        ) from error
    return bound


async def _serve(
    load: Callable[[], Opened], guard: Guard, limits: Limits, bound: socket.socket
) -> None:
    import uvicorn

    def stop() -> None:
        server.should_exit = True

    app = make_app(load, guard, limits, failed=stop)
    config = uvicorn.Config(
        app,
        log_level="warning",
        ws="none",
        timeout_keep_alive=30,
        # Longer than any request may take: what was accepted is finished.
        timeout_graceful_shutdown=int(limits.request_seconds) + 5,
        server_header=False,
    )
    server = uvicorn.Server(config)
    await server.serve([bound])
    if app.state.served.failure is not None:
        raise app.state.served.failure
