"""Evidence on disk: one folder of safetensors shards, a table of figures and a manifest.

    manifest.json           what was collected, of what, and the digest of each shard; written last
    features.parquet        the figures of all features (`summary`)
    shard-00000.safetensors some 65 thousand tokens: for each split its windows, as places in the
                            vocabulary of token strings, and its activations by feature
                            (compressed sparse columns)

A shard holds the token strings that none before it had. It is written whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import EvidenceError, FeatureError
from .evidence import Evidence, Features, SplitEvidence
from .paths import new_file
from .tokens import TokenTable
from .windows import Window

if TYPE_CHECKING:
    from pandas import DataFrame

#: Changes whenever older stores cannot be read, or would hold other numbers.
FORMAT = 1

MANIFEST, FIGURES = "manifest.json", "features.parquet"


@dataclass(frozen=True)
class SplitShard:
    """What one shard holds of one split.

    ids: int32 [n], places in the vocabulary. starts: int64 [windows + 1]. documents: int64
    [windows], places in the corpus. offsets: int64 [windows], each window's first token in its
    document. indptr: int64 [columns + 1], positions: uint32 [nnz], values: float32 [nnz]: for each
    feature, the tokens (of these n, ascending) on which it is not zero, and its activations there.
    """

    ids: np.ndarray
    starts: np.ndarray
    documents: np.ndarray
    offsets: np.ndarray
    indptr: np.ndarray
    positions: np.ndarray
    values: np.ndarray


@dataclass
class Vocabulary:
    """Token strings in the order in which the corpus first had them."""

    place: dict[str, int] = field(default_factory=dict)

    def add(self, pieces: Sequence[str]) -> np.ndarray:
        """int32: the place of each piece; new ones come last."""
        known = self.place
        return np.array([known.setdefault(piece, len(known)) for piece in pieces], np.int32)

    def since(self, size: int) -> list[str]:
        """What came after the first `size`."""
        return list(self.place)[size:]


@dataclass(frozen=True)
class Manifest:
    """What a store holds. `key` names everything that its numbers depend on."""

    key: dict[str, Any]
    subject: str
    sae: str
    corpus: str
    n_features: int
    features: list[int] | None
    splits: dict[str, dict[str, int]]
    shards: list[dict[str, Any]]
    format: int = FORMAT


def shard_path(folder: Path, number: int) -> Path:
    """Where the shard of that number lies."""
    return folder / f"shard-{number:05d}.safetensors"


def digest_of(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -------------------------------------------------------------------- writing


def write_shard(
    path: Path, splits: Mapping[str, SplitShard], pieces: Sequence[str], plan: str
) -> None:
    """Write one shard. pieces: the strings it adds to the vocabulary. plan: what it is made from."""
    tensors = {name: asdict(split) for name, split in splits.items()}
    write_tensors(path, tensors, {"pieces": list(pieces), "plan": plan})


def write_tensors(
    path: Path, splits: Mapping[str, Mapping[str, np.ndarray]], about: Mapping[str, Any]
) -> None:
    """Write a shard file: tensors by split and kind, and what it says about itself."""
    from safetensors.numpy import save

    tensors = {f"{name}.{kind}": tensor for name in splits for kind, tensor in splits[name].items()}
    # One entry only: safetensors writes several in an order that changes from run to run.
    about = {"format": FORMAT, **about}
    entry = json.dumps({**about, "content": _content(tensors, about)}, sort_keys=True)
    with new_file(path) as draft:
        draft.write_bytes(save(tensors, {"sagescope": entry}))


def entry_of(path: Path) -> dict[str, Any]:
    """What a manifest says of a shard file."""
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": digest_of(path)}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write what makes the folder a store."""
    with new_file(folder / MANIFEST) as draft:
        draft.write_text(json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n")


def write_figures(folder: Path, figures: DataFrame) -> None:
    """Write the figures of all features."""
    with new_file(folder / FIGURES) as draft:
        figures.to_parquet(draft, index=False)


def plan_digest(windows: Mapping[str, Sequence[Window]]) -> str:
    """SHA-256 (hex) of the windows that a shard is made from."""
    found = hashlib.sha256()
    for name, members in windows.items():
        found.update(name.encode())
        for window in members:
            found.update(np.array([window.document, window.start, *window.ids], "<i8").tobytes())
    return found.hexdigest()


def described(path: Path) -> dict[str, Any] | None:
    """What a shard says about itself; None where there is no whole shard."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return json.loads((file.metadata() or {})["sagescope"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def is_whole(path: Path, plan: str) -> bool:
    """Whether a shard that is made from `plan` lies there, with every byte that was written."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    about = described(path) or {}
    content = about.pop("content", None)
    if content is None or about.get("plan") != plan:
        return False
    try:
        return _content(load_file(path), about) == content
    except (OSError, SafetensorError, ValueError):
        return False


def _content(tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of all that a shard holds."""
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
        found.update(np.ascontiguousarray(tensor).data)
    return found.hexdigest()


# -------------------------------------------------------------------- reading


class Shard:
    """One shard, verified when first read; only what is asked for is read from disk.

    Parts are read with plain reads. safetensors would map the file, and every page that was ever
    touched would count as our memory, so that it grew with the corpus.
    """

    def __init__(self, folder: Path, entry: Mapping[str, Any]):
        self.path = folder / entry["file"]
        self._entry = entry
        if not self.path.is_file():
            raise _damaged(folder, f"{self.path.name} is missing")
        if self.path.stat().st_size != entry["bytes"]:
            raise _damaged(folder, f"{self.path.name} is cut short or was changed")

    @cached_property
    def _header(self) -> dict[str, Any]:
        """The file's own header (its format: 8 bytes of length, JSON, then the tensors)."""
        if digest_of(self.path) != self._entry["sha256"]:
            raise _damaged(self.path.parent, f"{self.path.name} was changed")
        with self.path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        return {"": 8 + size, **header}

    @property
    def pieces(self) -> list[str]:
        """The strings it adds to the vocabulary."""
        return json.loads(self._header["__metadata__"]["sagescope"])["pieces"]

    def read(self, split: str, kind: str, start: int = 0, end: int | None = None) -> np.ndarray:
        """One tensor of SplitShard, or a stretch of it."""
        about = self._header[f"{split}.{kind}"]
        item = np.dtype(_ITEMS[about["dtype"]])
        count = (about["shape"][0] if end is None else end) - start
        offset = self._header[""] + about["data_offsets"][0] + start * item.itemsize
        return np.fromfile(self.path, item, count, offset=offset)

    def columns(self, split: str, columns: np.ndarray) -> tuple[np.ndarray, ...]:
        """Place in `columns`, position and value of the entries of some columns (ascending)."""
        if not len(columns):
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
        first, last = int(columns[0]), int(columns[-1])
        indptr = self.read(split, "indptr", first, last + 2)
        start, end = int(indptr[0]), int(indptr[-1])
        positions = self.read(split, "positions", start, end)
        values = self.read(split, "values", start, end)
        starts, ends = indptr[columns - first] - start, indptr[columns - first + 1] - start
        places = np.repeat(np.arange(len(columns)), ends - starts)
        if len(columns) != last - first + 1:
            some = np.concatenate([np.arange(*pair) for pair in zip(starts, ends, strict=True)])
            positions, values = positions[some], values[some]
        return places, positions.astype(np.int64), values

    def sizes(self, split: str, columns: np.ndarray) -> np.ndarray:
        """How many entries each of some columns has."""
        return np.diff(self.read(split, "indptr"))[columns]


#: safetensors's names of the types that a shard holds.
_ITEMS = {"I32": "<i4", "I64": "<i8", "U32": "<u4", "F32": "<f4"}


class StoredSplit(SplitEvidence):
    """A split whose activations are read from the shards."""

    def __init__(
        self, name: str, tokens: TokenTable, shards: Sequence[Shard], columns: Mapping[int, int]
    ):
        super().__init__(name, tokens, self._dense)
        self._shards = shards
        self._columns = columns
        sizes = [len(shard.read(name, "ids")) for shard in shards]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def entries(self, features: Features) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See SplitEvidence. Raises FeatureError for features that were not collected."""
        columns = self._columns_of(features)
        order = np.argsort(columns, kind="stable")
        parts = [shard.columns(self.name, columns[order]) for shard in self._shards]
        places = order[np.concatenate([part[0] for part in parts])]
        tokens = np.concatenate(
            [part[1] + start for part, start in zip(parts, self._starts, strict=False)]
        )
        values = np.concatenate([part[2] for part in parts])
        if len(features) == 1:
            return places, tokens, values
        by_place = np.argsort(places, kind="stable")
        return places[by_place], tokens[by_place], values[by_place]

    def sizes(self, features: Features) -> np.ndarray:
        """See SplitEvidence."""
        columns = self._columns_of(features)
        return np.sum([shard.sizes(self.name, columns) for shard in self._shards], axis=0)

    def _dense(self, feature: int) -> np.ndarray:
        _, tokens, values = self.entries([feature])
        found = np.zeros(len(self.tokens), np.float32)
        found[tokens] = values
        return found

    def _columns_of(self, features: Features) -> np.ndarray:
        missing = [feature for feature in features if feature not in self._columns]
        if missing:
            raise FeatureError(
                f"The evidence does not cover feature {missing[0]}: it was collected for "
                f"{len(self._columns)} features. Collect it for this one."
            )
        return np.array([self._columns[feature] for feature in features], np.int64)


def open_evidence(folder: Path) -> Evidence:
    """The evidence in a finished store.

    Raises EvidenceError where the store is not finished, is of another format, or is damaged.
    """
    return evidence_of(folder, read_manifest(folder))


def evidence_of(folder: Path, manifest: Manifest) -> Evidence:
    """The evidence of the shards in `folder` that `manifest` names."""
    shards = [Shard(folder, entry) for entry in manifest.shards]
    vocabulary = [piece for shard in shards for piece in shard.pieces]
    covered = range(manifest.n_features) if manifest.features is None else manifest.features
    columns = {feature: column for column, feature in enumerate(covered)}
    splits = {
        name: StoredSplit(name, _token_table(name, shards, vocabulary), shards, columns)
        for name in manifest.splits
    }
    return Evidence(splits, covered, lambda: read_figures(folder))


def read_manifest(folder: Path) -> Manifest:
    """What a store holds. Raises EvidenceError as `open_evidence` does."""
    path = folder / MANIFEST
    if not path.is_file():
        raise EvidenceError(f"{folder} holds no finished evidence: run `sagescope collect`.")
    try:
        manifest = Manifest(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise _damaged(folder, f"its {MANIFEST} cannot be read") from error
    if manifest.format != FORMAT:
        raise EvidenceError(
            f"The evidence in {folder} has format {manifest.format}, not {FORMAT}: delete it."
        )
    return manifest


def _token_table(name: str, shards: Sequence[Shard], vocabulary: list[str]) -> TokenTable:
    ids = [shard.read(name, "ids") for shard in shards]
    starts, before = [np.zeros(1, np.int64)], 0
    for shard, members in zip(shards, ids, strict=True):
        starts.append(shard.read(name, "starts")[1:] + before)
        before += len(members)
    documents = [shard.read(name, "documents") for shard in shards]
    return TokenTable(
        vocabulary, np.concatenate(ids), np.concatenate(starts), np.concatenate(documents)
    )


def read_figures(folder: Path) -> DataFrame:
    """The figures of all features (see `Evidence.table`). Raises EvidenceError."""
    import pandas as pd

    try:
        return pd.read_parquet(folder / FIGURES)
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"its {FIGURES} cannot be read") from error


def _damaged(folder: Path, what: str) -> EvidenceError:
    return EvidenceError(
        f"The evidence in {folder} is damaged ({what}): delete its {MANIFEST}, and what is damaged "
        f"is collected again."
    )
