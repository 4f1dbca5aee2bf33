"""Collect evidence: stream a corpus through subject model and SAE once, and keep it on disk.

Every document belongs to one split before anything looks at it (`splits`). The store lies under a
key made of all that its numbers depend on, and is reused when it is there. A shard of some 65
thousand tokens is the checkpoint: whatever stops a collection, the next one goes on after the last
whole shard, and ends with the same bytes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import store
from .corpus import Corpus, Document
from .encoder import LatentReader
from .errors import CorpusError, EvidenceError
from .evidence import Evidence
from .paths import cache_root, writable
from .progress import Bar
from .progress import bar as progress_bar
from .shipped import Shipped
from .splits import SHARES, Splitter
from .store import SplitShard, Vocabulary
from .subject import Tokens
from .summary import summarise
from .windows import Window, cut, tokenized

log = logging.getLogger(__name__)

SHARD_TOKENS = 1 << 16
#: Windows that go through the model between two looks at the clock.
WINDOWS_AT_ONCE = 64
#: The end of a document is left out when it is shorter than this, in tokens: it is hardly a context.
SHORTEST_TAIL = 8

#: The token ids of a shard's windows, by split.
Rows = dict[str, list[tuple[int, ...]]]
#: Split → `indptr`, `positions` and `values` of `SplitShard`.
Activations = dict[str, dict[str, np.ndarray]]


class Readers(Protocol):
    """Runs the rows of shards through the model: in this process, or in several elsewhere."""

    @property
    def ahead(self) -> int:
        """How many shards are begun before the first is needed."""
        ...

    def begin(self, rows: Rows, advance: Callable[[int], None]) -> Callable[[], Activations]:
        """Begin a shard; what is returned waits for it. advance: is told how many tokens are done.

        What comes is what `activations_of` gives.
        """
        ...


def collect(
    reader: LatentReader,
    corpus: Corpus,
    tokens: int,
    root: Path | None = None,
    progress: bool = True,
    shipped: Shipped | None = None,
    readers: Readers | None = None,
) -> Evidence:
    """The evidence of the reader's features on the first `tokens` tokens of `corpus`.

    tokens: without BOS tokens; fewer where the corpus ends. root: the folder of all evidence, by
    default in the cache. progress: draw a bar on stderr once it has taken two seconds. shipped:
    evidence of just these features on just this text, which takes the place of running the model.
    readers: who runs the model; by default `reader`, here. Shards are planned and written here and
    in order, whoever runs them, so that the store's bytes are the same.
    Raises CorpusError for a corpus that leaves a split empty, EvidenceError for a damaged store, a
    full disk (what was collected stays), and shipped evidence that is of other text.
    """
    key = evidence_key(reader, corpus, tokens)
    folder = evidence_folder(key, root)
    if not (folder / store.MANIFEST).exists():
        with (
            _alone(folder),
            progress_bar("Collecting", tokens, progress) as bar,
            _full_disk(folder),
        ):
            if not (folder / store.MANIFEST).exists():
                _collect(
                    reader, corpus, tokens, folder, key, bar, shipped, readers or _Here(reader)
                )
    return store.open_evidence(folder)


def evidence_key(reader: LatentReader, corpus: Corpus, tokens: int) -> dict[str, Any]:
    """Everything that the evidence's numbers depend on."""
    return {
        "format": store.FORMAT,
        "subject": reader.subject.digest,
        "sae": reader.sae.digest,
        "features": None if reader.features is None else reader.features.tolist(),
        "corpus": corpus.digest(),
        "context": reader.context,
        "tokens": tokens,
        "splits": dict(SHARES),
        "dtype": str(reader.subject.dtype),
    }


def evidence_folder(key: Mapping[str, Any], root: Path | None = None) -> Path:
    """Where the evidence of a key lies."""
    return (root or cache_root() / "evidence") / key_name(key)


