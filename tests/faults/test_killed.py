"""Signals at random moments: the process goes, what it did stays."""

import random
import signal
import time
from pathlib import Path

import pytest
from children import events_in, finished, until_events

STOPPED = "sagescope: Stopped. What was done is kept. Run the same command again to go on."


@pytest.mark.parametrize(
    ("name", "sent", "code", "sees"),
    [
        ("SIGKILL", signal.SIGKILL, -signal.SIGKILL, ""),
        ("SIGTERM", signal.SIGTERM, 143, STOPPED),
        ("Ctrl-C", signal.SIGINT, 130, STOPPED),
    ],
)
def test_a_signal_at_random_moments(
    name, sent, code, sees, start, run, kept, tell, unbroken, tmp_path: Path
):
    journal = tmp_path / "sagescope.db"
    draw = random.Random()
    moments = sorted(draw.sample(range(5, 200), 2))
    for moment in moments:
        child = start(pause=0.002)
        until_events(child, journal, events_in(journal) + moment)
        time.sleep(draw.random() / 50)
        child.send(sent)
        ended = child.end()
        assert (ended.code, ended.sentence) == (code, sees), f"after {moments}: {ended.stderr}"
        assert ended.stderr.count("\n") == bool(sees)
        before = finished(journal)
    assert run().rows() == unbroken, f"ended after {moments} more events"
    tell(
        f"{name} at a random moment",
        sees or "nothing from Sagescope; the shell says “Killed”",
        kept(before, journal),
        "goes on with what is not finished, from the measurements it made",
    )
    assert not list(tmp_path.glob("*.lock"))
