"""Tokens of many texts as arrays, so that a question about all of them is one array operation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class TokenActivations:
    """One text as one feature sees it.

    tokens: the n strings the text was cut into (they concatenate to the text whenever the tokenizer
    loses nothing). activations: float32 [n], in the SAE's own units.
    """

    tokens: tuple[str, ...]
    activations: np.ndarray

    @property
    def maximum(self) -> float:
        """The highest activation, 0 for a text without tokens."""
        return float(self.activations.max(initial=0.0))


class TokenTable:
    """The tokens of many windows (stretches of text that the model reads in one piece).

    vocab: the distinct token strings. ids: int32 [n], each token's place in `vocab`. starts: int64
    [windows + 1], where each window begins, and n. documents: int64 [windows], which document each
    window is part of.
    """

    def __init__(
        self, vocab: Sequence[str], ids: np.ndarray, starts: np.ndarray, documents: np.ndarray
    ):
        self.vocab = list(vocab)
        self.ids = ids
        self.starts = starts
        self.documents = documents

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(
        cls, windows: Iterable[Sequence[str]], documents: Sequence[int] | None = None
    ) -> TokenTable:
        """The table of the given windows, each a sequence of token strings."""
        place: dict[str, int] = {}
        ids: list[int] = []
        starts = [0]
        for window in windows:
            ids.extend(place.setdefault(token, len(place)) for token in window)
            starts.append(len(ids))
        owners = range(len(starts) - 1) if documents is None else documents
        return cls(
            list(place), np.array(ids, np.int32), np.array(starts), np.array(owners, np.int64)
        )

    @cached_property
    def window_of(self) -> np.ndarray:
        """int64 [n]: the window each token is in."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    @cached_property
    def position(self) -> np.ndarray:
        """int64 [n]: each token's place in its window, from 0."""
        return np.arange(len(self)) - self.starts[self.window_of]

    def window(self, number: int) -> list[str]:
        """The token strings of one window."""
        start, end = self.starts[number : number + 2]
        return [self.vocab[token] for token in self.ids[start:end]]

    def joined(self, other: TokenTable) -> TokenTable:
        """This table followed by `other`; the documents of `other` count on from ours."""
        place = {token: number for number, token in enumerate(self.vocab)}
        moved = np.array(
            [place.setdefault(token, len(place)) for token in other.vocab], dtype=np.int32
        )
        shift = int(self.documents.max(initial=-1)) + 1
        return TokenTable(
            list(place),
            np.concatenate([self.ids, moved[other.ids] if len(other) else other.ids]),
            np.concatenate([self.starts, other.starts[1:] + len(self)]),
            np.concatenate([self.documents, other.documents + shift]),
        )
