"""The activation host: many explainers ask at once, the model runs as few passes as it can.

Waiters hand in `(feature, texts)` from any event loop. One worker thread takes what is waiting, the
oldest text first with others of its length and shorter ones, up to the tokens of one pass, and
answers each waiter as soon as its last text is done. All features of a text come from one pass and
are remembered sparsely, so that asking for another feature of it costs nothing. A text that several
wait for runs once. Who else waits never changes anybody's numbers (see `encoder.ALIGN`). A pass for
which the device has not the memory is run in halves, and later ones are not made as large.

A text without tokens gets an empty result. A text that is not a string, or longer than the SAE's
context, gets a TextError that says how many tokens fit. Lone surrogates are read as "?".
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from .encoder import TOKENS_PER_PASS, Latents
from .errors import SagescopeError, SubjectError, TextError
from .subject import SubjectModel
from .tokens import TokenActivations

#: How many bytes of texts already run are remembered.
REMEMBERED_BYTES = 256 << 20
#: Texts that are looked at together when a pass is put together.
AT_ONCE = 512
#: How long the worker waits for others before a pass that would not be full, in seconds.
LINGER = 0.002


@dataclass(frozen=True)
class Firing:
    """A feature's highest activation on a text, and the place of the token that has it."""

    feature: int
    activation: float
    position: int


@dataclass(frozen=True)
class TextLatents:
    """All that the SAE says about one text.

    pieces: its n token strings. latents: int32 [nnz], ascending; positions: int32 [nnz], ascending
    within a latent; values: float32 [nnz].
    """

    pieces: tuple[str, ...]
    latents: np.ndarray
    positions: np.ndarray
    values: np.ndarray

    def of(self, feature: int) -> TokenActivations:
        """The text as one feature sees it."""
        some = slice(*np.searchsorted(self.latents, (feature, feature + 1)))
        found = np.zeros(len(self.pieces), np.float32)
        found[self.positions[some]] = self.values[some]
        return TokenActivations(self.pieces, found)

    def strongest(self, n: int) -> list[Firing]:
        """The n features with the highest activation on any token, the highest first."""
        order = np.lexsort((self.positions, self.latents, -self.values))
        _, first = np.unique(self.latents[order], return_index=True)
        places = order[np.sort(first)[:n]]
        return [
            Firing(int(self.latents[at]), float(self.values[at]), int(self.positions[at]))
            for at in places
        ]

    def part(self, first: int, n: int) -> TextLatents:
        """Those of n latents from `first` on, numbered from 0."""
        some = slice(*np.searchsorted(self.latents, (first, first + n)))
        return TextLatents(
            self.pieces, self.latents[some] - first, self.positions[some], self.values[some]
        )

    @property
    def bytes(self) -> int:
        """About how much memory it takes."""
        strings = sum(50 + len(piece) for piece in self.pieces)
        return strings + self.latents.nbytes + self.positions.nbytes + self.values.nbytes


@dataclass
class _Waiting:
    """A text that has to run: its tokens once it has them, and who waits for it."""

    text: str
    waiters: list[Future[TextLatents]] = field(default_factory=list)
    ids: tuple[int, ...] | None = None
    pieces: tuple[str, ...] = ()

    @property
    def wanted(self) -> bool:
        return any(not waiter.cancelled() for waiter in self.waiters)


class Reader(Protocol):
    """What the host runs: a `LatentReader`, or several joined (see `joined`)."""

    subject: SubjectModel
    room: int

    def check(self, feature: int) -> None:
        """Raise FeatureError for a feature that it does not give."""
        ...

    def padded_length(self, tokens: int) -> int:
        """How long a row of so many tokens is in a pass."""
        ...

    def run(self, rows: Sequence[Sequence[int]]) -> Latents:
        """The latents of rows of token ids."""
        ...