def key_name(key: Mapping[str, Any]) -> str:
    """The name of a key: the same for the same evidence anywhere."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]


# -------------------------------------------------------------------- one collection


@dataclass(frozen=True)
class _Piece:
    """A window with its token strings."""

    window: Window
    strings: tuple[str, ...]


_Plan = dict[str, list[_Piece]]


@dataclass(frozen=True)
class _Begun:
    """A shard whose windows are on their way through the model; found is None for one that is whole.

    ids: each window's tokens as places in the vocabulary. strings: what it adds to that.
    """

    path: Path
    plan: _Plan
    ids: dict[str, list[np.ndarray]]
    strings: list[str]
    digest: str
    found: Callable[[], Activations] | None

    def write(self) -> None:
        """Wait for it, and write it."""
        if self.found is not None:
            found = self.found()
            made = {n: _shard_of(self.plan[n], self.ids[n], **found[n]) for n in self.plan}
            store.write_shard(self.path, made, self.strings, self.digest)


def _rows(plan: _Plan) -> Rows:
    return {name: [piece.window.ids for piece in pieces] for name, pieces in plan.items()}


def _size(plan: _Plan) -> int:
    return sum(len(piece.window.ids) for pieces in plan.values() for piece in pieces)


def _collect(
    reader: LatentReader,
    corpus: Corpus,
    tokens: int,
    folder: Path,
    key: dict[str, Any],
    bar: Bar,
    shipped: Shipped | None,
    readers: Readers,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".*"):
        leftover.unlink()
    vocabulary, shards = Vocabulary(), []
    totals = {name: {"documents": 0, "windows": 0, "tokens": 0} for name in SHARES}
    begun: deque[_Begun] = deque()

    def finish(one: _Begun) -> None:
        one.write()
        shards.append(store.entry_of(one.path))
        for name, pieces in one.plan.items():
            totals[name]["windows"] += len(pieces)
            totals[name]["tokens"] += sum(len(piece.window.ids) for piece in pieces)
            totals[name]["documents"] += sum(piece.window.start == 0 for piece in pieces)

    for number, plan in enumerate(_plans(reader, corpus, tokens)):
        path = store.shard_path(folder, number)
        known = len(vocabulary.place)
        ids = {name: [vocabulary.add(p.strings) for p in plan[name]] for name in plan}
        digest = store.plan_digest({name: [p.window for p in plan[name]] for name in plan})
        if store.is_whole(path, digest):
            found = None
            bar.skip(_size(plan))
        elif shipped:
            found = partial(shipped.activations, number, digest)
            bar.advance(_size(plan))
        else:
            found = readers.begin(_rows(plan), bar.advance)
        begun.append(_Begun(path, plan, ids, vocabulary.since(known), digest, found))
        while len(begun) > readers.ahead:
            finish(begun.popleft())
    for one in begun:
        finish(one)
    empty = [name for name in SHARES if not totals[name]["windows"]]
    if empty:
        raise CorpusError(
            f"{tokens:,} tokens of {corpus.name} leave the split {empty[0]!r} empty: give a corpus "
            f"of more documents, or take more tokens of it."
        )
    manifest = store.Manifest(
        key=key,
        subject=reader.subject.id,
        sae=reader.sae.name,
        corpus=corpus.name,
        n_features=reader.sae.n_features,
        features=None if reader.features is None else reader.features.tolist(),
        splits=totals,
        shards=shards,
    )
    bar.say("Summing up")
    if shipped:
        figures = shipped.figures
    else:
        evidence = store.evidence_of(folder, manifest)
        figures = summarise(evidence.splits, evidence.features)
    store.write_figures(folder, figures)
    store.write_manifest(folder, manifest)


def _plans(reader: LatentReader, corpus: Corpus, tokens: int) -> Iterator[_Plan]:
    """The windows of one shard after another, by split."""
    splitter = Splitter(SHARES)
    plan: _Plan = {name: [] for name in SHARES}
    size = total = 0
    for number, (split, row) in enumerate(_placed(splitter, corpus, reader)):
        for window in cut(row.ids, number, reader.room):
            if window.start and len(window.ids) < SHORTEST_TAIL:
                continue
            end = window.start + len(window.ids)
            plan[split].append(_Piece(window, row.pieces[window.start : end]))
            size += len(window.ids)
            total += len(window.ids)
            if size >= SHARD_TOKENS or total >= tokens:
                yield plan
                plan, size = {name: [] for name in SHARES}, 0
            if total >= tokens:
                return
    if size:
        yield plan


def _placed(
    splitter: Splitter, corpus: Corpus, reader: LatentReader
) -> Iterator[tuple[str, Tokens]]:
    """The split and the tokens of every document that has a split."""
    splits: list[str] = []

    def kept() -> Iterator[Document]:
        for document in corpus:
            if split := splitter.place(document):
                splits.append(split)
                yield document

    for place, (_, row) in enumerate(tokenized(kept(), reader.subject)):
        yield splits[place], row


@dataclass(frozen=True)
class _Here:
    """Runs shards in this process, each when it is needed."""

    reader: LatentReader
    ahead: int = 0

    def begin(self, rows: Rows, advance: Callable[[int], None]) -> Callable[[], Activations]:
        return partial(activations_of, self.reader, rows, advance)


def activations_of(
    reader: LatentReader, rows: Rows, advance: Callable[[int], None] = lambda tokens: None
) -> Activations:
    """What the reader's features do on the rows of one shard, a split at a time.

    advance: is told of tokens as they are done. Raises as `LatentReader.run` does.
    """
    return {name: _split_of(reader, members, advance) for name, members in rows.items()}


def _split_of(
    reader: LatentReader, rows: Sequence[tuple[int, ...]], advance: Callable[[int], None]
) -> dict[str, np.ndarray]:
    parts = []
    for first in range(0, len(rows), WINDOWS_AT_ONCE):
        some = rows[first : first + WINDOWS_AT_ONCE]
        parts.append(reader.run(some))
        advance(sum(len(row) for row in some))
    begins = np.concatenate([[0], np.cumsum([part.starts[-1] for part in parts])])
    tokens = [part.tokens + begin for part, begin in zip(parts, begins, strict=False)]
    columns = [_columns(reader, part.latents) for part in parts]
    indptr, order = _by_column(_joined(columns, np.int64), _width(reader))
    return {
        "indptr": indptr,
        "positions": _joined(tokens, np.int64)[order].astype(np.uint32),
        "values": _joined([part.values for part in parts], np.float32)[order],
    }


def _shard_of(
    pieces: Sequence[_Piece],
    ids: Sequence[np.ndarray],
    *,
    indptr: np.ndarray,
    positions: np.ndarray,
    values: np.ndarray,
) -> SplitShard:
    """Windows with the activations on them."""
    return SplitShard(
        ids=_joined(ids, np.int32),
        starts=np.concatenate([[0], np.cumsum([len(row) for row in ids])]).astype(np.int64),
        documents=np.array([piece.window.document for piece in pieces], np.int64),
        offsets=np.array([piece.window.start for piece in pieces], np.int64),
        indptr=indptr,
        positions=positions,
        values=values,
    )


def _width(reader: LatentReader) -> int:
    return reader.sae.n_features if reader.features is None else len(reader.features)


def _columns(reader: LatentReader, latents: np.ndarray) -> np.ndarray:
    """The column of each latent in a store that may hold only some of them."""
    return latents if reader.features is None else np.searchsorted(reader.features, latents)


def _by_column(columns: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """indptr [width + 1], and the order that sorts entries by column, then as they were."""
    indptr = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=width))])
    # numpy sorts 16-bit integers by radix, ten times as fast as longer ones.
    short = columns.astype(np.uint16) if width <= 1 << 16 else columns
    return indptr.astype(np.int64), np.argsort(short, kind="stable")


def _joined(parts: Sequence[np.ndarray], kind: Any) -> np.ndarray:
    return np.concatenate(parts).astype(kind) if parts else np.empty(0, kind)


# -------------------------------------------------------------------- around it


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process at a time collects into a folder; the lock goes when its process does."""
    with writable(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        held = (folder.parent / f"{folder.name}.lock").open("w")
    with held as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("Another process collects the same evidence; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise EvidenceError(
            f"The disk that holds {folder} is full. What was collected stays: free some space and "
            f"run the same again."
        ) from error
