"""A language-model provider that goes away, and comes back in time or does not."""

import re
import time
from pathlib import Path

import minded
import pytest
from children import Child, finished, until_events

from sagescope.agents.llm.retry import Patience
from sagescope.experiments.loopback import LoopbackProvider

EXPLAIN = tuple(["explain", "-f", "0-2", "--concurrency", "1", "--no-score", "--json", "--mind"])


#: Seconds that a reply takes: time to stop the provider between two of them.
REPLY = 0.3


def slowly(call):
    """What the scripted mind answers, after a moment."""
    time.sleep(REPLY)
    return minded.answer(call)


def mind(server: LoopbackProvider) -> str:
    return f"{server.url}/v1#scripted"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> list[dict]:
    """What is found where the provider stays."""
    with LoopbackProvider(minded.answer) as server:
        return Child(tmp_path_factory.mktemp("whole"), (*EXPLAIN, mind(server))).end().rows()


def test_patience_outlasts_a_minute():
    patience = Patience()
    waits = [min(patience.longest, patience.first * 2**n) for n in range(patience.attempts - 1)]
    assert 60 < sum(waits) < patience.total


@pytest.mark.parametrize("seconds", [2, pytest.param(60, marks=pytest.mark.slow)])
def test_a_provider_that_is_gone_for_a_while(seconds, whole, start, kept, tell, tmp_path: Path):
    journal = tmp_path / "sagescope.db"
    server = LoopbackProvider(slowly)
    with server:
        child = start(*EXPLAIN, mind(server), pause=0.01)
        until_events(child, journal, 7, "call")
    before = finished(journal)
    time.sleep(seconds)
    assert child.is_alive
    with server:
        ended = child.end()
    assert ended.stderr == ""
    assert ended.rows() == whole
    assert set(server.paid.values()) == {1}, "a call was paid twice"
    lost = kept(before, journal)
    tell(
        "the provider is gone for a minute",
        "nothing: a call is tried again for two minutes",
        lost,
        "none is needed: the run goes on by itself",
    )


def test_a_provider_that_stays_away(whole, start, run, kept, tell, tmp_path: Path):
    journal = tmp_path / "sagescope.db"
    server = LoopbackProvider(slowly)
    with server:
        child = start(*EXPLAIN, mind(server), pause=0.01, hasty=True)
        until_events(child, journal, 1, "concluded")
        until_events(child, journal, 7, "call")
    before = finished(journal)
    ended = child.end()
    assert "features failed" in ended.sentence
    lost = kept(before, journal)
    with server:
        again = run(*EXPLAIN, mind(server), "--retry-failed")
    assert again.rows() == whole
    assert set(server.paid.values()) == {1}, "a call was paid twice"
    tell(
        "the provider stays away",
        re.sub(r"\d+ of 3|(?<=default )\d+", "…", ended.sentence),
        lost,
        "with `--retry-failed`, explains what failed; calls that were answered are not made again",
    )
