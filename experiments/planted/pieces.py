"""Pieces: a text as a model cuts it, beside the tokens that programs speak of.

A program's activation is a token's; that of a model, or of a rule about a model, is a piece's. A
token's is the highest of the pieces that share a character with it: a model cannot know before the
next piece whether a word has ended, and may fire on its parts. White space does not count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...sae.tokens import TokenTable
from .programs import Reading


class Pieces:
    """Texts cut twice. reading: into tokens; table: into pieces, one window a text.

    strings: the pieces of each text. They concatenate to it, as its tokens do.
    """

    def __init__(self, texts: Sequence[str], strings: Sequence[Sequence[str]]):
        self.reading = Reading.of(texts)
        self.table = TokenTable.of(strings)
        solid = np.array([not character.isspace() for character in "".join(texts)], bool)
        piece, token = (_owners(table)[solid] for table in (self.table, self.reading.table))
        met = np.ones(len(piece), bool)
        met[1:] = (np.diff(piece) != 0) | (np.diff(token) != 0)
        self._piece, self._token = piece[met], token[met]

    def on_tokens(self, values: np.ndarray) -> np.ndarray:
        """float32 [tokens]: activations of pieces, none below 0, as activations of tokens."""
        found = np.zeros(self.reading.n, np.float32)
        np.maximum.at(found, self._token, values[self._piece])
        return found

    def labels(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What pieces should do for the tokens' activations y: float32 and bool, both [pieces].

        A piece has the activation of the tokens that end in it. The second says which pieces
        count: those do not that are inside a firing token.
        """
        label, inside = np.zeros(len(self.table), np.float32), np.zeros(len(self.table), bool)
        ends = np.ones(len(self._token), bool)
        ends[:-1] = np.diff(self._token) != 0
        np.maximum.at(label, self._piece[ends], y[self._token[ends]])
        inside[self._piece[y[self._token] > 0]] = True
        return label, ~inside | (label > 0)


def _owners(table: TokenTable) -> np.ndarray:
    """int64 [characters]: which token of a table each character of its texts is in."""
    lengths = np.array([len(string) for string in table.vocab], np.int64)
    return np.repeat(np.arange(len(table)), lengths[table.ids])
