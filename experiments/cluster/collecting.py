"""Evidence collected by many: shards of a corpus's documents go through the models of readers.

The driver plans the shards (which document is in which split, which tokens in which shard) and
writes them, both in order, as a collection in one process does; readers only turn rows of tokens
into sparse activations, which do not depend on what else they read. Nothing is summed across
readers, so the store is the same to the last byte.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from ...sae.collect import Activations, Rows, activations_of
from ...sae.errors import ClusterError, SagescopeError, first_line
from ...sae.model_source import ModelSource
from ...sae.source import FeatureSource

#: How often a reader is started again, and its shards given to it anew.
RESTARTS = 5
#: Shards that each reader has before it, so that it never waits for the driver.
BEFORE_EACH = 2


class Reader:
    """An actor with the model, which reads shards."""

    def __init__(self, make: Callable[[], FeatureSource]):
        source = make()
        assert isinstance(source, ModelSource)
        self._reader = source.reader

    def read(self, rows: Rows) -> Activations:
        """See `activations_of`."""
        return activations_of(self._reader, rows)


class RayReaders:
    """Readers in a cluster (see `sae.collect.Readers`), hired when the first shard comes.

    hire: makes one. fire: ends one.
    """

    def __init__(self, workers: int, hire: Callable[[], Any], fire: Callable[[Any], None]):
        self.ahead = BEFORE_EACH * workers
        self._workers, self._hire, self._fire = workers, hire, fire
        self._hired: list[Any] = []
        self._turns = itertools.count()

    def begin(self, rows: Rows, advance: Callable[[int], None]) -> Callable[[], Activations]:
        """See Readers."""
        turn = next(self._turns)
        if len(self._hired) < self._workers:
            self._hired.append(self._hire())
        coming = self._hired[turn % self._workers].read.remote(rows)
        size = sum(len(row) for members in rows.values() for row in members)

        def wait() -> Activations:
            found = _fetched(coming)
            advance(size)
            return found

        return wait

    def close(self) -> None:
        """End the readers; what is under way is lost."""
        for reader in self._hired:
            self._fire(reader)


def _fetched(coming: Any) -> Activations:
    import ray
    import ray.exceptions

    try:
        return ray.get(coming)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, SagescopeError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"A reader was lost {RESTARTS} times ({first_line(error)}): see Ray's logs, or give each "
            f"more. What was collected stays; the same command goes on."
        ) from error
