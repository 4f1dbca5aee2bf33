"""What befalls the journal: no room, no right to write, another writer, a clock, a cut file."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from children import EXPLAIN, Ended, events_in, fill, finished, until_events

ONE = tuple("0" if word == "0-2" else word for word in EXPLAIN)


def test_a_full_disk(run, small_disk: Path, kept, tell, unbroken):
    run(*ONE, folder=small_disk)
    journal = small_disk / "sagescope.db"
    before = finished(journal)
    ballast = fill(small_disk, leave=150_000)
    stopped = run(folder=small_disk)
    assert stopped.code == 1
    assert "Traceback" not in stopped.stderr
    lost = kept(before, journal)
    ballast.unlink()
    before = finished(journal)
    assert run(folder=small_disk).rows() == unbroken
    assert kept(before, journal) == lost
    tell("the disk with the journal is full", stopped.sentence, lost, "goes on once there is room")


def test_no_room_for_a_larger_file(run, tmp_path: Path, kept, tell, unbroken):
    """As under a quota: the system refuses to let the file grow."""
    run(*ONE)
    journal = tmp_path / "sagescope.db"
    before = finished(journal)
    stopped = run(limit=journal.stat().st_size + 50_000)
    assert stopped.code == 1
    assert "Traceback" not in stopped.stderr
    lost = kept(before, journal)
    assert run().rows() == unbroken
    tell(
        "the journal may not grow (a quota, a limit on file sizes)",
        stopped.sentence,
        lost,
        "goes on once it may",
    )


@contextlib.contextmanager
def read_only(folder: Path):
    """Nothing in the folder can be written, by root neither."""
    if os.geteuid():
        folder.chmod(0o555)
        for path in folder.iterdir():
            path.chmod(0o444)
        try:
            yield
        finally:
            folder.chmod(0o755)
            for path in folder.iterdir():
                path.chmod(0o644)
        return
    mount = ["mount", "--bind", str(folder), str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"root ignores permissions, and mount is refused here: {done.stderr.strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_read_only_folder(run, tmp_path: Path, kept, tell, unbroken):
    folder = tmp_path / "results"
    folder.mkdir()
    journal = folder / "sagescope.db"
    first = run(*ONE, "--journal", str(journal)).rows()
    before = finished(journal)
    with read_only(folder):
        stopped = run(*EXPLAIN, "--journal", str(journal))
        seen = run("results", "default", "--journal", str(journal), "--json")
    assert stopped.code == 1
    assert "Traceback" not in stopped.stderr
    assert seen.rows() == first
    lost = kept(before, journal)
    assert run(*EXPLAIN, "--journal", str(journal)).rows() == unbroken
    tell(
        "the journal lies in a read-only folder",
        stopped.sentence,
        lost,
        "goes on once it may write; what was found can be read meanwhile",
    )


def test_two_runs_at_once(start, run, tmp_path: Path, tell, unbroken):
    journal = tmp_path / "sagescope.db"
    first = start(pause=0.01)
    until_events(first, journal, 30)
    second = run()
    assert second.code == 1
    assert second.stderr.count("\n") == 1
    other = run(*EXPLAIN, "--run", "other")
    assert first.end().rows() == unbroken
    assert [{**row, "run": "default"} for row in other.rows()] == unbroken
    tell(
        "the same run is started twice",
        second.sentence,
        "nothing",
        "the first goes on unharmed; a run of another name may share the journal",
    )


# --- A clock that goes backwards -----------------------------------------------------------------

#: As long as time passes, the clock of the day goes back as far, from an hour ago.
BACKWARDS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

static int (*real)(clockid_t, struct timespec *);
static time_t start;

__attribute__((constructor)) static void begin(void) {
    struct timespec now;
    real = dlsym(RTLD_NEXT, "clock_gettime");
    real(CLOCK_REALTIME, &now);
    start = now.tv_sec;
}

int clock_gettime(clockid_t which, struct timespec *found) {
    int status = real(which, found);
    if (which == CLOCK_REALTIME)
        found->tv_sec = start - 3600 - 60 * (found->tv_sec - start);
    return status;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    found->tv_sec = now.tv_sec;
    found->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found)
        *found = now.tv_sec;
    return now.tv_sec;
}
"""
PROGRAM = """
import contextlib, sys
sys.path.insert(0, sys.argv.pop(1))
import planted
from sagescope.experiments import cli
cli.opening.open_source = lambda *spec: contextlib.nullcontext(planted.PlantedSource())
cli.main()
"""


