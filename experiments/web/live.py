"""Live: server-sent events that say something has changed, so that pages ask for what they show.

The journal is what is watched, since another process may be writing it. An event's id is a version
of the site: a browser that comes back after a gap is told at once that it missed something.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from ...sae.errors import JournalError
from .site import Site

#: Between two looks at the journal, in seconds.
PAUSE = 0.4
#: Silence after which a line is sent that keeps the connection open, in looks.
SILENT = 40


def router(site: Site) -> APIRouter:
    """`/live`: "changed" whenever something may look different now."""
    routes = APIRouter()

    @routes.get("/live")
    async def live(last_event_id: Annotated[str | None, Header()] = None) -> StreamingResponse:
        return StreamingResponse(
            changes(site, last_event_id),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return routes


async def changes(site: Site, seen: str | None = None) -> AsyncIterator[str]:
    """Lines of the stream. seen: the version that the client has, None for the one of now."""
    if seen is None:
        seen = await asyncio.to_thread(lambda: site.version)
        yield f"retry: 1000\nid: {seen}\nevent: begun\ndata: {seen}\n\n"
    silent = 0
    while not site.ending:
        try:
            version = await asyncio.to_thread(lambda: site.version)
        except JournalError:  # it is being closed, or moved; pages say so when they ask
            return
        if version != seen:
            seen, silent = version, 0
            yield f"id: {seen}\nevent: changed\ndata: {seen}\n\n"
        elif (silent := silent + 1) >= SILENT:
            silent = 0
            yield ": still here\n\n"
        await asyncio.sleep(PAUSE)
