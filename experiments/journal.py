"""The journal: everything that runs did, one row per event, in one SQLite file.

A journal holds many runs, a run many events, and an event is never changed. Each is committed when
it happens, so a process that is killed loses nothing that was written. One process writes a run at
a time; any number may read it meanwhile.

    kind         feature  payload
    session      –        {"features": the ones asked for, "versions": of the packages that matter}
    facts        yes      what the corpus says of the feature: see `sagescope.experiments.jobs`
    exemplars    yes      contexts to look at; readers need them, jobs do not
    started      yes      {}: an attempt begins; what an earlier one concluded stands until this one does
    hypothesis, probe, outcome, verdict, note
                 yes      the records of `sagescope.agents.records`, as they came
    measured     yes      {"text", "tokens", "activations"}: one text run; attempts share these
    steered      yes      {"asked", "found"}: one steering of the model; attempts share these
    written      yes      {"order", "found"}: texts that were written while it was steered, likewise
    asked        yes      {"digest", "expected"}: an attempt at a call is about to be sent
    call         yes      {"digest", "address", "request", "reply"}: its reply; attempts share these
    settled      yes      {"digest", "unanswered"}: 1 where that may have been paid without a reply
    circuit      yes      the attribution graph that `circuitlens` found: see
                          `sagescope.agents.inside.circuit_graph`
    hinted       yes      {"explainer", "explanation", "why", "probes", "circuit"}: what a hint said
                          of it; attempts share these
    losses       –        {"prefix", "texts", "losses"}: how well the model foretells texts
    concluded    yes      {"conclusion", "seconds"}: the attempt's end
    said_at_once yes      {"explanation", "spent"}: what the same mind says in one call, a control
    scored       yes      {"of": "explanation" or a control, "scorers", "scores", "details", or
                          "why": there are none}; later events add to earlier ones

    of sessions only (`sagescope.experiments.sessions`):
    step         yes      {"verb", "by"}: what follows belongs to it, up to the next step
    undone       yes      {"since": number of a step's event}: what happened since then is void
    dropped      yes      {"hypothesis"}: a person gave it up
    looked       yes      {"texts"}: run for the looking, without a prediction
    spent        yes      {"by", "calls", "tokens", "rounds", "seconds"}: what one turn cost
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..sae.errors import JournalError, UnknownName
from .journal_file import explained, is_locked, lock, opened, transaction

#: Kinds of events that an "undone" does not void: what was measured, seen and spent stays so.
LASTING = (
    "asked",
    "call",
    "exemplars",
    "facts",
    "hinted",
    "looked",
    "measured",
    "session",
    "settled",
    "spent",
    "steered",
    "undone",
    "written",
)
#: What a run may be called: it becomes part of file names.
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def default_path() -> Path:
    """`$SAGESCOPE_JOURNAL`, or `sagescope.db` in the current folder."""
    return Path(os.environ.get("SAGESCOPE_JOURNAL") or "sagescope.db")


@dataclass(frozen=True)
class Event:
    """One row. number: its place in the journal. feature: None for what concerns the whole run."""

    number: int
    feature: int | None
    kind: str
    payload: Any


def in_force(events: Iterable[Event]) -> list[Event]:
    """Events, in the order in which they happened, without what "undone" events made void."""
    kept: list[Event] = []
    for event in events:
        if event.kind == "undone":
            since, feature = event.payload["since"], event.feature
            kept = [
                one
                for one in kept
                if one.number < since or one.feature != feature or one.kind in LASTING
            ]
        else:
            kept.append(event)
    return kept


class Journal:
    """An open journal file. Use as a context manager, or `close` it. Threads may share it."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None):
        self.path = path
        self._connection = connection
        self._turn = threading.RLock()

    @classmethod
    def open(cls, path: Path | None, create: bool = True) -> Journal:
        """Open the journal at `path` (None: a new one in memory, gone when it is closed).

        path: `~` and `~name` at its start are home folders. Raises JournalError where there is none
        and `create` is not set, and for a file that is damaged, of a newer Sagescope or no journal.
        """
        path = path and _expanded(path)
        if path and not create and not path.exists():
            raise JournalError(
                f"There is no journal at {path}: run `sagescope explain` first, or name another "
                f"with --journal or $SAGESCOPE_JOURNAL."
            )
        return cls(opened(path), path)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._connection.close()

    def runs(self) -> list[Run]:
        """All runs, oldest first, for reading."""
        rows = self._all("SELECT id, name, created, config FROM runs ORDER BY id")
        return [
            Run(self, id, name, created, self.decoded(text, dict))
            for id, name, created, text in rows
        ]

    def run(self, name: str) -> Run:
        """One run, for reading. Raises UnknownName, with the near names."""
        known = {run.name: run for run in self.runs()}
        if name not in known:
            raise UnknownName("run", name, known)
        return known[name]

    @contextlib.contextmanager
    def begin(self, name: str, config: Mapping[str, Any]) -> Iterator[Run]:
        """A run for writing, new or to be gone on with; nobody else can write it meanwhile.

        config: JSON values that decide the results. Raises JournalError where the run exists with
        another configuration (the message says what differs), or another process writes it.
        """
        if not RUN_NAME.fullmatch(name):
            raise JournalError(
                f"{name!r} cannot be a run's name: use up to 100 letters, digits, '.', '_', '-', "
                f"the first a letter or digit."
            )
        with self._lock(name):
            # Through JSON and back, so that a tuple equals the list it was stored as.
            wanted = json.loads(json.dumps(config))
            with self._transaction():
                self._connection.execute(
                    "INSERT OR IGNORE INTO runs (name, created, config) VALUES (?, ?, ?)",
                    (name, _now(), json.dumps(wanted)),
                )
            run = self.run(name)
            if differing := list(_differences(run.config, wanted)):
                raise JournalError(
                    f"The run {name!r} was begun with {'; '.join(differing)}. Give the same "
                    f"settings to go on with it, or another name to begin a new run."
                )
            run.writable = True
            try:
                yield run
            finally:
                run.writable = False

    @property
    def last(self) -> int:
        """The number of the latest event of any run, 0 where there is none."""
        return self._all("SELECT COALESCE(MAX(id), 0) FROM events")[0][0]

    def is_written(self, name: str) -> bool:
        """Whether some process, this one or another, is writing a run at the moment."""
        return self.path is not None and is_locked(self._lock_path(self.path, name))

    def decoded(self, text: str, kind: type = object) -> Any:
        """What the file holds as JSON. Raises JournalError for what is none, or not of a `kind`."""
        with self.reading("An entry"):
            value = json.loads(text)
            if not isinstance(value, kind):
                raise TypeError(f"{type(value).__name__} instead of {kind.__name__}")
        return value

    @contextlib.contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Say of `what` that it cannot be read, where it is not as it was once written."""
        try:
            yield
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise JournalError(
                f"{what} of the journal {self.path} is damaged ({type(error).__name__}: {error}): "
                f"take an undamaged copy, or begin a new run."
            ) from error

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """Hold the run's lock file. The kernel lets go of it when the process dies."""
        if self.path is None:
            yield
            return
        path = self._lock_path(self.path, name)
        with explained(self.path):
            handle = lock(path)
        if handle is None:
            raise JournalError(
                f"Another process is writing the run {name!r} of {self.path}: wait for it, or "
                f"give another run name."
            )
        try:
            yield
        finally:
            # First the name, then the lock: whoever opened it meanwhile notices (see lock).
            path.unlink(missing_ok=True)
            os.close(handle)

    @staticmethod
    def _lock_path(path: Path, name: str) -> Path:
        return path.with_name(f"{path.name}-{name}.lock")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._turn, explained(self.path), transaction(self._connection):
            yield

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._turn, explained(self.path):
            return self._connection.execute(query, values).fetchall()