def test_a_clock_that_goes_backwards(run, tmp_path: Path, kept, tell, unbroken):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("a clock that goes backwards needs a C compiler, and there is none")
    (tmp_path / "clock.c").write_text(BACKWARDS)
    build = [compiler, "-shared", "-fPIC", "-o", "clock.so", "clock.c", "-ldl"]
    subprocess.run(build, cwd=tmp_path, check=True)
    run(*ONE)
    journal = tmp_path / "sagescope.db"
    before = finished(journal)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parents[1] / "experiments"), *EXPLAIN],
        cwd=tmp_path,
        env={**os.environ, "LD_PRELOAD": str(tmp_path / "clock.so")},
        capture_output=True,
        text=True,
    )
    assert Ended(done.returncode, done.stdout, done.stderr).rows() == unbroken
    assert done.stderr == ""
    with contextlib.closing(sqlite3.connect(journal)) as connection:
        times = [at for (at,) in connection.execute("SELECT at FROM events ORDER BY id")]
    assert times != sorted(times), "the clock did not go back"
    assert run().rows() == unbroken
    lost = kept(before, journal)
    tell("the clock goes backwards", "nothing", lost, "as ever: no order and no cap hangs on it")


# --- A file that is cut --------------------------------------------------------------------------


def test_a_log_cut_in_the_middle_of_a_page(start, run, tmp_path: Path, kept, tell, unbroken):
    """What a power cut may leave of SQLite's write-ahead log."""
    journal, log = tmp_path / "sagescope.db", tmp_path / "sagescope.db-wal"
    child = start(pause=0.002)
    until_events(child, journal, 1, "concluded")
    until_events(child, journal, events_in(journal) + 20)
    child.send(signal.SIGKILL)
    child.end()
    copy = shutil.copytree(tmp_path, tmp_path / "copy")
    before = finished(copy / "sagescope.db")
    os.truncate(log, log.stat().st_size - 1000)
    (tmp_path / "sagescope.db-shm").unlink()
    assert run().rows() == unbroken
    tell(
        "the power goes: the journal's last page is cut",
        "nothing",
        kept(before, journal),
        "goes on from the last event that is whole",
    )


def test_a_journal_cut_in_the_middle_of_a_page(run, tmp_path: Path, tell, unbroken):
    """Nothing can bring back what was cut off; all else can be gone on with."""
    journal = tmp_path / "sagescope.db"
    run(*ONE)
    before = finished(journal)
    run()
    os.truncate(journal, journal.stat().st_size * 9 // 10 - 1000)
    cut = journal.read_bytes()
    refused = run()
    assert refused.code == 1
    assert "Traceback" not in refused.stderr
    assert journal.read_bytes() == cut
    salvaged = run("salvage", "sagescope.db", "new.db")
    assert "The rest is damaged" in salvaged.stdout, salvaged.stderr
    now = finished(tmp_path / "new.db")
    assert before[0, "concluded"] == now[0, "concluded"]
    assert run(*EXPLAIN, "--journal", "new.db").rows() == unbroken
    assert "is there already" in run("salvage", "sagescope.db", "new.db").stderr
    tell(
        "the journal's file is cut in the middle of a page",
        refused.sentence,
        "nothing on whole pages; what stood on those cut off is made again",
        "after `sagescope salvage OLD NEW`, goes on in the new journal to the same results",
    )


def test_nothing_to_salvage(run, tmp_path: Path):
    (tmp_path / "none.db").write_bytes(b"SQLite format 3\0" + bytes(5000))
    for name, words in (("none.db", "Nothing can be read"), ("other.db", "no journal at")):
        assert words in run("salvage", name, "new.db").stderr
        assert not (tmp_path / "new.db").exists()
