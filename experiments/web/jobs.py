"""Jobs: `sagescope explain` as processes that the page starts and stops.

A job is nothing but that command: what it does is in the journal, so it is gone on with by starting
it again, here or in a terminal.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ...sae.errors import JournalError
from ..features import FeatureList
from ..journal import Run

#: How long a stopped job may take to end, in seconds, when the page itself ends.
PATIENCE = 10.0
#: Caps of a run's settings that are options of the command.
CAPS = ("probes", "rounds", "calls", "tokens", "cost", "seconds")


class Job:
    """One process. stopped: somebody asked it to end."""

    def __init__(self, command: Sequence[str]):
        self.stopped = False
        self._said = tempfile.NamedTemporaryFile(prefix="sagescope-job-", suffix=".log")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._said
        )

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Ask it to end, as Ctrl-C does; what it did is kept."""
        self.stopped = True
        if self.is_running:
            self.process.send_signal(signal.SIGINT)

    @property
    def last_words(self) -> str | None:
        """What it ended with, if that was no success and nobody asked for it."""
        if self.is_running or self.stopped or not self.process.returncode:
            return None
        return last_words(Path(self._said.name).read_text("utf-8", "replace")) or (
            f"exit {self.process.returncode}"
        )


def last_words(said: str) -> str:
    """What a command ended with: its last line, or all that stands in a box at the end."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if lines and lines[-1].startswith("╰"):
        top = max(place for place, line in enumerate(lines) if line.startswith("╭"))
        return " ".join(line.strip("│ ") for line in lines[top + 1 : -1])
    return lines[-1] if lines else ""


class Jobs:
    """The jobs of the page, by run.

    options: of the command, such as --subject and --journal. command: what runs it.
    """

    def __init__(self, options: Sequence[str], command: Sequence[str] | None = None):
        own = (sys.executable, "-m", "sagescope.experiments.cli", "explain")
        self._command = [*(command or own), *options]
        self._jobs: dict[str, Job] = {}
        self._turn = threading.Lock()
        self._started = 0

    @property
    def pulse(self) -> int:
        """Another number whenever a job has begun or ended."""
        return self._started + sum(not job.is_running for job in self._jobs.values())

    @property
    def names(self) -> list[str]:
        """The runs that the page has started a job for."""
        return [*self._jobs]

    def is_running(self, run: str) -> bool:
        """Whether a job of this page is explaining for the run."""
        return run in self._jobs and self._jobs[run].is_running

    def last_words(self, run: str) -> str | None:
        """Why the run's last job of this page ended, where it failed."""
        return self._jobs[run].last_words if run in self._jobs else None

    def start(self, run: str, options: Sequence[str]) -> None:
        """Begin a run, or go on with one. Raises JournalError where it is under way."""
        with self._turn:
            if self.is_running(run):
                raise JournalError(f"The run {run!r} is under way: stop it first, or wait.")
            self._jobs[run] = Job([*self._command, "--run", run, *options])
            self._started += 1

    def resume(self, run: Run, features: Sequence[int]) -> None:
        """Go on with a run as it was begun. Raises JournalError where the page cannot know how."""
        self.start(run.name, options_of(run.config, features))

    def stop(self, run: str) -> None:
        """Stop the run's job. Raises JournalError where this page has none."""
        if not self.is_running(run):
            raise JournalError(
                f"No job of this page is writing the run {run!r}: stop it where it was started."
            )
        self._jobs[run].stop()

    def close(self) -> None:
        """Stop all jobs, and wait for them."""
        for job in self._jobs.values():
            job.stop()
        for job in self._jobs.values():
            try:
                job.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                job.process.kill()  # the journal has all that it did
                job.process.wait()


def options_of(config: Mapping[str, Any], features: Sequence[int]) -> list[str]:
    """What to type so that a run goes on as it was begun. Raises JournalError where that is unknown."""
    if why := why_not_resumed(config):
        raise JournalError(why)
    if not features:
        raise JournalError(
            "This run was stopped before it had any feature: begin it again under the same name."
        )
    caps = {name: (config.get("budget") or {}).get(name) for name in CAPS}
    return [
        "--features",
        str(FeatureList.of(_ranges(features))),
        "--explainer",
        str(config["explainer"]),
        "--mind",
        str(config["mind"]),
        "--seed",
        str(config["seed"]),
        *(f"--max-{name}={cap:g}" for name, cap in caps.items() if cap is not None),
    ]


def _ranges(features: Sequence[int]) -> list[range]:
    """Features as ranges, since a command line has room for so much only."""
    runs = groupby(enumerate(sorted(features)), lambda pair: pair[1] - pair[0])
    members = ([feature for _, feature in group] for _, group in runs)
    return [range(some[0], some[-1] + 1) for some in members]


def why_not_resumed(config: Mapping[str, Any]) -> str | None:
    """Why the page cannot go on with a run of these settings, None where it can."""
    if config.get("explainer") == "session":
        return "This run is of sessions: open the session of a feature to go on with it."
    if config.get("benchmark"):
        return "This run is of a benchmark: `sagescope bench run` goes on with it."
    if config.get("prompts"):
        return "This run has edited prompts: go on with it where those are, with --prompts."
    if config.get("submission"):
        return "This run is of explanations that were handed in: `sagescope leaderboard verify`."
    return None
