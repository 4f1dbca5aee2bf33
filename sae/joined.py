"""Several SAEs on one subject model, read in the same forward passes.

    joined = JoinedReader([LatentReader(subject, one), LatentReader(subject, other)])
    with ActivationHost(joined) as host:
        sources = [ModelSource(part.reader, evidence, part) for part in joined.parts(host)]

A joined reader numbers the latents of its SAEs through: those of the second follow those of the
first. So the host batches, remembers and answers as it does for one SAE, and a text that was run
for one SAE is known for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .encoder import LatentReader, Latents, run_together
from .errors import FeatureError, SAEError, TextError
from .host import ActivationHost, TextLatents
from .tokens import TokenActivations


class JoinedReader:
    """SAEs on one subject model as one reader (see `host.Reader`).

    room: of the SAE that has most. Raises SAEError for SAEs of two subject models, or two SAEs of
    one name.
    """

    def __init__(self, readers: Sequence[LatentReader]):
        self.readers = list(readers)
        self.subject = self.readers[0].subject
        names = [reader.sae.name for reader in self.readers]
        if any(reader.subject is not self.subject for reader in self.readers):
            raise SAEError(
                "SAEs of several subject models share no forward pass: serve them apart."
            )
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise SAEError(
                f"Two SAEs are called {twice}: name one of them once, or rename a folder."
            )
        self.room = max(reader.room for reader in self.readers)
        sizes = [reader.sae.n_features for reader in self.readers]
        self._firsts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def parts(self, host: ActivationHost) -> list[HostPart]:
        """What stands for each SAE's own host, on a host of this reader."""
        return [
            HostPart(host, reader, int(first))
            for reader, first in zip(self.readers, self._firsts, strict=False)
        ]

    def check(self, feature: int) -> None:
        """Raise FeatureError for a feature that none of the SAEs has."""
        if not 0 <= feature < self._firsts[-1]:
            raise FeatureError(f"There is no feature {feature}: there are {self._firsts[-1]}.")

    def padded_length(self, tokens: int) -> int:
        """How long a row of so many tokens is in a pass, at most."""
        return max(reader.padded_length(tokens) for reader in self.readers)

    def run(self, rows: Sequence[Sequence[int]]) -> Latents:
        """The latents of all SAEs on rows of token ids. Raises as LatentReader.run does."""
        found: dict[int, Latents] = {}
        # SAEs trained with a BOS token and without do not read the same rows.
        for prepends in (True, False):
            some = [n for n, one in enumerate(self.readers) if one.prepend_bos is prepends]
            if some:
                latents = run_together([self.readers[n] for n in some], rows)
                found.update(zip(some, latents, strict=True))
        parts = [found[number] for number in range(len(self.readers))]
        firsts = self._firsts[:-1].astype(np.int32)
        tokens = np.concatenate([part.tokens for part in parts])
        latents = np.concatenate(
            [part.latents + first for part, first in zip(parts, firsts, strict=True)]
        )
        order = np.lexsort((latents, tokens))
        values = np.concatenate([part.values for part in parts])
        return Latents(parts[0].starts, tokens[order], latents[order], values[order])


@dataclass(frozen=True)
class HostPart:
    """One SAE's share of a host that several share. first: the number of its first latent there."""

    host: ActivationHost
    reader: LatentReader
    first: int

    async def activations(self, feature: int, texts: Sequence[str]) -> list[TokenActivations]:
        """See ActivationHost. Raises TextError for a text too long for this SAE, too."""
        self.reader.check(feature)
        return [found.of(feature) for found in await self.latents(texts)]

    async def latents(self, texts: Sequence[str]) -> list[TextLatents]:
        """All features of this SAE on each text. Raises TextError."""
        found = await self.host.latents(texts)
        for text, one in zip(texts, found, strict=True):
            if len(one.pieces) > self.reader.room:
                raise TextError(
                    f"A text of {len(one.pieces)} tokens does not fit the context of "
                    f"{self.reader.sae.name}, {self.reader.room}: shorten it ({text[:60]!r})."
                )
        return [one.part(self.first, self.reader.sae.n_features) for one in found]

    def close(self) -> None:
        """The host is closed by whoever opened it."""
