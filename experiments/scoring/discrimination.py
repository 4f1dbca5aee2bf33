"""Between features: does the explanation know its feature from its neighbours, and from any other?

Excerpts of the `score` split in which exactly one of two features fires, the feature f or a rival r:
OWN ones around peaks of f, spread over its range, of which for each rival those count in which r does
not fire; and THEIRS around peaks of r in which f does not fire. Each feature fires by its own
threshold. g: the simulator's grade of an excerpt.

| score | formula | rivals |
|---|---|---|
| discrimination | P(g_own > g_theirs) + ½ P(g_own = g_theirs) over the pairs | the RIVALS nearest features |
| discrimination_random | the same | RIVALS other features at random |

After arXiv 2605.12874, which asks whether an explanation picks out its own feature. Near: by the
cosine of activations on the `explain` split (see `sae.neighbours`). Chance is ½, which is also what an
explanation gets that says the same of all. Intervals resample rivals. Grades need an order and no
unit. Excerpts that could not be graded are failed items.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np

from ...sae.evidence import Evidence, SplitEvidence
from ...sae.neighbours import neighbourhood_of
from .bench import UNMEASURED, Item, Marks, Target, reaches, scorer
from .excerpts import Excerpt, at_peak, evenly, firing, lots_of, others
from .score import Score, of_units, ratio
from .simulator import Simulator

NAMES = ("discrimination", "discrimination_random")
RIVALS, OWN, THEIRS = 8, 12, 3
#: Windows of a rival that are tried for such in which the feature does not fire.
TRIED = 40
NO_PAIR = "no held-out text has one of the two firing without the other"


@scorer(
    "discrimination",
    NAMES,
    default=False,
    blind=dict.fromkeys(NAMES, UNMEASURED),
    version=2,
)
async def discrimination(target: Target, simulator: Simulator) -> Marks:
    """Both scores of this module's table; each excerpt as an item."""
    if reason := target.silent:
        return Marks({name: Score.undefined(reason) for name in NAMES})
    drawn = draw(target.source.evidence, target.feature, target.seed, target.held_out)
    excerpts = [*drawn.own, *(one for rival in drawn.rivals for one in rival.theirs)]
    order = evenly([place < len(drawn.own) for place in range(len(excerpts))], target.seed)
    grades = np.empty(len(excerpts))
    grades[order] = await simulator.grade([excerpts[place].context for place in order])
    own, theirs = grades[: len(drawn.own)], _by_rival(drawn, grades)
    scores, failed, items = {}, {}, [*_items(target, NAMES[0], "own", drawn.own, own)]
    for name in NAMES:
        rivals = [*zip(drawn.rivals, theirs, strict=True)]
        rivals = [(rival, found) for rival, found in rivals if rival.of == name]
        scores[name], failed[name] = _score(name, own, rivals, target.seed)
        for rival, found in rivals:
            items += _items(target, name, f"feature {rival.feature}", rival.theirs, found)
    return Marks(scores, {"items": tuple(items), "failed": failed})


@dataclass(frozen=True, eq=False)
class Rival:
    """Another feature. of: the score that it counts in. without: bool [own], where it is silent."""

    of: str
    feature: int
    without: np.ndarray
    theirs: tuple[Excerpt, ...]


@dataclass(frozen=True, eq=False)
class Drawn:
    """The excerpts of one feature and of its rivals."""

    own: tuple[Excerpt, ...]
    rivals: tuple[Rival, ...]


@lru_cache(maxsize=16)
def draw(
    evidence: Evidence, feature: int, seed: int, held_out: SplitEvidence | None = None
) -> Drawn:
    """What simulators are asked, which is the same for all of them.

    held_out: the `score` split with the feature's activations as they are to count (see `panel`).
    """
    reader = evidence.reader("scorer")
    explain, split = reader.split("explain"), reader.split("score")
    threshold = explain.stats(feature).fires_at
    own = tuple(firing(held_out or split, feature, threshold, OWN, seed))
    measured = (held_out or split).activations(feature)
    lot = lots_of(split.tokens, seed)

    def rival(of: str, other: int) -> Rival:
        fires_at, values = explain.stats(other).fires_at, split.activations(other)
        without = [not reaches(one.peak(values), fires_at) for one in own]
        windows = np.flatnonzero(reaches(split.peaks(other), fires_at))
        tried = windows[np.argsort(lot[windows], kind="stable")][:TRIED]
        cuts = (at_peak(split, other, int(window)) for window in tried)
        quiet = (one for one in cuts if not reaches(one.peak(measured), threshold))
        return Rival(of, other, np.array(without, bool), tuple(islice(quiet, THEIRS)))

    near = neighbourhood_of(evidence)
    nearest = near.nearest(feature, RIVALS) if near is not None else ()
    anyone = others(evidence, feature, RIVALS, seed)
    kinds = zip(NAMES, (nearest, anyone), strict=True)
    return Drawn(own, tuple(rival(name, one) for name, found in kinds for one in found))


def _by_rival(drawn: Drawn, grades: np.ndarray) -> list[np.ndarray]:
    sizes = [len(drawn.own), *(len(rival.theirs) for rival in drawn.rivals)]
    return np.split(grades, np.cumsum(sizes))[1:-1]


def _score(
    name: str, own: np.ndarray, rivals: Sequence[tuple[Rival, np.ndarray]], seed: int
) -> tuple[Score, float]:
    """A score, and the share of its excerpts that failed."""
    if not rivals:
        near = name == "discrimination"
        return Score.undefined(f"there is no {'neighbour' if near else 'other feature'}"), 0.0
    rows = [_wins(own[rival.without], theirs) for rival, theirs in rivals]
    units = np.array([row for row in rows if row[1]], np.float64).reshape(-1, 2)
    grades = np.concatenate([own, *(theirs for _, theirs in rivals)])
    failed = int(np.isnan(grades).sum())
    score = of_units(units, ratio, seed, undefined=NO_PAIR if not failed else "nothing was graded")
    return score.model_copy(update={"failed": failed}), failed / max(1, len(grades))


def _wins(own: np.ndarray, theirs: np.ndarray) -> tuple[float, int]:
    """(pairs that the own excerpt wins, ties as halves; all pairs), of those that were graded."""
    own, theirs = own[~np.isnan(own)], theirs[~np.isnan(theirs)]
    above = np.sign(own[:, None] - theirs[None, :])
    return float(((above + 1) / 2).sum()), above.size


def _items(
    target: Target, name: str, kind: str, excerpts: Iterable[Excerpt], grades: np.ndarray
) -> Iterator[Item]:
    for one, grade in zip(excerpts, grades.tolist(), strict=True):
        failed = bool(np.isnan(grade))
        yield Item(
            scorer=name,
            text=one.text,
            kind=kind,
            maximum=one.peak(target.measured),
            grade=None if failed else grade,
            error="it was not graded" if failed else None,
        )
