"""The output side: does the explanation foresee what the feature makes the model say?

Two scorers, for sources that have outputs (`sae.outputs`); without, their scores are undefined.
P: the PROMOTED tokens that the feature promotes most through the unembedding. U: the FOREIGN ones
that each of OTHERS other features promotes most, without those in P. A token is *foreseen* when the
simulator's resemblance of the token alone is at least FORESEEN: for a rule, when it fires on the
token itself. Steering adds STRENGTH typical maxima of the feature after PROMPTS openings of windows
of the `score` split; the random direction has the same norm.

| score | formula | over |
|---|---|---|
| logit_coverage | foreseen share of P − foreseen share of U | tokens |
| steering_choice | Σ credit / draws; credit 1 / k where the feature's own set is among the k that \
the explanation fits best, of three, else 0 | draws |
| steering_effect | Δ(feature) − Δ(random), Δ: mean shift of log-probability of the foreseen \
tokens of P and U less that of the others of them (nats) | prompts |
| steering_ratio | Σ KL(feature) / Σ KL(random), KL(steered ‖ unsteered) | prompts |
| faithfulness | max(c − c₀, 0) / (1 − c₀), c and c₀: foreseen share of the likeliest next tokens \
with and without steering | prompts |

- logit_coverage: DAFI (2026) scores logit coverage less a penalty. Its formula was not at hand: this
  is ours, in which foreseeing everything is worth as much as foreseeing nothing, 0.
- steering_choice: Gur-Arieh et al. 2025, "Enhancing Automated Interpretability with Output-Centric
  Feature Descriptions". There a judge picks among three sets of texts that the steered model wrote,
  of the feature and of two others; here the sets are the RISES tokens whose probability rises most,
  and each is graded alone. Chance is 1/3. Each draw has two other features of its own.
- steering_effect, steering_ratio: after SAEScientist-Bench's control, the direction drawn at random.
  The ratio is the feature's, whatever the explanation: it tells what there is to foresee.
- faithfulness: FADE (Puri et al. 2025) rates texts written under several factors and takes the best;
  here there is one factor, and one next token a text, of which the few likeliest count alike.

An explanation of the input side is scored in the same way: whether it does foresee outputs is what
these scores ask. `details.more` says of each score which side the explanation speaks of. Tokens and
sets that a simulator failed on are failed items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...sae.errors import CannotAnswer, SAEError
from ...sae.outputs import Outputs, Promoted, Steering, TokenWeight, outputs_of
from .bench import UNMEASURED, Blind, Item, Marks, Target, scorer
from .excerpts import evenly, lots_of, others
from .score import Score, of_units, ratio, share
from .simulator import Simulator

LOGITS = ("logit_coverage",)
NAMES = ("steering_choice", "steering_effect", "steering_ratio", "faithfulness")
PROMOTED, FOREIGN, OTHERS = 10, 3, 16
FORESEEN = 0.5
STRENGTH, PROMPTS, RISES = 4.0, 8, 10
#: Tokens of a prompt at most.
OPENING = 6

NOTHING_FORESEEN = "the explanation foresees none of the tokens, or all of them"
NO_ANSWER = "the simulator answered for none of the tokens"


@scorer("logits", LOGITS, default=False, blind={"logit_coverage": UNMEASURED}, version=2)
async def logits(target: Target, simulator: Simulator) -> Marks:
    """The first score of this module's table; each token as an item."""
    seen = await Seen.of(target)
    if not seen.foreign:
        raise CannotAnswer("no other feature fires whose tokens could be told from this one's")
    foreseen = await seen.foreseen_by(simulator)
    own = np.arange(len(foreseen)) < len(seen.own)
    known = ~np.isnan(foreseen)
    hits = foreseen >= FORESEEN
    rows = np.stack([hits & own, own, hits & ~own, ~own], axis=1).astype(np.float64)
    score = of_units(rows[known], _difference, target.seed, undefined=NO_ANSWER)
    failed = int((~known).sum())
    items = (
        _token_item(one, bool(mine), float(grade))
        for one, mine, grade in zip(seen.tokens, own, foreseen, strict=True)
    )
    behind = {
        "side": simulator.side,
        "foreseen": _mean(hits[known & own]),
        "penalty": _mean(hits[known & ~own]),
    }
    return Marks(
        {"logit_coverage": score.model_copy(update={"failed": failed})},
        {
            "items": tuple(items),
            "failed": {"logit_coverage": failed / len(known)},
            "more": {"logit_coverage": behind},
        },
    )


#: The ratio is the feature's, whatever is said of it.
BLIND: dict[str, tuple[Blind, ...]] = {
    **dict.fromkeys(NAMES, UNMEASURED),
    "steering_ratio": ("extra", "missing"),
}


