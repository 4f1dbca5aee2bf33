"""A language-model provider that goes away, and comes back or does not."""

import signal
import threading
import time
from pathlib import Path

import minded
import pytest
from children import Ended, finished, until_events

from sagescope.agents.llm.retry import Patience
from sagescope.experiments.loopback import LoopbackProvider

EXPLAIN = tuple("explain -f 0-2 --concurrency 1 --no-score --json --mind".split())


class Leaving(LoopbackProvider):
    """A provider that can go away and come back at the same address."""

    port = 0

    def mind(self) -> str:
        return f"{self.url}/v1#scripted"

    def __enter__(self):
        super().__enter__()
        return self


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[list[dict], int]:
    """What is found where the provider stays, and how many calls that takes."""
    from children import Child

    with LoopbackProvider(minded.answer) as server:
        child = Child(tmp_path_factory.mktemp("whole"), (*EXPLAIN, f"{server.url}/v1#scripted"))
        return child.end().rows(), server.paid.total()
