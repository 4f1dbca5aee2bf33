"""Batches of shuffled activations, in float32, that a trainer draws from.

Three kinds, and an architecture's config class says by `rows` which it trains on:

    tokens      [batch, d], a token a row
    pairs       [2 · batch, d]: the tokens x_t, then as many earlier ones in the same order: the
                tokens x_(t-1) before them, or where the architecture's setting `positive` is
                random_earlier, any before them. Both are of one window, and BOS is none of them
    in and out  [batch, d_in + d_out], of one token at two hook points
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from .settings import TrainSettings
from .windows import Windows


class ActivationStream:
    """An endless iterator of batches, which can be gone on with.

    `windows_read` says how many windows have been read; a stream that starts with `skip` leaves out
    that many, and so reads none of them again.

    Raises CorpusError where no window is long enough.
    """

    def __init__(self, windows: Windows, settings: TrainSettings, skip: int = 0):
        self.windows, self.settings = windows, settings
        self.windows_read = skip
        self._skip = skip

    def __iter__(self) -> Iterator[torch.Tensor]:
        from sae_lens.training.mixing_buffer import mixing_buffer

        # Pairs are shuffled as rows of twice the width, so that they stay together.
        mixed = mixing_buffer(self.settings.buffer, self.settings.batch, self._rows())
        for batch in mixed:
            halves = batch.chunk(2, dim=-1) if self.settings.rows == "pairs" else [batch]
            yield torch.cat(list(halves)).float()

    def _rows(self) -> Iterator[torch.Tensor]:
        # The mixing buffer is copied at each yield, so what it gets is large.
        for group in self.windows.read(self._skip):
            self.windows_read += len(group)
            if self.settings.rows == "pairs":
                group = [self._pairs(window) for window in group]
            yield torch.cat(group)

    def _pairs(self, window: torch.Tensor) -> torch.Tensor:
        """Tokens of a window [n, d] but the first, each beside an earlier one: [n - 1, 2d]."""
        place = torch.arange(len(window) - 1)
        if self.settings.positive == "random_earlier":
            place = (torch.rand(len(place)) * (place + 1)).long()
        return torch.cat([window[1:], window[place.to(window.device)]], dim=-1)
