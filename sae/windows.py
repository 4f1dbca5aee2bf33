"""Token windows: documents cut to the context length, and padded into batches of a token budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from .corpus import Document
from .subject import SubjectModel, Tokens


@dataclass(frozen=True)
class Window:
    """A stretch of one document that fits the context.

    document: its place in the stream of documents. start: its first token's place in the document.
    ids: token ids without the BOS token.
    """

    document: int
    start: int
    ids: tuple[int, ...]


def cut(ids: Sequence[int], document: int, room: int) -> list[Window]:
    """The windows of one document, each of at most `room` tokens, none across its border."""
    starts = range(0, len(ids), room)
    return [Window(document, start, tuple(ids[start : start + room])) for start in starts]


def tokenized(
    documents: Iterable[Document], subject: SubjectModel, at_once: int = 64
) -> Iterator[tuple[Document, Tokens]]:
    """Documents with their tokens, tokenised `at_once` at a time."""
    waiting: list[Document] = []

    def flush() -> Iterator[tuple[Document, Tokens]]:
        rows = subject.tokenize([document.text for document in waiting])
        yield from zip(waiting, rows, strict=True)

    for document in documents:
        waiting.append(document)
        if len(waiting) == at_once:
            yield from flush()
            waiting = []
    yield from flush()


def batches(lengths: Sequence[int], budget: int, overhead: int | None = None) -> list[list[int]]:
    """Group rows of similar length so that no padded batch holds more than `budget` tokens.

    overhead: the padding, in tokens, that costs as much as one batch more; None where nothing does.
    Returns lists of row numbers; every row is in exactly one, also one longer than the budget.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    grouped: list[list[int]] = []
    longest = 0
    for place, row in enumerate(order):
        room = budget // longest - len(grouped[-1]) if longest else 0
        padding = (longest - lengths[row]) * min(room, len(order) - place)
        if grouped and (room > 0 or not longest) and (overhead is None or padding <= overhead):
            grouped[-1].append(row)
        else:
            grouped.append([row])
            longest = lengths[row]
    return grouped


def pad(rows: Sequence[Sequence[int]], filler: int, multiple: int = 1) -> torch.Tensor:
    """Rows of token ids as one tensor [rows, longest], padded on the right.

    multiple: the second dimension is rounded up to a multiple of this.
    """
    longest = -(-max(len(row) for row in rows) // multiple) * multiple
    padded = [[*row, *[filler] * (longest - len(row))] for row in rows]
    return torch.tensor(padded, dtype=torch.long)
