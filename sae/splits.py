"""Which document belongs to which split: decided by content, before anybody looks at it.

A document's SHA-256 picks its split. Near-duplicates (estimated Jaccard similarity of word
3-grams, by MinHash and locality-sensitive hashing: Broder 1997; Leskovec, Rajaraman & Ullman,
"Mining of Massive Datasets", ch. 3) follow the first of them that was seen. A document that is
near to documents of two splits belongs to neither and is dropped, so that no text has a
near-duplicate on the other side.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from .corpus import Corpus, Document

#: What explainers see, what choosing among explanations sees, what scorers see (percent).
SHARES: Mapping[str, int] = {"explain": 50, "select": 15, "score": 35}

#: Documents that training an SAE sees, and those kept for measuring and explaining it (percent).
PARTS: Mapping[str, int] = {"train": 80, "held-out": 20}

#: A signature's 64 values make 14 bands of 4. Two texts are near when they agree in a whole band:
#: .6 of the pairs with a Jaccard similarity of .5 do, .98 with .7, and .9994 with .8.
VALUES, BANDS, ROWS = 64, 14, 4

#: Shorter texts (in words) join only when they are equal but for case, spaces and punctuation:
#: short texts share a pattern without being copies.
SHORT = 30

_WORD = re.compile(r"\w+")


class Splitter:
    """Places documents, one after another, into the splits named by `shares`.

    shares: split name → percent, adding up to 100. lane: which 8 bytes of a text's hash decide
    (0 to 3). Splitting a part again takes another lane than the part did: its documents agree in
    that one.
    """

    def __init__(self, shares: Mapping[str, int] = SHARES, lane: int = 1):
        from datasketch import MinHash

        if sum(shares.values()) != 100 or min(shares.values()) < 0:
            raise ValueError(f"shares must be percents that add up to 100, not {dict(shares)}")
        self.shares = dict(shares)
        self._lane = lane
        self._signature = MinHash(num_perm=VALUES, seed=1, hashfunc=zlib.crc32)
        # A band belongs to one split: a document with bands of two splits is never kept.
        self._split_of_band: dict[int, str] = {}
        self._split_of: dict[bytes, str] = {}

    def place(self, document: Document) -> str | None:
        """The document's split, or None when it is near to documents of two splits."""
        words = _WORD.findall(document.text.casefold())
        plain = hashlib.sha256(" ".join(words).encode("utf-8", "surrogatepass")).digest()
        if plain in self._split_of:
            return self._split_of[plain]
        if len(words) < SHORT:
            split = self._by_hash(plain)
        else:
            bands = self._bands(words)
            near = {self._split_of_band[band] for band in bands if band in self._split_of_band}
            if len(near) > 1:
                return None
            split = near.pop() if near else self._by_hash(plain)
            self._split_of_band.update(dict.fromkeys(bands, split))
        self._split_of[plain] = split
        return split

    def _bands(self, words: list[str]) -> list[int]:
        """The document's signature, as one number for each of its bands."""
        signature = self._signature.copy()
        signature.update_batch(_shingles(words))
        rows = signature.hashvalues[: BANDS * ROWS].astype("<u8").reshape(BANDS, ROWS)
        packed = (bytes([number]) + row.tobytes() for number, row in enumerate(rows))
        return [
            int.from_bytes(hashlib.blake2b(band, digest_size=8).digest(), "big") for band in packed
        ]

    def _by_hash(self, digest: bytes) -> str:
        place = int.from_bytes(digest[8 * self._lane :][:8], "big") % 100
        for split, share in self.shares.items():
            if place < share:
                return split
            place -= share
        raise AssertionError("shares add up to 100")


def _shingles(words: list[str]) -> list[bytes]:
    """Word 3-grams, each as the bytes of its words' CRCs (fast to make, stable over runs)."""
    codes = np.array([zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words], "<u4")
    grams = np.stack([codes[:-2], codes[1:-1], codes[2:]], axis=1)
    return [gram.tobytes() for gram in np.unique(grams, axis=0)]


def part(corpus: Corpus, name: str, shares: Mapping[str, int]) -> Corpus:
    """The documents of `corpus` that fall into the share called `name`, as a corpus."""

    def read() -> Iterator[Document]:
        splitter = Splitter(shares, lane=0)
        return (document for document in corpus if splitter.place(document) == name)

    def digest() -> str:
        return hashlib.sha256(f"{corpus.digest()} {name} {dict(shares)}".encode()).hexdigest()

    return Corpus(f"{corpus.name}#{name}", read, digest)