@scorer("steering", NAMES, default=False, blind=BLIND, version=2)
async def steering(target: Target, simulator: Simulator) -> Marks:
    """The other scores of this module's table; each draw of the choice as an item."""
    if reason := target.silent:
        return Marks({name: Score.undefined(reason) for name in NAMES})
    seen = await Seen.of(target)
    found = await seen.steered(target.feature, [one.id for one in seen.tokens])
    foreseen = await seen.foreseen_by(simulator)
    choice, items = await _choice(seen, found, simulator)
    failed = int(np.isnan(foreseen).sum())
    scores = {
        "steering_choice": choice,
        "steering_effect": _effect(found, foreseen, target.seed),
        "steering_ratio": _ratio(found, target.seed),
        "faithfulness": await _faithfulness(found, simulator, target.seed),
    }
    more: dict[str, dict[str, str | float]] = {name: {"side": simulator.side} for name in NAMES}
    more["steering_ratio"] |= {"kl": found.kl, "control_kl": found.control_kl}
    return Marks(
        scores,
        {
            "items": items,
            "failed": {
                "steering_choice": choice.failed / max(1, len(items)),
                "steering_effect": failed / max(1, len(foreseen)),
            },
            "more": more,
        },
    )


@dataclass(frozen=True, eq=False)
class Seen:
    """What there is to foresee of a feature: its own promoted tokens, and foreign ones."""

    target: Target
    outputs: Outputs
    rivals: tuple[int, ...]
    own: tuple[TokenWeight, ...]
    foreign: tuple[TokenWeight, ...]

    @classmethod
    async def of(cls, target: Target) -> Seen:
        """Read off the weights. Raises CannotAnswer for a source that cannot say."""
        try:
            outputs = outputs_of(target.source)
            rivals = others(target.source.evidence, target.feature, OTHERS, target.seed)
            own = (await outputs.promoted(target.feature, PROMOTED)).promoted
            told = [await outputs.promoted(rival, FOREIGN) for rival in rivals]
        except SAEError as error:
            raise CannotAnswer(str(error)) from error
        return cls(target, outputs, rivals, own, _foreign(own, told))

    @property
    def tokens(self) -> tuple[TokenWeight, ...]:
        """Its own, then the foreign ones."""
        return (*self.own, *self.foreign)

    async def foreseen_by(self, simulator: Simulator) -> np.ndarray:
        """float64 [tokens]: each token's resemblance to the explanation, NaN where that failed."""
        tokens = self.tokens
        order = evenly([place < len(self.own) for place in range(len(tokens))], self.target.seed)
        found = np.empty(len(tokens))
        found[order] = await foreseen(simulator, [tokens[place].token for place in order])
        return found

    async def steered(self, feature: int, watched: Sequence[int] = ()) -> Steering:
        """A feature steered on this bench's prompts. Raises CannotAnswer where it cannot be."""
        how = {"strength": STRENGTH, "n": RISES, "seed": self.target.seed}
        try:
            return await self.outputs.steered(feature, self._prompts, **how, watched=watched)
        except SAEError as error:
            raise CannotAnswer(str(error)) from error

    @cached_property
    def _prompts(self) -> list[str]:
        """How some windows of the `score` split begin; the same for every feature."""
        table = self.target.held_out.tokens
        order = np.argsort(lots_of(table, self.target.seed), kind="stable")
        openings = ("".join(table.window(int(window))[:OPENING]) for window in order)
        filled = dict.fromkeys(text for text in openings if text.strip())
        return list(filled)[:PROMPTS]


async def foreseen(simulator: Simulator, tokens: Sequence[str]) -> np.ndarray:
    """float64 [n]: the resemblance of each token alone, NaN where that failed.

    Raises CannotAnswer for a simulator whose resemblances have no unit.
    """
    if simulator.fires_from is None:
        raise CannotAnswer("this simulator ranks tokens, and cannot say which are foreseen")
    found = await simulator.resemblance([[token] for token in tokens])
    return np.asarray(found, np.float64)


def _foreign(own: Sequence[TokenWeight], told: Sequence[Promoted]) -> tuple[TokenWeight, ...]:
    mine = {one.id for one in own}
    theirs = {one.id: one for listed in told for one in listed.promoted}
    return tuple(one for id, one in theirs.items() if id not in mine)


def _token_item(one: TokenWeight, own: bool, grade: float) -> Item:
    kind = "promoted" if own else "of another feature"
    if np.isnan(grade):
        return Item(scorer="logit_coverage", text=one.token, kind=kind, error="it was not graded")
    passed = (grade >= FORESEEN) == own
    return Item(scorer="logit_coverage", text=one.token, kind=kind, grade=grade, passed=passed)


def _difference(totals: np.ndarray) -> np.ndarray:
    """From (hits, own, foreign hits, foreign): [..., 4] → [...]; undefined without one of both."""
    return ratio(totals[..., :2]) - ratio(totals[..., 2:])


