"""How far the data determine SAEs' latents, on one pass of their subject model (see `identifiability`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .corpus import Corpus
from .encoder import LatentReader
from .errors import CorpusError
from .evaluation.passes import Encoded, shared_passes
from .evaluation.stability import Stability, decoder_of, stabilities
from .identifiability import Mixing, Support


@dataclass(frozen=True)
class Identified:
    """What was found on `tokens` tokens (see `identifiability`). mixing: None with one living latent."""

    tokens: int
    mixing: Mixing | None
    support: Support
    stability: Stability | None

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        found = asdict(self)
        for pair, own in zip(found["support"]["pairs"], self.support.pairs, strict=True):
            pair["ambiguous"] = own.ambiguous
        return found


def identify(
    readers: Sequence[LatentReader],
    corpus: Corpus,
    tokens: int = 100_000,
    kinds: Sequence[str] | None = None,
) -> list[Identified]:
    """Look at SAEs of one hook point. kinds: see `evaluation.run.evaluate`.

    Raises SAEError for SAEs of different places, CorpusError for a corpus without text.
    """
    from scipy.sparse import csc_array, csr_array, vstack

    parts: list[list[Any]] = [[] for _ in readers]
    for shared in shared_passes(readers, corpus, tokens):
        for reader, own in zip(readers, parts, strict=True):
            own.append(csr_array(Encoded.of(reader, shared).codes.float().cpu().numpy()))
    if not parts[0]:
        raise CorpusError(f"{corpus.name} gives no text to look at.")
    codes: list[Any] = [csc_array(vstack(own)) for own in parts]
    living = [np.diff(one.indptr) > 0 for one in codes]
    decoders = [decoder_of(reader.sae, own) for reader, own in zip(readers, living, strict=True)]
    stable = stabilities(decoders, kinds or [str(n) for n in range(len(readers))])
    return [
        Identified(
            tokens=own.shape[0],
            mixing=Mixing.of(decoder) if len(decoder) > 1 else None,
            support=Support.of(own, decoder_of(reader.sae, np.arange(own.shape[1]))),
            stability=one,
        )
        for reader, own, decoder, one in zip(readers, codes, decoders, stable, strict=True)
    ]
