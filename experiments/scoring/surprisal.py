"""Surprisal: does the explanation make the subject model itself expect the texts it fires on?

Excerpts of the `score` split are read by the subject model after the explanation, and after a neutral
description (`prompts/scoring/described.j2`). ℓ: its mean loss over the tokens of an excerpt (nats);
gain g = ℓ(neutral) − ℓ(explanation). FIRING excerpts are cut around the peaks of windows that fire,
spread over their range; in SILENT random ones the feature is nowhere above zero.

| score | formula |
|---|---|
| surprisal | AUC of g, firing against silent: P(g⁺ > g⁻) + ½ P(g⁺ = g⁻) |
| surprisal_gain | mean g over the firing − mean g over the silent ones (nats per token) |

Delphi (Paulo et al. 2024), whose neutral description is "various unrelated sentences" too. Delphi
leaves out the first token of each text, which here is read after the description like the others; it
keeps a loss for each token, of which here the mean is taken. Another feature's explanation, a
control of every run, says what any description gains.

For explanations that have words, on sources that have losses (`sae.outputs.Losses`). Intervals
resample documents.
"""

from __future__ import annotations

import numpy as np

from ...prompts.render import render
from ...sae.errors import CannotAnswer, SAEError
from ...sae.outputs import losses_of
from .bench import UNMEASURED, Item, Marks, Target, scorer
from .excerpts import Excerpt, firing, silent
from .metrics import auc, sums_of
from .score import Score, of_units, ratio
from .simulator import Simulator

NAMES = ("surprisal", "surprisal_gain")
FIRING, SILENT = 10, 10
#: Tokens of an excerpt; each is read twice.
LENGTH = 16
NEUTRAL = "various unrelated sentences"


@scorer("surprisal", NAMES, default=False, blind=dict.fromkeys(NAMES, UNMEASURED), version=2)
async def surprisal(target: Target, simulator: Simulator) -> Marks:
    """Both scores of this module's table; each excerpt as an item, its gain as the grade."""
    if not simulator.words:
        raise CannotAnswer("there are no words to put before a text")
    if reason := target.silent:
        return Marks({name: Score.undefined(reason) for name in NAMES})
    excerpts, fires = drawn(target)
    gains = await _gains(target, simulator.words, [one.text for one in excerpts])
    documents = np.array([one.document for one in excerpts])
    columns = np.stack([gains * fires, fires, gains * ~fires, ~fires], axis=1)
    rows = sums_of(columns.astype(np.float64), documents)
    undefined = "it needs excerpts that fire and excerpts that are silent"
    scores = {
        "surprisal": auc(gains, fires, documents, target.seed),
        "surprisal_gain": of_units(rows, _difference, target.seed, undefined=undefined),
    }
    items = (
        _item(target, *row) for row in zip(excerpts, fires.tolist(), gains.tolist(), strict=True)
    )
    more = {name: {"side": simulator.side} for name in NAMES}
    return Marks(scores, {"items": tuple(items), "more": more})


def drawn(target: Target) -> tuple[list[Excerpt], np.ndarray]:
    """The excerpts, and which of them fire (bool [n])."""
    split, feature, seed = target.held_out, target.feature, target.seed
    active = [*firing(split, feature, target.stats.fires_at, FIRING, seed, LENGTH)]
    quiet = [*silent(split, feature, SILENT, seed, LENGTH)]
    return [*active, *quiet], np.arange(len(active) + len(quiet)) < len(active)


def described(words: str) -> str:
    """What stands before a text."""
    return render("scoring/described.j2", words=words) + "\n"


async def _gains(target: Target, words: str, texts: list[str]) -> np.ndarray:
    try:
        losses = losses_of(target.source)
    except SAEError as error:
        raise CannotAnswer(str(error)) from error
    neutral = await losses.losses(described(NEUTRAL), texts)
    return neutral - await losses.losses(described(words), texts)


def _difference(totals: np.ndarray) -> np.ndarray:
    """From (gain, firing, gain, silent): [..., 4] → [...]."""
    return ratio(totals[..., :2]) - ratio(totals[..., 2:])


def _item(target: Target, excerpt: Excerpt, fires: bool, gain: float) -> Item:
    return Item(
        scorer="surprisal",
        text=excerpt.text,
        kind="firing" if fires else "silent",
        maximum=excerpt.peak(target.measured),
        grade=gain,
    )
