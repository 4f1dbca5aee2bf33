"""Evidence that comes with an SAE: what some of its features did on a corpus, without the corpus.

    sae/pretrained/NAME/evidence/KEY/
        manifest.json           the features, and the digest of each shard
        features.parquet        the figures of all features of the SAE (`summary`)
        shard-00000.safetensors for each split the activations of a stored shard (`store`)

A shipped shard has no text, neither strings nor token ids. `collect` makes the windows again from
the installed corpus, and takes the activations from here if the windows are, to the last token id,
those that they were measured on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import store
from .errors import EvidenceError, FeatureError, first_line
from .splits import SHARES

if TYPE_CHECKING:
    from pandas import DataFrame

log = logging.getLogger(__name__)

PARTS = ("indptr", "positions", "values")


@dataclass(frozen=True)
class Shipped:
    """Shipped evidence in a folder. features: those it covers, ascending."""

    folder: Path
    features: tuple[int, ...]
    shards: Sequence[Mapping[str, object]]

    @classmethod
    def find(cls, name: str) -> Shipped | None:
        """The shipped evidence of an evidence key's name, if an SAE that comes with us has it."""
        from .loading import PRETRAINED

        for path in PRETRAINED.glob(f"*/evidence/{name}/{store.MANIFEST}"):
            try:
                about = json.loads(path.read_text())
                features = tuple(map(int, about["features"]))
                shards = [dict(entry) for entry in about["shards"]]
                if about["format"] == store.FORMAT:
                    return cls(path.parent, features, shards)
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning(
                    "The evidence in %s cannot be used (%s)", path.parent, first_line(error)
                )
        return None

    def activations(self, number: int, plan: str) -> dict[str, dict[str, np.ndarray]]:
        """Split → PARTS of `SplitShard`, of shard `number`.

        plan: the digest of its windows. Raises EvidenceError where it was measured on others.
        """
        if number >= len(self.shards):
            raise EvidenceError(f"{self.folder} has no shard {number}.")
        shard = store.Shard(self.folder, self.shards[number])
        if (store.described(shard.path) or {}).get("plan") != plan:
            raise EvidenceError(f"{shard.path} was measured on other text than is installed here.")
        return {name: {part: shard.read(name, part) for part in PARTS} for name in SHARES}

    @cached_property
    def figures(self) -> DataFrame:
        """The figures of all features of the SAE."""
        return store.read_figures(self.folder)


def ship(source: Path, features: Sequence[int], target: Path) -> Path:
    """Write the evidence of some features of a finished store into a folder below `target`.

    Returns that folder, which has the store's own name. Raises EvidenceError for a damaged or
    unfinished store, FeatureError for one that does not cover the features.
    """
    manifest = store.read_manifest(source)
    wanted = np.unique(np.asarray(features, np.int64))
    if manifest.features is not None or not len(wanted) or wanted[-1] >= manifest.n_features:
        raise FeatureError(f"{source} does not cover all of the features {wanted.tolist()}.")
    folder = target / source.name
    shards = []
    for number, entry in enumerate(manifest.shards):
        shard, path = store.Shard(source, entry), store.shard_path(folder, number)
        tensors = {name: _columns(shard, name, wanted) for name in manifest.splits}
        plan = (store.described(shard.path) or {})["plan"]
        store.write_tensors(path, tensors, {"plan": plan})
        shards.append(store.entry_of(path))
    store.write_figures(folder, store.read_figures(source))
    about = {"format": store.FORMAT, "features": wanted.tolist(), "shards": shards}
    with store.new_file(folder / store.MANIFEST) as draft:
        draft.write_text(json.dumps({**about, "key": manifest.key}, indent=1) + "\n")
    return folder


def _columns(shard: store.Shard, split: str, columns: np.ndarray) -> dict[str, np.ndarray]:
    places, positions, values = shard.columns(split, columns)
    counts = np.bincount(places, minlength=len(columns))
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return {"indptr": indptr, "positions": positions.astype(np.uint32), "values": values}
