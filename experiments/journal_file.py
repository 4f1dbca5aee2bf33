"""The file behind a journal: its schema, how it is opened and locked, and its errors in words."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from ..sae.errors import JournalError

#: Marks an SQLite file as a journal of ours ("Sage" in ASCII).
APPLICATION = 0x53616765
#: How long a writer waits for another one, in seconds. Writes take microseconds.
PATIENCE = 30.0


def _first_schema(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE runs (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
        " created TEXT NOT NULL, config TEXT NOT NULL)"
    )
    connection.execute(
        "CREATE TABLE events (id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs,"
        " feature INTEGER, kind TEXT NOT NULL, at TEXT NOT NULL, payload TEXT NOT NULL)"
    )
    connection.execute("CREATE INDEX events_of_feature ON events (run, feature, kind)")


#: The schema's history. The file's user_version says how many of these it has been through; new
#: ones are appended, and none that was ever released is changed.
MIGRATIONS = [_first_schema]


def opened(path: Path | None) -> sqlite3.Connection:
    """A connection to the journal at `path` (None: in memory), its schema up to date.

    Raises JournalError for a file that is damaged, of a newer Sagescope or no journal.
    """
    with explained(path):
        if path and path.is_dir():
            raise JournalError(f"{path} is a folder: the journal is one file.")
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path or ":memory:", PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    """Check whose file it is, bring its schema up to date, set how it is written."""

    def asked(pragma: str) -> int:
        return connection.execute(f"PRAGMA {pragma}").fetchone()[0]

    is_new = asked("schema_version") == 0
    if not is_new and asked("application_id") != APPLICATION:
        raise JournalError(f"{path} is an SQLite file of something else: name another journal.")
    if asked("user_version") > len(MIGRATIONS):
        raise JournalError(
            f"{path} was written by a newer Sagescope (journal version {asked('user_version')}, "
            f"this one reads up to {len(MIGRATIONS)}): update Sagescope, or name another journal."
        )
    connection.execute("PRAGMA journal_mode = WAL")
    # In WAL mode NORMAL keeps every commit through the death of the process; only a power cut may
    # cost the last few, and it leaves the file whole. FULL would sync the disk for every event.
    connection.execute("PRAGMA synchronous = NORMAL")
    if asked("user_version") < len(MIGRATIONS):
        with transaction(connection):
            # Read again: another process may have done it while this one waited.
            for migrate in MIGRATIONS[asked("user_version") :]:
                migrate(connection)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """What is written inside the block is written whole, or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def explained(path: Path | None) -> Iterator[None]:
    """SQLite's and the system's errors as one sentence that says what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            what = f"another process has been writing to it for {PATIENCE:.0f} seconds; try again"
        elif "full" in str(error):
            what = "the disk is full; make room and run the same command again"
        else:
            what = f"{error}; check that the folder exists and may be written to"
        raise JournalError(f"The journal {path} cannot be used: {what}.") from error
    except sqlite3.ProgrammingError as error:
        raise JournalError(f"The journal {path} is closed.") from error
    except sqlite3.DatabaseError as error:
        raise JournalError(
            f"{path} is no journal, or a damaged one ({error}): move it away, or name another "
            f"journal."
        ) from error
    except OSError as error:
        raise JournalError(f"The journal {path} cannot be used: {error.strerror}.") from error


def lock(path: Path) -> int | None:
    """A handle that holds the lock on `path`, or None where somebody else does."""
    for patience in (0.02, 0.05, 0.1, 0.0):
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                break
            # Its holder may have removed the file between our opening and our locking it.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.stat(path)):
                    return handle
            os.close(handle)
        # Whoever only looks (see is_locked) is gone in a moment.
        time.sleep(patience)
    return None


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock on `path`."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
