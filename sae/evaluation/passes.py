"""One pass of the subject model for many SAEs: its activations once, and what each SAE makes of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ..corpus import Corpus
from ..encoder import SEQUENTIAL, TOKENS_PER_PASS, LatentReader
from ..errors import SAEError
from ..subject import Edit
from ..windows import batches, cut, tokenized


class SharedPass:
    """One batch of windows with the model's activations at one hook point (or two: a transcoder's).

    ids: [batch, seq], padded. real: bool [batch, seq], tokens other than BOS. ends: where each row's
    tokens end. read, written: activations [batch, seq, width] where the SAEs read and write.
    """

    def __init__(self, reader: LatentReader, rows: Sequence[tuple[int, ...]]):
        self._reader = reader
        self.ids = reader.padded(rows)
        self.skip = int(reader.prepend_bos)
        self.ends = [len(row) + self.skip for row in rows]
        places = torch.arange(self.ids.shape[1])
        self.real = (places >= self.skip) & (places < torch.tensor(self.ends)[:, None])
        with torch.inference_mode():
            self.written = reader.subject.activations(self.ids, reader.written)
            same = reader.written == reader.at
            self.read = self.written if same else reader.subject.activations(self.ids, reader.at)

    @cached_property
    def whole(self) -> torch.Tensor:
        """[n, width]: the activations that are replaced, of real tokens."""
        return self.written[self.real.to(self.written.device)]

    @cached_property
    def lengths(self) -> list[int]:
        """How many real tokens each row has."""
        return [end - self.skip for end in self.ends]

    @cached_property
    def losses(self) -> tuple[float, float]:
        """Summed next-token cross-entropy of the model as it is, and with zeros there."""
        return self._loss(None), self._loss(self._edit(torch.zeros_like(self.whole)))

    def loss_with(self, encoded: Encoded) -> float:
        """Summed next-token cross-entropy with an SAE's reconstruction in place."""
        reader = encoded.reader
        return self._loss(self._edit(reader.restored(encoded.made, self.whole, reader.written)))

    def _edit(self, new: torch.Tensor) -> Edit:
        def change(found: torch.Tensor) -> torch.Tensor:
            changed = found.clone()
            changed[self.real.to(found.device)] = new.to(found.dtype)
            return changed

        return Edit(self._reader.written, change)

    def _loss(self, edit: Edit | None) -> float:
        """Over the real tokens that something precedes."""
        logits = self._reader.subject.logits(self.ids, edit)
        total = 0.0
        for row, ids, real in zip(logits, self.ids, self.real, strict=True):
            wanted = real[1:].to(row.device)
            total += float(
                torch.nn.functional.cross_entropy(
                    row[:-1][wanted].float(), ids[1:].to(row.device)[wanted], reduction="sum"
                )
            )
        return total


@dataclass(frozen=True)
class Encoded:
    """What one SAE makes of a pass. Rows are the real tokens, window after window.

    inputs: [n, d_in], what it read. codes: [n, latents]. made, target: [n, d_out], its
    reconstruction, and what that stands for.
    """

    reader: LatentReader
    inputs: torch.Tensor
    codes: torch.Tensor
    made: torch.Tensor
    target: torch.Tensor

    @classmethod
    @torch.inference_mode()
    def of(cls, reader: LatentReader, shared: SharedPass) -> Encoded:
        read = reader.prepared(shared.read, reader.at)
        module: Any = reader.sae.module
        inputs = read[shared.real.to(read.device)]
        if reader.sae.architecture in SEQUENTIAL:
            parts = [read[i : i + 1, :end] for i, end in enumerate(shared.ends)]
            made = torch.cat([module(part)[0, shared.skip :] for part in parts])
            codes = torch.cat([module.encode(part)[0, shared.skip :] for part in parts])
        else:
            made, codes = module(inputs), module.encode(inputs)
        target = reader.prepared(shared.whole, reader.written).float()
        return cls(reader, inputs, codes, made, target)


def check_shared(readers: Sequence[LatentReader]) -> None:
    """Raise SAEError unless one pass of the model serves all of these."""
    first = readers[0]
    for reader in readers[1:]:
        for what, own, others in (
            ("reads", reader.at.name, first.at.name),
            ("makes", reader.written.name, first.written.name),
            ("has a BOS token", reader.prepend_bos, first.prepend_bos),
        ):
            if own != others:
                raise SAEError(
                    f"{reader.sae.name} and {first.sae.name} cannot be measured together: one "
                    f"{what}: {own}, the other: {others}. Measure them one after the other."
                )


def shared_passes(
    readers: Sequence[LatentReader], corpus: Corpus, tokens: int
) -> Iterator[SharedPass]:
    """Passes over at least `tokens` tokens of a corpus, if it has so many.

    Windows are as long as the shortest context among the SAEs allows. Raises SAEError where not all
    of them read at the same place.
    """
    check_shared(readers)
    shortest = min(readers, key=lambda reader: reader.room)
    for rows in _batches(shortest, corpus, tokens):
        yield SharedPass(shortest, rows)


def _batches(
    reader: LatentReader, corpus: Corpus, tokens: int, at_once: int = 256
) -> Iterator[list[tuple[int, ...]]]:
    """Rows of token ids, a pass at a time, until there are `tokens` of them."""
    windows = (
        window.ids
        for _, row in tokenized(corpus, reader.subject)
        for window in cut(row.ids, 0, reader.room)
    )
    left = tokens
    while left > 0 and (some := list(itertools.islice(windows, at_once))):
        while some and sum(map(len, some[:-1])) >= left:
            some.pop()
        left -= sum(map(len, some))
        for group in batches([len(row) + 1 for row in some], TOKENS_PER_PASS):
            yield [some[place] for place in group]
