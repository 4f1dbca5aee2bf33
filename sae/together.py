"""Evidence of several SAEs of one subject model, collected from the same forward passes.

Each SAE's evidence is its own store, with the bytes that `collect` alone would write: whichever is
collected first has the rows run for all, and the others find theirs. What is found waits in memory,
some 16 bytes for each activation that is not zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .collect import Activations, Rows, activations_of, collect
from .corpus import Corpus
from .encoder import LatentReader, Latents, run_together
from .errors import SAEError
from .evidence import Evidence

#: Token ids of the rows that went through the model at once.
_Key = tuple[tuple[int, ...], ...]


def collect_together(
    readers: Sequence[LatentReader],
    corpus: Corpus,
    tokens: int,
    root: Path | None = None,
    progress: bool = True,
    told: Callable[[int], None] = lambda tokens: None,
) -> list[Evidence]:
    """The evidence of each reader, as `collect` gives it.

    readers: of one subject model, each of all its latents, with windows of the same length. told:
    of tokens as they are done, for each reader. Raises SAEError for other readers, and as `collect`
    does.
    """
    _check(readers)
    shared = _Shared(readers)
    return [
        collect(reader, corpus, tokens, root, progress, readers=_Part(shared, number, told))
        for number, reader in enumerate(readers)
    ]


def _check(readers: Sequence[LatentReader]) -> None:
    first = readers[0]
    for other in readers[1:]:
        for what, own, its in (
            ("subject model", first.subject, other.subject),
            ("BOS token", first.prepend_bos, other.prepend_bos),
            ("context", first.room, other.room),
        ):
            if own != its:
                raise SAEError(
                    f"{first.sae.name} and {other.sae.name} share no forward pass, as their {what} "
                    f"differs: collect them one after the other."
                )


class _Shared:
    """Runs rows for all readers, and keeps for each what it has not asked for yet."""

    def __init__(self, readers: Sequence[LatentReader]):
        self.readers = readers
        self._waiting: list[dict[_Key, Latents]] = [{} for _ in readers]

    def run(self, number: int, rows: Sequence[Sequence[int]]) -> Latents:
        """The latents of one reader on some rows."""
        key = tuple(tuple(row) for row in rows)
        if key not in self._waiting[number]:
            # Evidence that was there before asks for nothing: those before this one are done.
            later = range(number, len(self.readers))
            found = run_together([self.readers[one] for one in later], rows)
            for one, latents in zip(later, found, strict=True):
                self._waiting[one][key] = latents
        return self._waiting[number].pop(key)


@dataclass(frozen=True)
class _Part:
    """One reader's share (see `collect.Readers`)."""

    shared: _Shared
    number: int
    told: Callable[[int], None]
    ahead: int = 0

    def begin(self, rows: Rows, advance: Callable[[int], None]) -> Callable[[], Activations]:
        """See `collect.Readers`."""
        reader: Any = _Standing(self.shared, self.number)

        def both(tokens: int) -> None:
            advance(tokens)
            self.told(tokens)

        return partial(activations_of, reader, rows, both)


class _Standing:
    """What `activations_of` asks of a reader."""

    def __init__(self, shared: _Shared, number: int):
        own = shared.readers[number]
        self.sae, self.features = own.sae, own.features
        self.run = partial(shared.run, number)