# -------------------------------------------------------------------- three-way choice


async def _choice(
    seen: Seen, found: Steering, simulator: Simulator
) -> tuple[Score, tuple[Item, ...]]:
    """The share of draws in which the feature's own tokens fit best; each draw as an item."""
    if len(seen.rivals) < 2:
        return Score.undefined("there are no two other features that fire, to choose among"), ()
    rivals = [await seen.steered(rival) for rival in seen.rivals]
    sets = [[one.token for one in steered.rises] for steered in (found, *rivals)]
    own, *theirs = np.asarray(await simulator.resemblance(sets), np.float64).tolist()
    credits, items = [], []
    for draw in range(len(theirs) // 2):
        pair = theirs[2 * draw : 2 * draw + 2]
        names = seen.rivals[2 * draw : 2 * draw + 2]
        credit = credit_of(own, pair)
        items.append(_draw_item(sets[0], own, credit, names))
        if credit is not None:
            credits.append(credit)
    failed = len(items) - len(credits)
    nothing = "the simulator answered for no draw"
    if set(credits) <= {0.0, 1.0}:
        passed = [credit == 1 for credit in credits]
        return share(passed, seen.target.seed, undefined=nothing, failed=failed), tuple(items)
    rows = np.array([[credit, 1.0] for credit in credits])
    chance = set(credits) == {1 / 3}
    reason = "the explanation fits all sets alike: this is chance" if chance else None
    score = of_units(rows, ratio, seen.target.seed, undefined=nothing, reason=reason)
    return score.model_copy(update={"failed": failed}), tuple(items)


def credit_of(own: float, theirs: Sequence[float]) -> float | None:
    """What a choice earns: 1 / k where `own` is among the k highest; None where one is NaN."""
    if np.isnan([own, *theirs]).any():
        return None
    if own < max(theirs):
        return 0.0
    return 1 / (1 + sum(one == own for one in theirs))


def _draw_item(
    tokens: Sequence[str], own: float, credit: float | None, names: Sequence[int]
) -> Item:
    kind = f"against {names[0]} and {names[1]}"
    text = " | ".join(tokens)
    if credit is None:
        return Item(scorer="steering_choice", text=text, kind=kind, error="it was not graded")
    return Item(scorer="steering_choice", text=text, kind=kind, grade=own, passed=credit == 1)


# -------------------------------------------------------------------- effects


def _effect(found: Steering, foreseen: np.ndarray, seed: int) -> Score:
    """How much more the foreseen tokens rise than the others, less the same at random."""
    known = ~np.isnan(foreseen)
    failed, n = int((~known).sum()), len(found.by_prompt)
    if not known.any():
        return Score.undefined(NO_ANSWER, failed)
    hits = known & (foreseen >= FORESEEN)
    rest = known & ~hits
    if not hits.any() or not rest.any():
        return Score(value=0.0, n=n, failed=failed, reason=NOTHING_FORESEEN)
    moved = np.array([np.subtract(one.shifts, one.controls) for one in found.by_prompt])
    effects = moved[:, hits].mean(axis=1) - moved[:, rest].mean(axis=1)
    rows = np.stack([effects, np.ones(n)], axis=1)
    score = of_units(rows, ratio, seed, undefined="there is no prompt")
    return score.model_copy(update={"failed": failed})


def _ratio(found: Steering, seed: int) -> Score:
    rows = np.array([[one.kl, one.control_kl] for one in found.by_prompt], np.float64)
    undefined = "the random direction moves nothing"
    return of_units(rows.reshape(-1, 2), ratio, seed, undefined=undefined)


async def _faithfulness(found: Steering, simulator: Simulator, seed: int) -> Score:
    """How much of what is left to gain steering makes of the foreseen share of next tokens."""
    lists = [side for one in found.by_prompt for side in (one.after, one.before)]
    tokens = list(dict.fromkeys(token for side in lists for token in side))
    grades = dict(zip(tokens, await foreseen(simulator, tokens), strict=True))
    rows = []
    for side in lists:
        known = [grades[token] for token in side if not np.isnan(grades[token])]
        rows.append([sum(grade >= FORESEEN for grade in known), len(known)])
    failed = sum(bool(np.isnan(grade)) for grade in grades.values())
    units = np.array(rows, np.float64).reshape(-1, 4)
    undefined = "the likeliest next tokens are all foreseen without any steering"
    score = of_units(units, _gained, seed, undefined=undefined)
    return score.model_copy(update={"failed": failed})


def _gained(totals: np.ndarray) -> np.ndarray:
    """From (foreseen, tokens) with steering and without: [..., 4] → [...]."""
    after, before = ratio(totals[..., :2]), ratio(totals[..., 2:])
    left = 1 - before
    gain = np.maximum(after - before, 0) / np.where(left > 0, left, 1.0)
    return np.where(left > 0, gain, np.nan)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
