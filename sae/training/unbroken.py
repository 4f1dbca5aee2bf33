"""Work that a stop does not cut in two."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def unbroken() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait until the block is at its end; a second one does not wait.

    Outside of the main thread, which alone gets signals, and for signals that nobody handles in
    Python and that do not end the process, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {n: one for n, one in before.items() if one not in (signal.SIG_IGN, None)}
    came: list[int] = []

    def restored() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def wait(number: int, _frame: FrameType | None) -> None:
        if came:
            restored()
            signal.raise_signal(number)
        came.append(number)

    for number in before:
        signal.signal(number, wait)
    try:
        yield
    finally:
        restored()
    if came:
        signal.raise_signal(came[0])
