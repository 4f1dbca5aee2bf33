"""Evidence on demand: found in the cache, taken from what comes with the SAE, or collected.

Where evidence comes with the SAE, its features are the reference, in which neighbours are looked for,
also when all features were collected: so scores are the same in every place.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from . import store
from .collect import Readers, collect, evidence_folder, evidence_key, key_name
from .corpus import Corpus
from .encoder import LatentReader
from .errors import EvidenceError
from .evidence import Evidence
from .shipped import Shipped, ship

log = logging.getLogger(__name__)


class EvidenceOnDemand:
    """What an SAE's features did on a corpus, gathered when first asked for.

    reader, corpus, tokens, root, progress, readers: see `collect`.
    """

    readers: Readers | None = None

    def __init__(
        self,
        reader: LatentReader,
        corpus: Corpus,
        tokens: int,
        root: Path | None = None,
        progress: bool = True,
    ):
        self._reader, self._corpus, self._tokens = reader, corpus, tokens
        self._root, self._progress = root, progress
        self._held: Evidence | None = None

    def of(self, reader: LatentReader, tokens: int) -> EvidenceOnDemand:
        """The evidence of another reader's features on the same corpus, of at most `tokens` of it."""
        fewer = min(tokens, self._tokens)
        return EvidenceOnDemand(reader, self._corpus, fewer, self._root, self._progress)

    @cached_property
    def key(self) -> dict[str, Any]:
        """All that the numbers depend on: the same wherever they come from."""
        return evidence_key(self._reader, self._corpus, self._tokens)

    def get(self) -> Evidence:
        """The evidence, of all features or, where only these are shipped, of some.

        Its table has the figures of all. Raises as `collect` does.
        """
        return self._held or self._hold(
            (None if self._is_collected else self._shipped()) or self._collected()
        )

    def covering(self, features: Sequence[int]) -> Evidence:
        """The evidence of at least these features: where some are missing, all are collected."""
        if not set(features) <= set(self.get().features):
            self._hold(self._collected())
        return self.get()

    def ship(self, features: Sequence[int], target: Path) -> Path:
        """Write the evidence of some features below `target`, without text (see `shipped.ship`)."""
        self._collected()
        return ship(evidence_folder(self.key, self._root), features, target)

    def _hold(self, found: Evidence) -> Evidence:
        shipped = Shipped.find(key_name(self.key))
        if shipped is not None and set(shipped.features) <= set(found.features):
            found.reference = shipped.features
        self._held = found
        return found

    @property
    def _is_collected(self) -> bool:
        return (evidence_folder(self.key, self._root) / store.MANIFEST).exists()

    def _shipped(self) -> Evidence | None:
        shipped = Shipped.find(key_name(self.key))
        if shipped is None:
            return None
        reader = LatentReader(self._reader.subject, self._reader.sae, shipped.features)
        try:
            return collect(reader, self._corpus, self._tokens, self._root, self._progress, shipped)
        except EvidenceError as error:
            log.warning("The evidence that comes with the SAE cannot be used (%s)", error)
            return None

    def _collected(self) -> Evidence:
        what = self._reader, self._corpus, self._tokens
        return collect(*what, self._root, self._progress, readers=self.readers)
