"""Commands as processes of their own, forked from one that has imported what most of them need."""

import contextlib
import json
import multiprocessing
import os
import resource
import sqlite3
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    ["sagescope.experiments.cli", "sagescope.experiments.jobs", "sagescope.experiments.scoring",
     "sagescope.experiments.results", "sagescope.experiments.tables", "scipy.stats"]
)  # fmt: skip
#: What every test runs, unless it says otherwise.
EXPLAIN = tuple(
    [
        "explain",
        "-f",
        "0-2",
        "--concurrency",
        "1",
        "--scorers",
        "predictive",
        "--no-controls",
        "--json",
    ]
)


@dataclass(frozen=True)
class Ended:
    """How a process ended. code: negative for a signal."""

    code: int
    stdout: str
    stderr: str

    @property
    def sentence(self) -> str:
        """The last line that it told its user."""
        return self.stderr.strip().splitlines()[-1] if self.stderr.strip() else ""

    def rows(self) -> list[dict[str, Any]]:
        """The results it printed, but for the seconds they took and where a mind stood."""
        assert self.code == 0, self.stderr
        rows = [json.loads(line) for line in self.stdout.splitlines()]
        for row in rows:
            row.pop("mind")
            for name in ("seconds", "unanswered"):
                row["cost"].pop(name)
        return rows


@dataclass
class Child:
    """A command at work in `folder`.

    pause: seconds that each measurement of the planted source takes. limit: how many bytes a file
    may grow to. planted: whether the planted source stands behind the command, or a real one. home:
    where evidence goes. hasty: whether providers are tried again at once, and not after seconds.
    """

    folder: Path
    words: tuple[str, ...]
    pause: float = 0.0
    limit: int | None = None
    planted: bool = True
    home: Path | None = None
    hasty: bool = False
    process: Any = field(init=False)

    def __post_init__(self) -> None:
        # Not in its own folder, whose disk may be full.
        place = Path(tempfile.mkdtemp(prefix="said-"))
        self._said = [place / name for name in ("out", "err")]
        self.process = _processes.Process(target=_command, args=(self._told(), self._said))
        self.process.start()

    def _told(self) -> dict[str, Any]:
        names = ("folder", "words", "pause", "limit", "planted", "home", "hasty")
        return {name: getattr(self, name) for name in names}

    @property
    def is_alive(self) -> bool:
        return self.process.is_alive()

    def send(self, signal: int) -> None:
        """Send it a signal."""
        os.kill(self.process.pid, signal)

    def end(self) -> Ended:
        """Wait for its end."""
        self.process.join(120)
        assert self.process.exitcode is not None, "it never ended"
        return Ended(self.process.exitcode, *(path.read_text() for path in self._said))


def _command(told: dict[str, Any], said: list[Path]) -> None:
    """What a child does, in its process."""
    for path, number in zip([os.devnull, *said], range(3), strict=True):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
    os.chdir(told["folder"])
    if told["home"]:
        os.environ["SAGESCOPE_HOME"] = str(told["home"])
    if told["limit"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (told["limit"],) * 2)
    from sagescope.experiments import cli

    if told["hasty"]:
        from sagescope.agents.llm import client

        patience = client.Patience(first=0.01, longest=0.02)
        client.Patience = lambda: patience
    if told["planted"]:
        import planted

        source = planted.PlantedSource(told["pause"])
        cli.opening.open_source = lambda *spec: contextlib.nullcontext(source)
    else:
        _collect_in_small_steps(told["pause"])
    sys.argv = ["sagescope", *told["words"]]
    cli.main()


def _collect_in_small_steps(pause: float) -> None:
    """Many shards of a small corpus, and time to do something to a host between two passes."""
    import torch

    from sagescope.sae import collect
    from sagescope.sae.encoder import LatentReader

    torch.set_num_threads(1)
    collect.SHARD_TOKENS, collect.WINDOWS_AT_ONCE = 600, 4
    run = LatentReader.run

    def slowly(*args: Any) -> Any:
        time.sleep(pause)
        return run(*args)

    LatentReader.run = slowly


# --- What stands in a journal ---------------------------------------------------------------------


def events_in(journal: Path, kind: str = "%") -> int:
    """How many events of a kind the journal holds by now."""
    if not journal.exists():
        return 0
    connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    try:
        count = "SELECT COUNT(*) FROM events WHERE kind LIKE ?"
        return connection.execute(count, [kind]).fetchone()[0]
    except sqlite3.OperationalError:  # not made yet
        return 0
    finally:
        connection.close()


def finished(journal: Path) -> dict[tuple[int, str], list[str]]:
    """By feature and kind, what concluded and scored features hold, as it was written."""
    connection = sqlite3.connect(journal)
    try:
        found = connection.execute(
            "SELECT feature, kind, payload FROM events"
            " WHERE kind IN ('concluded', 'scored', 'call') AND feature IS NOT NULL ORDER BY id"
        ).fetchall()
    finally:
        connection.close()
    kept: dict[tuple[int, str], list[str]] = {}
    for feature, kind, payload in found:
        kept.setdefault((feature, kind), []).append(payload)
    return kept


def until_events(child: Child, journal: Path, count: int, kind: str = "%") -> None:
    """Wait until the journal holds so many events."""
    while events_in(journal, kind) < count:
        assert child.is_alive, f"it ended first: {child.end()}"
        time.sleep(0.002)


# --- What stands in the way -----------------------------------------------------------------------


def fill(disk: Path, leave: int) -> Path:
    """A file that takes all room but so many bytes."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    ballast.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - leave)))
    return ballast