@dataclass
class Run:
    """One run of a journal. created: UTC, ISO 8601. config: what decides its results."""

    journal: Journal
    id: int
    name: str
    created: str
    config: dict[str, Any]
    writable: bool = field(default=False, compare=False)

    def write(self, kind: str, payload: Any, feature: int | None = None) -> None:
        """Commit one event."""
        self.write_all([(kind, payload, feature)])

    def write_all(self, events: Iterable[tuple[str, Any, int | None]]) -> None:
        """Commit several events (kind, payload, feature): all of them, or none."""
        if not self.writable:
            raise JournalError(f"The run {self.name!r} is open for reading only.")
        # ASCII with escapes: the one form in which lone surrogates and NULs survive SQLite.
        rows = [
            (self.id, feature, kind, _now(), json.dumps(payload))
            for kind, payload, feature in events
        ]
        if not rows:
            return
        with self.journal._transaction():
            self.journal._connection.executemany(
                "INSERT INTO events (run, feature, kind, at, payload) VALUES (?, ?, ?, ?, ?)", rows
            )

    def events(
        self, feature: int | None = None, kinds: Sequence[str] = (), after: int = 0
    ) -> list[Event]:
        """Events in the order in which they happened: of one feature or all, of some kinds or all.

        after: only those with a higher number.
        """
        query = "SELECT id, feature, kind, payload FROM events WHERE run = ?"
        values: list[Any] = [self.id]
        if after:
            # What is new stands at the end of the table; the run's index would visit all of the run.
            query = query.replace("run =", "id > ? AND +run =")
            values.insert(0, after)
        if feature is not None:
            query += " AND feature = ?"
            values.append(feature)
        if kinds:
            query += f" AND kind IN ({', '.join('?' * len(kinds))})"
            values.extend(kinds)
        rows = self.journal._all(query + " ORDER BY id", values)
        decoded = self.journal.decoded
        return [Event(number, place, kind, decoded(text)) for number, place, kind, text in rows]

    def reading(self, feature: int | None = None) -> contextlib.AbstractContextManager[None]:
        """Where payloads are taken apart: what is missing or wrong in them is a JournalError."""
        of = "" if feature is None else f" of feature {feature}"
        return self.journal.reading(f"An event{of} of the run {self.name!r}")

    def in_force(self, feature: int | None = None, kinds: Sequence[str] = ()) -> list[Event]:
        """Events as `events` gives them, without what was undone (kinds must name "undone")."""
        with self.reading(feature):
            return in_force(self.events(feature, kinds))

    def attempt(self, feature: int) -> list[Event]:
        """What stands of a feature's latest attempt that came to an end; of the latest, if none did."""
        events = self.in_force(feature)
        starts = [place for place, event in enumerate(events) if event.kind == "started"]
        if not starts:
            return events
        ends = [place for place, event in enumerate(events) if event.kind == "concluded"]
        chosen = max((place for place in starts if ends and place < ends[-1]), default=starts[-1])
        after = min((place for place in starts if place > chosen), default=len(events))
        # What was scored after a later, broken-off attempt began is of this one all the same.
        scored = [event for event in events[after:] if event.kind == "scored"]
        return [*events[chosen:after], *scored]

    @property
    def done(self) -> int:
        """How many features have come to an end."""
        rows = self.journal._all(
            # What a feature concluded may be long, and is not needed.
            "SELECT id, feature, kind, CASE kind WHEN 'undone' THEN payload ELSE '{}' END"
            " FROM events WHERE run = ? AND feature IS NOT NULL"
            " AND kind IN ('concluded', 'undone') ORDER BY id",
            [self.id],
        )
        with self.reading():
            events = in_force(
                Event(at, feature, kind, json.loads(text)) for at, feature, kind, text in rows
            )
        return len({event.feature for event in events if event.kind == "concluded"})

    @property
    def features(self) -> list[int]:
        """Every feature that was ever asked for, in the order of the asking."""
        # Said of no feature: so the index finds them without visiting all that the run did.
        rows = self.journal._all(
            "SELECT payload FROM events WHERE run = ? AND feature IS NULL AND kind = 'session'"
            " ORDER BY id",
            [self.id],
        )
        with self.reading():
            sessions = [self.journal.decoded(text) for (text,) in rows]
            return list(dict.fromkeys(f for session in sessions for f in session["features"]))


# -------------------------------------------------------------------- inside


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise JournalError(
            f"The journal {path} cannot be used: there is no such home folder; give the whole path."
        ) from error


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*there, *wanted]):
        old, new = there.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from (f"{name} {line}" for line in _differences(old, new))
        elif old != new:
            yield f"{name} {_value(old)}, not {_value(new)}"


def _value(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
