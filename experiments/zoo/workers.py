"""Tasks in processes of their own, some at a time: SAEs do not wait for each other.

A task is a function that can be pickled; its last argument is what it reports progress with. With one
worker everything runs in this process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

from ...sae.errors import SagescopeError

#: Told of progress: (stage, done, total).
Watch = Callable[[str, int, int], None]
#: What is run: called with a Watch.
Task = Callable[[Watch], None]
#: Patience with a process that was told to end, in seconds.
GRACE = 10.0


def run_all(
    tasks: Mapping[str, Task], workers: int, watch: Watch, finished: Callable[[str], None]
) -> None:
    """Run tasks to their ends, `workers` at a time, in order. finished: told of each by its name.

    The first error ends the others, and is raised: a SagescopeError as it is, else RuntimeError.
    """
    if workers == 1:
        for name, task in tasks.items():
            task(partial(_named, watch, name))
            finished(name)
        return
    waiting = list(tasks.items())
    threads = max(1, (os.cpu_count() or 1) // workers)
    with _ended() as running:
        while waiting or running:
            while waiting and len(running) < workers:
                name, task = waiting.pop(0)
                running.append(_Running.start(name, task, threads))
            heard = wait([one.line for one in running])
            for one in [one for one in running if one.line in heard]:
                if one.heard(watch):
                    running.remove(one)
                    finished(one.name)


@dataclass(frozen=True, eq=False)
class _Running:
    """A task in its process. line: what it says comes from there."""

    name: str
    process: Any
    line: Connection

    @classmethod
    def start(cls, name: str, task: Task, threads: int) -> _Running:
        context = multiprocessing.get_context("spawn")
        ours, its = context.Pipe(duplex=False)
        process = context.Process(target=_in_process, args=(task, its, threads), name=name)
        process.start()
        its.close()
        return cls(name, process, ours)

    def heard(self, watch: Watch) -> bool:
        """Take in what it said last; whether it is done. Raises what ended it."""
        try:
            kind, *said = self.line.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(
                f"{self.name} ended by itself (exit code {self.process.exitcode}): run the same "
                f"again, with fewer workers if memory was short."
            ) from None
        if kind == "refused":
            raise SagescopeError(f"{self.name}: {said[0]}")
        if kind == "failed":
            raise RuntimeError(f"{self.name}: {said[0]}")
        if kind == "progress":
            _named(watch, self.name, *said)
        else:
            self.process.join()
        return kind == "done"


@contextlib.contextmanager
def _ended() -> Iterator[list[_Running]]:
    """Processes that are ended with the block, whatever ends that."""
    running: list[_Running] = []
    try:
        yield running
    finally:
        for one in running:
            one.process.terminate()
        for one in running:
            one.process.join(GRACE)
            if one.process.is_alive():
                one.process.kill()


def _in_process(task: Task, line: Connection, threads: int) -> None:
    import torch

    # Ctrl-C reaches every process of a terminal; the one that started this ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    try:
        task(lambda stage, done, total: line.send(("progress", stage, done, total)))
        line.send(("done",))
    except SagescopeError as error:
        line.send(("refused", str(error)))
    except Exception as error:
        line.send(("failed", f"{type(error).__name__}: {error}"))
        raise


def _end(*_: object) -> NoReturn:
    """Leave every block, so that what is being trained or written is kept."""
    raise SystemExit(128 + signal.SIGTERM)


def _end_with_parent() -> None:
    """Nobody reads what this process does once the one that started it was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _named(watch: Watch, name: str, stage: str, done: int, total: int) -> None:
    watch(f"{name}: {stage}", done, total)