class ActivationHost:
    """Answers `(feature, texts)` for any number of concurrent waiters.

    reader: subject model and SAE. remember: bytes of results that are kept, least recently used
    first to go. Use it as a context manager, or `close` it.

    `passes`, `texts_run` and `tokens_run` count forward passes and what was in them; `recalled`
    the texts that had been run before they were asked for. `remembered_bytes` says how much is
    kept, `tokens_per_pass` how large a pass may be. `on_pass` is called after each pass, in the
    worker's thread, with the share of that which it filled.
    """

    def __init__(self, reader: Reader, remember: int = REMEMBERED_BYTES):
        self.reader = reader
        self.passes = self.texts_run = self.tokens_run = self.recalled = 0
        self.tokens_per_pass = TOKENS_PER_PASS
        self.on_pass: Callable[[float], None] = lambda fill: None
        self._remember = remember
        self._known: OrderedDict[str, TextLatents] = OrderedDict()
        self.remembered_bytes = 0
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._running: dict[str, _Waiting] = {}
        self._state = threading.Condition()
        self._closed = False
        self._worker: threading.Thread | None = None

    def __enter__(self) -> ActivationHost:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def activations(self, feature: int, texts: Sequence[str]) -> list[TokenActivations]:
        """The feature's activation on each token of each text.

        Raises FeatureError for a feature the SAE does not have, TextError for a text that cannot be
        run (the message shows which).
        """
        self.reader.check(feature)
        return [found.of(feature) for found in await self.latents(texts)]

    async def latents(self, texts: Sequence[str]) -> list[TextLatents]:
        """All features of each text. Raises TextError."""
        for text in texts:
            if not isinstance(text, str):
                raise TextError(f"A text must be a string, not {type(text).__name__}: {text!r:.80}")
        futures = self._submit(list(texts))
        waiting = [asyncio.wrap_future(future) for future in futures.values()]
        try:
            await asyncio.gather(*waiting)
        except BaseException:
            # Also when we are cancelled: nothing may run for somebody who has left.
            for future in waiting:
                future.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            raise
        return [futures[text].result() for text in texts]

    def close(self) -> None:
        """Finish the pass that runs, refuse what waits, and stop the worker."""
        with self._state:
            self._closed = True
            left = list(self._waiting.values())
            self._state.notify_all()
        self._finish(left, SagescopeError("The activation host was closed."))
        if self._worker is not None:
            self._worker.join()

    # ---------------------------------------------------------------- handing in

    def _submit(self, texts: list[str]) -> dict[str, Future[TextLatents]]:
        """A future for each distinct text, done already where the text is known."""
        futures: dict[str, Future[TextLatents]] = {}
        with self._state:
            if self._closed:
                raise SagescopeError("The activation host was closed.")
            for text in texts:
                if text in futures:
                    continue
                futures[text] = future = Future()
                if text in self._known:
                    self.recalled += 1
                    self._known.move_to_end(text)
                    future.set_result(self._known[text])
                    continue
                entry = self._running.get(text) or self._waiting.setdefault(text, _Waiting(text))
                entry.waiters.append(future)
            if self._waiting and self._worker is None:
                # A daemon, so that an unclosed host never keeps a program from ending.
                self._worker = threading.Thread(
                    target=self._work, name="activation-host", daemon=True
                )
                self._worker.start()
            self._state.notify_all()
        return futures

    # ---------------------------------------------------------------- the worker

    def _work(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                if len(self._waiting) < AT_ONCE:
                    self._state.wait(LINGER)
            self._step()

    def _step(self) -> None:
        """One pass. An error reaches those whose texts were in it, and nobody else."""
        entries = self._oldest()
        try:
            self._tokenize([entry for entry in entries if entry.ids is None])
            entries = self._take([entry for entry in self._oldest() if entry.ids is not None])
            if entries:
                self._run(entries)
        except Exception as error:
            self._finish(entries, error)

    def _oldest(self) -> list[_Waiting]:
        """The texts that have waited longest; those that nobody waits for any more are dropped."""
        with self._state:
            oldest = list(itertools.islice(self._waiting.values(), AT_ONCE))
            for entry in oldest:
                if not entry.wanted:
                    del self._waiting[entry.text]
        return [entry for entry in oldest if entry.wanted]

    def _tokenize(self, fresh: list[_Waiting]) -> None:
        """Give texts their tokens; refuse those that are too long."""
        rows = self.reader.subject.tokenize([entry.text for entry in fresh])
        room = self.reader.room
        for entry, row in zip(fresh, rows, strict=True):
            entry.ids, entry.pieces = row.ids, row.pieces
            if len(row.ids) > room:
                shown = f"{entry.text[:60]!r}…" if len(entry.text) > 60 else repr(entry.text)
                self._finish(
                    [entry],
                    TextError(
                        f"A text of {len(row.ids)} tokens does not fit the SAE's context of {room}: "
                        f"shorten it ({shown})."
                    ),
                )

    def _take(self, ready: list[_Waiting]) -> list[_Waiting]:
        """The texts of the next pass: the oldest, then as long ones, then shorter ones."""
        if not ready:
            return []
        longest = self._padded(ready[0])
        fitting = [entry for entry in ready[1:] if self._padded(entry) <= longest]
        fitting.sort(key=self._padded, reverse=True)
        chosen = [ready[0], *fitting][: max(1, self.tokens_per_pass // longest)]
        with self._state:
            # Some may be gone: we may have been closed meanwhile.
            chosen = [entry for entry in chosen if self._waiting.pop(entry.text, None)]
            self._running.update((entry.text, entry) for entry in chosen)
        return chosen

    def _padded(self, entry: _Waiting) -> int:
        return self.reader.padded_length(len(entry.ids or ()))

    def _run(self, entries: list[_Waiting]) -> None:
        try:
            found = self.reader.run([entry.ids or () for entry in entries])
        except torch.OutOfMemoryError as error:
            # Taken up below, where the error no longer holds on to what filled the memory.
            halves = self._halved(entries, error)
        except Exception as error:
            return self._finish(entries, error)
        else:
            return self._answer(entries, found)
        for half in halves:
            self._run(half)

    def _halved(self, entries: list[_Waiting], error: Exception) -> list[list[_Waiting]]:
        """Two smaller passes in place of one. A text that does not even fit alone is refused."""
        if len(entries) == 1:
            refused = SubjectError(
                f"A text of {len(entries[0].ids or ())} tokens does not fit the memory of "
                f"{self.reader.subject.device}: shorten it, or take dtype bfloat16 or a larger device."
            )
            refused.__cause__ = error.with_traceback(None)
            self._finish(entries, refused)
            return []
        middle = (len(entries) + 1) // 2
        self.tokens_per_pass = middle * max(map(self._padded, entries))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return [entries[:middle], entries[middle:]]

    def _answer(self, entries: list[_Waiting], found: Latents) -> None:
        padded = len(entries) * max(map(self._padded, entries))
        self.passes += 1
        self.texts_run += len(entries)
        self.tokens_run += int(found.starts[-1])
        self.on_pass(min(1.0, padded / self.tokens_per_pass))
        for number, entry in enumerate(entries):
            positions, latents, values = found.row(number)
            order = np.argsort(latents, kind="stable")
            self._finish(
                [entry],
                TextLatents(
                    entry.pieces, latents[order], positions[order].astype(np.int32), values[order]
                ),
            )

    def _finish(self, entries: list[_Waiting], result: TextLatents | Exception) -> None:
        """Answer everybody who waits for the entries, and remember what was found."""
        with self._state:
            # All at once: whoever asks again for a text of a pass that broke must not join it.
            waiters = [waiter for entry in entries for waiter in entry.waiters]
            for entry in entries:
                self._running.pop(entry.text, None)
                self._waiting.pop(entry.text, None)
                # Whoever takes them answers them, so that nobody is answered twice: the worker may
                # hold an entry that `close` has refused.
                entry.waiters = []
                if isinstance(result, TextLatents):
                    self._keep(entry.text, result)
        for waiter in waiters:
            if not waiter.set_running_or_notify_cancel():
                continue
            if isinstance(result, TextLatents):
                waiter.set_result(result)
            else:
                waiter.set_exception(result)

    def _keep(self, text: str, found: TextLatents) -> None:
        size = found.bytes + 2 * len(text) + 200
        if size > self._remember:
            return
        self._known[text] = found
        self.remembered_bytes += size
        while self.remembered_bytes > self._remember:
            old, gone = self._known.popitem(last=False)
            self.remembered_bytes -= gone.bytes + 2 * len(old) + 200
