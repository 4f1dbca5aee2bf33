"""Which features: lists as users type them, and draws that nobody's hand is in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..sae.errors import FeatureError
from ..sae.evidence import Evidence
from ..sae.source import check_feature

#: A drawn feature has fired on at least this many tokens of the `explain` split.
FIRED_AT_LEAST = 50

_ITEM = re.compile(r"(\d{1,18})(?:\s*-\s*(\d{1,18}))?", re.ASCII)


@dataclass(frozen=True)
class FeatureList:
    """Features as they were asked for: ranges, so that a long list costs nothing before it is
    checked."""

    ranges: tuple[range, ...]

    @classmethod
    def parse(cls, text: str) -> FeatureList:
        """Read "0-99,120". Raises ValueError, with a sentence, for what is no such list."""
        return cls(tuple(_range(item.strip(), text) for item in text.split(",")))

    @classmethod
    def of(cls, features: int | Iterable[int | range]) -> FeatureList:
        """A list from Python: one index, a range, or a sequence of indices and ranges."""
        if isinstance(features, range):
            return cls((features,))
        items = features if isinstance(features, Iterable) else [features]
        return cls(tuple(_as_range(item) for item in items))

    def __str__(self) -> str:
        return ",".join(
            str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in self.ranges
        )

    def check(self, n_features: int) -> list[int]:
        """The indices, each once, in the order given.

        Raises FeatureError for one that a source with `n_features` does not have.
        """
        for part in self.ranges:
            for end in (part[0], part[-1]) if part else ():
                check_feature(end, n_features)
        return list(dict.fromkeys(feature for part in self.ranges for feature in part))


def _range(item: str, text: str) -> range:
    found = _ITEM.fullmatch(item)
    if not found:
        shown = f"{item!r} in {text!r}" if item != text else repr(text)
        raise ValueError(f"{shown} is no list of features: write it like 0-99,120.")
    first = int(found[1])
    last = first if found[2] is None else int(found[2])
    if last < first:
        raise ValueError(f"The range {item} runs backwards: write {last}-{first}.")
    return range(first, last + 1)


def _as_range(item: Any) -> range:
    if isinstance(item, range):
        return item
    if isinstance(item, bool) or not isinstance(item, int | np.integer):
        raise FeatureError(f"{item!r} is no feature: give indices (whole numbers) or ranges.")
    return range(int(item), int(item) + 1)


def draw_each(evidence: Evidence, n: int, seeds: Sequence[int]) -> list[int]:
    """The features that `draw` gives with each of the seeds together; in order of index."""
    return sorted({feature for seed in seeds for feature in draw(evidence, n, seed)})


def draw(evidence: Evidence, n: int, seed: int) -> list[int]:
    """n features, as many of each stratum, from those that fired often enough; in order of index.

    All are shuffled by the seed, and the first of each stratum are taken; where a stratum has too
    few, the other fills up. Raises FeatureError where both together have too few.
    """
    table = evidence.reader("explainer").table("explain")
    shuffled = np.random.default_rng(seed).permutation(np.sort(table.index.to_numpy()))
    able = table.loc[shuffled]
    able = able[able["fired"] >= FIRED_AT_LEAST]
    place = able.groupby("stratum").cumcount()
    # The first ones of each stratum by turns; sorting keeps the shuffled order among equals.
    drawn = able.index[place.argsort(kind="stable")][:n].tolist()
    if len(drawn) < n:
        raise FeatureError(
            f"Only {len(drawn)} features fired {FIRED_AT_LEAST} times or more on the explain "
            f"split: draw fewer, or collect evidence from more tokens."
        )
    return sorted(drawn)
