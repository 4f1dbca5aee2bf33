"""Tasks in processes: all are done, in order, and an error of one ends the others."""

import multiprocessing
import os
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
