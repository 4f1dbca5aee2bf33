"""Counting rules “more x than y”: heads that look at everything alike, read off by a firing grid.

Where queries look at tokens x with S > 0 and tokens y with S < 0 about equally, what the feature gets
is a count of the one against a count of the other. Friedman et al. 2025 found such rules by hand.
Here the candidates come from weights (`candidate`), a guess of the difference from the `explain`
split, and the answer from a grid of texts of one length, with so many of each among neutral tokens.

The rule language has no differences. #x − #y ≥ n is said as “x at least n + j times and y at most j
times” for j = 0 … MOST − 1, which is the same up to MOST − 1 of y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...sae.inside.attention import Attention, HeadInputs, Values
from ...sae.visible import visible
from ..loop import ProbeDesign
from ..rules.language import Clause, Match, Near, Rule
from ..rules.match import predict
from .skip_grams import Judged

#: The grid has 0 … MOST of each.
MOST = 4
CELLS = (MOST + 1) ** 2
#: A token counts where its |S| is at least this share of the strongest on its side; so many at most.
SHARE, NAMES = 0.5, 8
#: Queries that shares are looked at from; they may differ by this factor at most between x and y, and
#: between the keenest query and the middle one.
QUERIES, ALIKE = 100, 4.0
#: The longest grid text, in tokens.
LONGEST = 40
#: How many more cells a difference must explain than a plain count of x does.
BETTER = 2


@dataclass(frozen=True)
class Counting:
    """Tokens that count for and against: #plus − #minus ≥ least, in texts of `length` tokens."""

    plus: tuple[str, ...]
    minus: tuple[str, ...]
    length: int
    least: int = 1

    def __str__(self) -> str:
        plus, minus = (
            " or ".join(f"“{visible(token.strip() or token)}”" for token in names)
            for names in (self.plus, self.minus)
        )
        return f"at least {self.least} more of {plus} than of {minus} in the text so far"


@dataclass(frozen=True)
class Grid:
    """Which cells fire: bool [MOST + 1, MOST + 1], by number of plus, then of minus.

    known: which cells were measured.
    """

    fires: np.ndarray
    known: np.ndarray

    def wrong(self, least: int) -> int:
        """How many cells are not as #plus − #minus ≥ least says."""
        more = np.subtract.outer(np.arange(MOST + 1), np.arange(MOST + 1))
        return int(np.count_nonzero((self.fires != (more >= least)) & self.known))

    @property
    def least(self) -> int:
        """The difference that explains most cells."""
        return min(range(1, MOST + 1), key=self.wrong)

    @property
    def is_difference(self) -> bool:
        """Whether at most one cell is wrong, and a plain count of plus would be wrong in more."""
        counts = [
            int(np.count_nonzero((self.fires != (np.arange(MOST + 1) >= n)[:, None]) & self.known))
            for n in range(1, MOST + 2)
        ]
        wrong = self.wrong(self.least)
        return bool(self.known.all()) and wrong <= 1 and wrong + BETTER <= min(counts)


async def candidate(
    attention: Attention, inputs: HeadInputs, values: Values, judged: Judged
) -> Counting | None:
    """Tokens for and against that queries look at alike; None where there are none."""
    named = np.array([bool(token.strip()) for token in inputs.tokens])
    strength = np.where(named, values.inputs, 0.0)
    sides = []
    for sign in (1.0, -1.0):
        signed = sign * strength
        top = np.argsort(-signed, kind="stable")[:NAMES]
        sides.append([int(i) for i in top if signed[i] > max(0.0, SHARE * float(signed.max()))])
    plus, minus = sides
    if not plus or not minus or -strength[minus].mean() < SHARE * strength[plus].mean():
        return None
    frequent = np.argsort(-inputs.frequency, kind="stable")[:QUERIES]
    reach = await attention.reach([*plus, *minus])
    shares = reach.shares[:, frequent]
    middle = np.median(shares, axis=1)
    ratio = middle[: len(plus)].mean() / max(1e-9, middle[len(plus) :].mean())
    keen = (reach.shares.max(1) / np.maximum(middle, 1e-9)).max()
    if not 1 / ALIKE <= ratio <= ALIKE or keen > ALIKE**2:
        return None
    length = int(np.clip(round(inputs.length), 2 * MOST + 2, LONGEST))
    names = [tuple(inputs.tokens[i] for i in side) for side in sides]
    guesses = [Counting(names[0], names[1], length, least) for least in range(1, MOST + 1)]
    return max(guesses, key=lambda one: judged.fit(rule_of(one)).f1)


def rule_of(counting: Counting) -> Rule:
    """The counting rule in the rule language (see the module)."""
    return Rule(clauses=tuple(clauses_of(counting, 1.0)))


def clauses_of(counting: Counting, level: float) -> list[Clause]:
    """#plus − #minus ≥ least, up to MOST − 1 of minus, as clauses."""
    plus = Match(kind="token", values=counting.plus)
    minus = Match(kind="token", values=counting.minus)
    found = []
    for j in range(MOST):
        many = Near(match=plus, first=None, last=0, at_least=counting.least + j)
        few = Near(match=minus, first=None, last=0, at_least=j + 1, negated=True)
        found.append(Clause(conditions=(many, few), level=level, label=str(counting)))
    return found


def grid_texts(
    counting: Counting, inputs: HeadInputs, values: Values, seed: int
) -> dict[tuple[int, int], tuple[str, ...]]:
    """The tokens of a text for each cell: so many of each, shuffled among neutral ones."""
    draw = np.random.default_rng(seed)
    taken = {*counting.plus, *counting.minus}
    words = [i for i, token in enumerate(inputs.tokens) if token.strip() and token not in taken]
    frequent = sorted(words, key=lambda i: -inputs.frequency[i])[:QUERIES]
    calm = sorted(frequent, key=lambda i: abs(float(values.inputs[i])))[
        : max(4, len(frequent) // 4)
    ]
    neutral = [inputs.tokens[i] for i in calm]
    found = {}
    for plus in range(MOST + 1):
        for minus in range(MOST + 1):
            row = [
                *(str(draw.choice(list(counting.plus))) for _ in range(plus)),
                *(str(draw.choice(list(counting.minus))) for _ in range(minus)),
            ]
            row += [str(draw.choice(neutral)) for _ in range(counting.length - 1 - len(row))]
            shuffled = [row[i] for i in draw.permutation(len(row))]
            found[plus, minus] = (*shuffled, str(draw.choice(neutral)))
    return found


def designs(
    texts: dict[tuple[int, int], tuple[str, ...]], counting: Counting, hypothesis: int
) -> list[ProbeDesign]:
    """The prediction for each cell: it fires if the rule holds anywhere in the text."""
    said = predict(rule_of(counting), list(texts.values()))
    return [
        ProbeDesign(hypothesis, f"{plus} for, {minus} against", "".join(tokens), bool(says.any()))
        for ((plus, minus), tokens), says in zip(texts.items(), said, strict=True)
    ]


def grid_of(last: dict[tuple[int, int], bool]) -> Grid:
    """The grid from whether each measured cell fires."""
    fires = np.zeros((MOST + 1, MOST + 1), bool)
    known = np.zeros((MOST + 1, MOST + 1), bool)
    for (plus, minus), fired in last.items():
        fires[plus, minus], known[plus, minus] = fired, True
    return Grid(fires, known)
