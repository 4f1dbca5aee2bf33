"""What all pages share: the journal, the feature source, jobs and open sessions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from ...sae.errors import FeatureError
from ...sae.source import FeatureSource
from ..journal import Journal, Run
from .jobs import Jobs
from .open_sessions import OpenSessions
from .progress import Progress
from .standing import Standings

#: How a source is opened: `sagescope.experiments.cli.opening.open_source`, for instance.
Opener = Callable[[], AbstractContextManager[FeatureSource]]


class LazySource:
    """The feature source, opened when somebody first asks for it, once. Threads may share it."""

    def __init__(self, opener: Opener):
        self._opener = opener
        self._turn = threading.Lock()
        self._found: FeatureSource | None = None
        self._closing = ExitStack()

    @property
    def opened(self) -> bool:
        """Whether it is there already."""
        return self._found is not None

    def get(self) -> FeatureSource:
        """The source; the first call may take a while. Raises what opening it raises."""
        with self._turn:
            if self._found is None:
                self._found = self._closing.enter_context(self._opener())
            return self._found

    def of(self, run: Run) -> FeatureSource:
        """The source, if it is the one that a run was made with. Raises FeatureError."""
        source = self.get()
        with run.reading():
            subject, sae = run.config["subject"], run.config["sae"]
        if (subject, sae) != (source.subject, source.sae):
            raise FeatureError(
                f"This run is of {subject}/{sae}, and this page was started with "
                f"{source.subject}/{source.sae}: start `sagescope web` with that subject and SAE."
            )
        return source

    def close(self) -> None:
        """Let go of it."""
        with self._turn:
            self._found = None
            self._closing.close()


class Site:
    """The journal and what works on it. Close it.

    ending: set when the server ends, so that what listens to it ends too.
    who: under which name a person's explanations stand. mind: what helps in new sessions, None as a
    run was begun. jobs: how explaining is started; None where it cannot be.
    """

    def __init__(
        self,
        journal: Journal,
        opener: Opener,
        *,
        jobs: Jobs | None = None,
        who: str = "human",
        mind: str | None = None,
    ):
        self.journal = journal
        self.ending = False
        self.source = LazySource(opener)
        self.jobs = jobs
        self.progress = Progress()
        self.standings = Standings(journal)
        self.sessions = OpenSessions(journal, self.source.get, who=who, mind=mind)

    @property
    def version(self) -> str:
        """Another one whenever something that pages show may have changed."""
        jobs = self.jobs.pulse if self.jobs else 0
        return f"{self.journal.last}.{self.sessions.pulse}.{jobs}"

    def writer(self, name: str) -> str | None:
        """Who writes a run now: "job" and "session" of this page, "other"; None for nobody."""
        if self.jobs and self.jobs.is_running(name):
            return "job"
        if self.sessions.holds(name):
            return "session"
        return "other" if self.journal.is_written(name) else None

    async def close(self) -> None:
        """End what the page began: jobs are stopped, so that they can be gone on with."""
        await self.sessions.close()
        if self.jobs:
            self.jobs.close()
        self.source.close()
