"""Tasks in processes: all are done, in order, and an error of one ends the others."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from sagescope.experiments.zoo.workers import run_all
from sagescope.sae.errors import SAEError, SagescopeError


def task(folder, name, watch):
    """Leave a file, and say so."""
    watch("writing", 1, 1)
    (folder / name).write_text(str(os.getpid()))


def refuse(folder, watch):
    """When the other has begun."""
    while not (folder / "began").exists():
        time.sleep(0.05)
    raise SAEError("this cannot be had")


def break_off(watch):
    os._exit(3)


def wait(folder, watch):
    (folder / "began").touch()
    time.sleep(600)


#: A zoo's command in small: two tasks that would go on for minutes, and say that they were closed.
LONG = """
import os, sys, time
from functools import partial
from pathlib import Path

from sagescope.experiments.cli.app import _heeding_sigterm
from sagescope.experiments.zoo.workers import run_all

folder = Path(sys.argv[1])

def long(name, watch):
    (folder / f"{name}.pid").write_text(str(os.getpid()))
    try:
        time.sleep(600)
    finally:
        (folder / f"{name}.kept").touch()

if __name__ == "__main__":
    with _heeding_sigterm():
        run_all({name: partial(long, name) for name in "ab"}, 2, print, print)
"""


def until(true):
    """Wait for what must come; the test's own timeout is the patience."""
    while not true():
        time.sleep(0.05)


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_who_is_told_to_end_ends_the_others_which_close_what_they_have(number, tmp_path):
    """Not at their next message: a training says something every few steps, a draw hardly ever."""
    script = tmp_path / "long.py"
    script.write_text(LONG)
    started = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    pids = [tmp_path / "a.pid", tmp_path / "b.pid"]
    until(lambda: all(path.exists() and path.read_text() for path in pids))
    started.send_signal(number)
    assert started.wait() == (0 if number == signal.SIGTERM else -number)
    until(lambda: all(is_gone(int(path.read_text())) for path in pids))
    assert all(path.with_suffix(".kept").exists() for path in pids)


def quietly(stage, done, total):
    pass


@pytest.mark.parametrize("workers", [1, 2])
def test_all_tasks_are_done(workers, tmp_path):
    finished, seen = [], []
    tasks = {name: partial(task, tmp_path, name) for name in "abc"}
    run_all(tasks, workers, lambda *said: seen.append(said), finished.append)
    assert sorted(finished) == ["a", "b", "c"]
    assert sorted(seen) == [(f"{name}: writing", 1, 1) for name in "abc"]
    own = {(tmp_path / name).read_text() == str(os.getpid()) for name in "abc"}
    assert own == {workers == 1}


def test_an_error_is_a_sentence_and_ends_the_others(tmp_path):
    tasks = {"long": partial(wait, tmp_path), "bad": partial(refuse, tmp_path)}
    with pytest.raises(SagescopeError, match="bad: this cannot be had"):
        run_all(tasks, 2, quietly, lambda name: None)
    assert not multiprocessing.active_children()


def test_a_process_that_is_lost_says_so(tmp_path):
    with pytest.raises(RuntimeError, match=r"gone ended by itself \(exit code 3\)"):
        run_all({"gone": break_off, "other": partial(task, tmp_path, "x")}, 2, quietly, print)
