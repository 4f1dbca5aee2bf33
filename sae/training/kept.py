"""Activations that are kept on disk, so that many SAEs are trained on what one pass has made.

A folder holds `activations.bf16` (rows of one token, in bfloat16, window after window),
`lengths.u2` (tokens of each window) and `kept.json`: of what the activations are, and how much is
whole. Filling goes on where it was stopped. Reading goes through blocks of windows in an order that
a seed draws anew for each pass, and maps the file instead of loading it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import SAEError
from ..paths import new_file, writable
from ..progress import bar
from .settings import TrainSettings
from .windows import GROUP, Windows

#: What is kept at most, in gigabytes, unless one says otherwise.
KEPT_GB = 8.0


@dataclass(frozen=True)
class Kept:
    """What `kept.json` says. key: what the activations are of. windows, tokens: how many are whole.

    width: numbers a token.
    """

    key: dict[str, object]
    width: int
    windows: int
    tokens: int

    @classmethod
    def of(cls, folder: Path) -> Kept | None:
        """What a folder holds, None for nothing. Raises SAEError for what cannot be read."""
        try:
            return cls(**json.loads((folder / "kept.json").read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise SAEError(
                f"{folder} does not hold kept activations that can be read: delete it, or give "
                f"another folder."
            ) from error


def key_of(subject_digest: str, settings: TrainSettings, corpus_digest: str) -> dict[str, object]:
    """All that decides which activations there are, and in which order."""
    return {
        "subject": subject_digest,
        "hook_point": settings.hook_point,
        "hook_point_out": settings.hook_point_out,
        "head": settings.head,
        "corpus": corpus_digest,
        "context": settings.context,
    }


def fill(
    folder: Path, windows: Windows, key: dict[str, object], tokens: int, gigabytes: float = KEPT_GB
) -> Kept:
    """Keep activations of at least `tokens` tokens, unless `gigabytes` are full before.

    Raises SAEError for a folder of other activations; a full disk keeps what is whole.
    """
    kept = Kept.of(folder)
    if kept and kept.key != key:
        differing = [name for name in key if kept.key.get(name) != key[name]]
        raise SAEError(
            f"{folder} holds other activations ({', '.join(differing)}): give another folder, or "
            f"delete that one."
        )
    if kept and (kept.tokens >= tokens or kept.tokens * 2 * kept.width >= gigabytes * 1e9):
        return kept
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    begun = kept or Kept(key, 0, 0, 0)
    with bar("Keeping activations", tokens) as shown:
        shown.skip(begun.tokens)
        for kept in _written(folder, windows, begun):
            shown.advance(kept.tokens - begun.tokens)
            begun = kept
            if kept.tokens >= tokens or kept.tokens * 2 * kept.width >= gigabytes * 1e9:
                break
    return begun


def _written(folder: Path, windows: Windows, kept: Kept) -> Iterator[Kept]:
    """What is kept after each group of windows that is added."""
    rows, lengths = folder / "activations.bf16", folder / "lengths.u2"
    with rows.open("ab") as row_file, lengths.open("ab") as length_file:
        # A stop in the middle of a group left more than `kept.json` knows of.
        row_file.truncate(kept.tokens * kept.width * 2)
        length_file.truncate(kept.windows * 2)
        for group in windows.read(kept.windows):
            found = torch.cat(group).to(torch.bfloat16).cpu()
            row_file.write(found.view(torch.int16).numpy().tobytes())
            length_file.write(np.array([len(window) for window in group], np.uint16).tobytes())
            row_file.flush()
            length_file.flush()
            kept = Kept(
                kept.key,
                found.shape[1],
                kept.windows + len(group),
                kept.tokens + len(found),
            )
            with new_file(folder / "kept.json") as draft:
                draft.write_text(json.dumps(asdict(kept)))
            yield kept


class KeptWindows:
    """Kept activations, read as Windows are. seed: of the order of their blocks."""

    def __init__(self, folder: Path, kept: Kept, seed: int):
        self.passes = 0
        self._seed = seed
        lengths = np.fromfile(folder / "lengths.u2", np.uint16, kept.windows)
        self._starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self._rows = np.memmap(
            folder / "activations.bf16", np.int16, "r", shape=(kept.tokens, kept.width)
        )

    def read(self, skip: int = 0) -> Iterator[list[torch.Tensor]]:
        """As Windows; the order of a pass does not depend on where one begins."""
        count = len(self._starts) - 1
        number, left = divmod(skip, count)
        while True:
            order = np.random.default_rng([self._seed, number])
            for block in order.permutation(-(-count // GROUP)):
                places = range(block * GROUP, min(count, (block + 1) * GROUP))
                if left >= len(places):
                    left -= len(places)
                    continue
                yield self._windows(places[left:])
                left = 0
            number += 1
            self.passes += 1

    def _windows(self, places: range) -> list[torch.Tensor]:
        start, end = self._starts[places.start], self._starts[places.stop]
        rows = torch.from_numpy(np.array(self._rows[start:end])).view(torch.bfloat16)
        lengths = np.diff(self._starts[places.start : places.stop + 1])
        return list(rows.split(lengths.tolist()))
