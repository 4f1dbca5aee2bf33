"""Measure SAEs of one place in a subject model, with one pass of it for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..corpus import Corpus
from ..encoder import LatentReader
from ..errors import CorpusError
from .figures import Evaluation
from .passes import Encoded, shared_passes
from .stability import decoder_of, stabilities
from .sums import Sums


def evaluate(
    readers: Sequence[LatentReader],
    corpus: Corpus,
    tokens: int = 200_000,
    loss_tokens: int = 20_000,
    kinds: Sequence[str] | None = None,
) -> list[Evaluation]:
    """Measure SAEs (or transcoders: their output against the activations it stands for).

    readers: of one subject model and hook point. kinds: what each is one of; those of the same kind
    differ in their seeds alone, and get a stability (see `stability.kind_of`).

    Raises SAEError for SAEs of different places, CorpusError for a corpus without text.
    """
    sums = [Sums(reader.sae.n_features) for reader in readers]
    for shared in shared_passes(readers, corpus, tokens):
        with_losses = sums[0].loss_tokens < loss_tokens
        for reader, own in zip(readers, sums, strict=True):
            encoded = Encoded.of(reader, shared)
            own.add(encoded, shared.lengths)
            if with_losses:
                own.add_losses(shared, encoded)
    if not sums[0].tokens:
        raise CorpusError(f"{corpus.name} gives no text to measure on.")
    decoders = [
        decoder_of(reader.sae, own.fired > 0) for reader, own in zip(readers, sums, strict=True)
    ]
    stable = stabilities(decoders, kinds or [str(n) for n in range(len(readers))])
    return [own.evaluation(one) for own, one in zip(sums, stable, strict=True)]
