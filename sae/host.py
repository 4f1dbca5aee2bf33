"""The activation host: many explainers ask at once, the model runs as few passes as it can.

Waiters hand in `(feature, texts)` from any event loop. One worker thread takes what is waiting, the
oldest text first with others of its length and shorter ones, up to the tokens of one pass, and
answers each waiter as soon as its last text is done. All features of a text come from one pass and
are remembered sparsely, so that asking for another feature of it costs nothing. A text that several
wait for runs once. Who else waits never changes anybody's numbers (see `encoder.ALIGN`).

A text without tokens gets an empty result. A text that is not a string, or longer than the SAE's
context, gets a TextError that says how many tokens fit. Lone surrogates are read as "?".
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from .encoder import TOKENS_PER_PASS, LatentReader
from .errors import FeatureError, SagescopeError, TextError
from .source import check_feature
from .tokens import TokenActivations

#: How many bytes of texts already run are remembered.
REMEMBERED_BYTES = 256 << 20
#: Texts that are looked at together when a pass is put together.
AT_ONCE = 512
#: How long the worker waits for others before a pass that would not be full, in seconds.
LINGER = 0.002


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


class ActivationHost:
    """Answers `(feature, texts)` for any number of concurrent waiters.

    reader: subject model and SAE. remember: bytes of results that are kept, least recently used
    first to go. Use it as a context manager, or `close` it.

    `passes` and `texts_run` count forward passes and the texts in them; `remembered_bytes` says
    how much is kept.
    """

    def __init__(self, reader: LatentReader, remember: int = REMEMBERED_BYTES):
        self.reader = reader
        self.passes = self.texts_run = 0
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
        check_feature(feature, self.reader.sae.n_features)
        if self.reader.features is not None and feature not in self.reader.features:
            raise FeatureError(f"This host reads only some features, and not {feature}.")
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
        chosen = [ready[0], *fitting][: max(1, TOKENS_PER_PASS // longest)]
        with self._state:
            # Some may be gone: we may have been closed meanwhile.
            chosen = [entry for entry in chosen if self._waiting.pop(entry.text, None)]
            self._running.update((entry.text, entry) for entry in chosen)
        return chosen

    def _padded(self, entry: _Waiting) -> int:
        return self.reader.padded_length(len(entry.ids or ()))

    def _run(self, entries: list[_Waiting]) -> None:
        found = self.reader.run([entry.ids or () for entry in entries])
        self.passes += 1
        self.texts_run += len(entries)
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
