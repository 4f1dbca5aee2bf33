"""Calls of language models in the journal: a call that is there is never paid for again."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from .journal import Run


class RunCalls:
    """The calls made for one feature of a run (see `agents.llm.recorded.CallLog`)."""

    def __init__(self, run: Run, feature: int):
        self._run, self._feature = run, feature

    def get(self, digest: str) -> dict[str, Any] | None:
        """The call with this digest, or None."""
        return self._known.get(digest)

    def put(self, digest: str, call: dict[str, Any]) -> None:
        """Keep a call; when this returns it is on disk."""
        self._run.write("call", {"digest": digest, **call}, self._feature)
        self._known[digest] = call

    @cached_property
    def _known(self) -> dict[str, dict[str, Any]]:
        events = self._run.events(self._feature, ["call"])
        return {event.payload["digest"]: event.payload for event in events}
