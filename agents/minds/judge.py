"""The judge: checks on a sample what no sketch can express.

A topic or a meaning has no list of words to run over the corpus. So another call is shown windows
without their activations, the hypothesis, and nothing else, and grades how strongly each should fire;
code compares. The sample is new in every round.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from ...sae.evidence import FIRES_AT, Exemplar
from ...sae.visible import visible
from ..notebook import Notebook
from . import exhibits
from .sketch import Form

#: Windows in a sample: from each band of activation, silent with a favourite word, and any silent.
IN_BAND, NEAR_MISSES, SILENT = 3, 5, 5
#: Tokens shown of each window.
SHOWN = 32
#: Grades are tenths of the typical maximum; from this one on the judge says that it fires.
FIRES_FROM = 10 * FIRES_AT


class Grade(Form):
    """What one window should reach."""

    window: int
    expected: float = Field(ge=0, le=10, description="0 silent, 10 a typical peak")


class Grades(Form):
    """The grades of all windows."""

    grades: tuple[Grade, ...]


@dataclass(frozen=True)
class Judgement:
    """How a hypothesis did on a sample.

    fired, silent: (right, graded) of the windows that fire and of those that do not. wrong: of each
    window that was graded wrongly the grade, the true peak in tenths, and an excerpt.
    """

    fired: tuple[int, int]
    silent: tuple[int, int]
    wrong: tuple[tuple[float, float, str], ...]


def sample(notebook: Notebook) -> list[Exemplar]:
    """Stretches of windows of the `explain` split, over the range of activation, in random order.

    All are cut alike, SHOWN tokens with what they were drawn for (the peak of a firing window, a
    favourite word of a near miss, any token of a silent one) at a random place in them. So neither
    their length nor their shape says whether they fire.
    """
    split, feature = notebook.split, notebook.feature
    seed = [notebook.seed, feature, notebook.round]
    draw = np.random.default_rng(seed)
    share = split.peaks(feature) / (notebook.stats.typical_max or 1.0)
    anchors: dict[int, int] = {}
    for low, high in exhibits.BANDS.values():
        for window in draw.permutation(np.flatnonzero((share > low) & (share <= high)))[:IN_BAND]:
            anchors[int(window)] = split.exemplar(feature, int(window)).peak
    number = int(draw.integers(1 << 30))
    for one in split.near_misses(feature, NEAR_MISSES, number):
        anchors.setdefault(one.window, exhibits.favourite_in(one, notebook))
    for one in split.silent(feature, SILENT, number):
        anchors.setdefault(one.window, int(draw.integers(max(1, len(one.tokens)))))
    windows = list(anchors)
    order = [windows[place] for place in draw.permutation(len(windows))]
    return [_cut(split.exemplar(feature, one), anchors[one], draw) for one in order]


def _cut(window: Exemplar, anchor: int, draw: np.random.Generator) -> Exemplar:
    """SHOWN tokens of a window, the anchor at a random place among them."""
    first = anchor - int(draw.integers(SHOWN))
    first = max(0, min(first, len(window.tokens) - SHOWN))
    values = window.activations[first : first + SHOWN]
    peak = int(values.argmax()) if len(values) else 0
    return Exemplar(window.window, window.tokens[first : first + SHOWN], values, peak)


def plain(windows: Sequence[Exemplar]) -> list[str]:
    """The stretches as the judge sees them: without activations, as JSON strings."""
    return [json.dumps(visible("".join(one.tokens)), ensure_ascii=False) for one in windows]


def compared(grades: Grades, windows: Sequence[Exemplar], notebook: Notebook) -> Judgement:
    """Grades beside what was measured. Windows that were not graded count for nothing."""
    unit = notebook.stats.typical_max or 1.0
    by_number = {grade.window: grade.expected for grade in grades.grades}
    counts = {True: [0, 0], False: [0, 0]}
    wrong = []
    for number, one in enumerate(windows):
        if number not in by_number:
            continue
        peak = 10 * float(one.activations.max(initial=0.0)) / unit
        fires, said = peak >= FIRES_FROM, by_number[number] >= FIRES_FROM
        counts[fires][0] += fires == said
        counts[fires][1] += 1
        if fires != said:
            wrong.append((by_number[number], peak, exhibits.of_exemplar(one, unit)))
    return Judgement(tuple(counts[True]), tuple(counts[False]), tuple(wrong))  # pyright: ignore[reportArgumentType]
