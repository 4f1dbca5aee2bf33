"""How good an SAE is, on text it was not trained on: what goes on its card.

The BOS position counts nowhere: it is not among the activations, and it keeps its own when the
model runs on reconstructions (its norm is far above all others, and no SAE here was trained on it).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .corpus import Corpus
from .encoder import SEQUENTIAL, TOKENS_PER_PASS, LatentReader
from .errors import CorpusError
from .hook_points import HookPoint
from .subject import Edit
from .windows import batches, cut, tokenized

#: Edges of the histogram of densities, in powers of ten.
DENSITY_EDGES = (-6.0, -5.0, -4.5, -4.0, -3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0)


@dataclass(frozen=True)
class Evaluation:
    """What was measured, on `tokens` tokens (losses: on the first `loss_tokens` of them).

    unexplained: fraction of variance unexplained, the squared error of the reconstruction over that
    of the mean activation. l0: latents that fire on a token, on average. loss, loss_with_sae,
    loss_without: next-token cross-entropy (nats a token) of the model as it is, with the
    reconstruction in place of the activations, and with zeros in their place. dead: share of
    latents that fired on no token. densities: how many latents have a density between the powers of
    ten in DENSITY_EDGES; those that never fired are in none.
    """

    tokens: int
    loss_tokens: int
    unexplained: float
    l0: float
    loss: float
    loss_with_sae: float
    loss_without: float
    dead: float
    densities: tuple[int, ...]

    @property
    def loss_recovered(self) -> float:
        """(loss_without - loss_with_sae) / (loss_without - loss): SAEBench's `ce_loss_score`.

        1 where the reconstruction does as well as the activations, 0 where as badly as zeros
        (zero ablation at the hook point, the BOS position spared).
        """
        return (self.loss_without - self.loss_with_sae) / (self.loss_without - self.loss)


def evaluate(
    reader: LatentReader, corpus: Corpus, tokens: int = 200_000, loss_tokens: int = 20_000
) -> Evaluation:
    """Measure an SAE (or transcoder: its output against the activations it stands for).

    Raises CorpusError for a corpus without text.
    """
    sums = _Sums(reader.sae.n_features)
    for rows in _batches(reader, corpus, tokens):
        found = _Reconstruction.of(reader, rows)
        sums.add(found)
        if sums.loss_tokens < loss_tokens:
            sums.add_losses(reader, found)
    if not sums.tokens:
        raise CorpusError(f"{corpus.name} gives no text to measure on.")
    return sums.evaluation()


class _Reconstruction:
    """One batch: ids, where real tokens other than BOS are, activations and what replaces them."""

    def __init__(self, ids: torch.Tensor, real: torch.Tensor):
        self.ids = ids  # [batch, seq]
        self.real = real  # bool [batch, seq]
        self.target = self.made = self.whole = torch.empty(0)  # [n, d], [n, d], [n, width]
        self.active = torch.empty(0)  # bool [n, features]
        self.at: HookPoint

    @classmethod
    @torch.inference_mode()
    def of(cls, reader: LatentReader, rows: list[tuple[int, ...]]) -> _Reconstruction:
        ids = reader.padded(rows)
        skip = int(reader.prepend_bos)
        ends = torch.tensor([len(row) + skip for row in rows])
        places = torch.arange(ids.shape[1])
        batch = cls(ids, (places >= skip) & (places < ends[:, None]))
        batch.at = reader.written
        whole = reader.subject.activations(ids, batch.at)
        same = batch.at == reader.at
        read = reader.prepared(whole, batch.at) if same else reader.at_hook(ids)
        module: Any = reader.sae.module
        if reader.sae.architecture in SEQUENTIAL:
            parts = [read[i : i + 1, :end] for i, end in enumerate(ends.tolist())]
            batch.made = torch.cat([module(part)[0, skip:] for part in parts])
            batch.active = torch.cat([module.encode(part)[0, skip:] != 0 for part in parts])
        else:
            flat = read[batch.real.to(read.device)]
            batch.made, batch.active = module(flat), module.encode(flat) != 0
        batch.whole = whole[batch.real.to(whole.device)]
        batch.target = reader.prepared(batch.whole, batch.at).float()
        return batch

    def edit(self, reader: LatentReader, zeros: bool) -> Edit:
        """Put the reconstruction, or zeros, where the activations were."""
        new = torch.zeros_like(self.whole)
        if not zeros:
            new = reader.restored(self.made, self.whole, self.at)

        def change(found: torch.Tensor) -> torch.Tensor:
            changed = found.clone()
            changed[self.real.to(found.device)] = new.to(found.dtype)
            return changed

        return Edit(self.at, change)


class _Sums:
    def __init__(self, n_features: int):
        self.tokens = self.loss_tokens = 0
        self.error = self.square = 0.0
        self.total: torch.Tensor | float = 0.0
        self.fired = torch.zeros(n_features, dtype=torch.long)
        self.losses = np.zeros(3)

    def add(self, batch: _Reconstruction) -> None:
        target = batch.target.double()
        self.tokens += len(target)
        self.error += float((target - batch.made.double()).square().sum())
        self.square += float(target.square().sum())
        self.total = self.total + target.sum(0).cpu()
        self.fired += batch.active.sum(0).cpu()

    def add_losses(self, reader: LatentReader, batch: _Reconstruction) -> None:
        edits = (None, batch.edit(reader, zeros=False), batch.edit(reader, zeros=True))
        self.losses += [_loss(reader, batch, edit) for edit in edits]
        self.loss_tokens += len(batch.target)

    def evaluation(self) -> Evaluation:
        assert isinstance(self.total, torch.Tensor)
        variance = self.square - float(self.total.square().sum()) / self.tokens
        density = self.fired.numpy() / self.tokens
        loss, with_sae, without = (self.losses / max(1, self.loss_tokens)).tolist()
        alive = density[density > 0]
        counts, _ = np.histogram(np.log10(alive), DENSITY_EDGES)
        return Evaluation(
            tokens=self.tokens,
            loss_tokens=self.loss_tokens,
            unexplained=self.error / variance,
            l0=float(density.sum()),
            loss=loss,
            loss_with_sae=with_sae,
            loss_without=without,
            dead=1 - len(alive) / len(density),
            densities=tuple(counts.tolist()),
        )


def _loss(reader: LatentReader, batch: _Reconstruction, edit: Edit | None) -> float:
    """Summed next-token cross-entropy over the batch's real tokens that something precedes."""
    logits = reader.subject.logits(batch.ids, edit)
    total = 0.0
    for row, ids, real in zip(logits, batch.ids, batch.real, strict=True):
        wanted = real[1:].to(row.device)
        total += float(
            torch.nn.functional.cross_entropy(
                row[:-1][wanted].float(), ids[1:].to(row.device)[wanted], reduction="sum"
            )
        )
    return total


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
