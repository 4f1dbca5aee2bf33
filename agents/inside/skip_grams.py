"""Skip-gram rules “k … q → feature”, mined from the weights of one attention head.

Pairs are ranked by what the weights say a key adds to the feature's pre-activation where a query
looks for it: (the share of its attention that q gives k) × S(k), see `sae.inside.attention`. How many
pairs make the rule, and how far before the query the key may stand, is chosen on the `select` split
by F1 on tokens at their natural rate; Friedman et al. 2025 (section 4) show curves over 4 to 4096
rules instead. Levels are fitted on the `explain` split, and clauses that earn nothing there are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...sae.evidence import SplitEvidence
from ...sae.inside.attention import Attention, HeadInputs, Values
from ..rules.fitting import prune, refit
from ..rules.language import MAX_VALUES, Clause, Condition, Match, Near, Rule, current
from ..rules.match import Matcher
from ..rules.sample import Sample, matcher_of

#: Keys with the highest S that pairs are made of, and queries of each: as in the paper.
KEYS, QUERIES = 100, 100
#: How many pairs a rule may have: those that are tried.
COUNTS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
#: How far before the query a key may stand, in tokens; None is anywhere.
WINDOWS: tuple[int | None, ...] = (None, 8, 1)
#: Clauses of a rule, before those are left out that earn nothing.
LONGEST = 24
#: A split that fires on fewer tokens chooses nothing.
FEWEST = 3


@dataclass(frozen=True)
class Pair:
    """A key and a query of the head's inputs, by their places; query None: the key attends to itself.

    worth: what it adds to the pre-activation, share × value. offset: where the key is looked for most, 0
    where it is looked for alike.
    """

    key: int
    query: int | None
    worth: float
    share: float
    value: float
    offset: int = 0


@dataclass(frozen=True)
class Fit:
    """F1, precision and recall on the tokens of a split, of “it fires” at the feature's threshold."""

    f1: float
    precision: float
    recall: float

    @classmethod
    def of(cls, says: np.ndarray, fires: np.ndarray) -> Fit:
        """Of two masks of tokens, bool [n]."""
        hits = float(np.count_nonzero(says & fires))
        said, true = np.count_nonzero(says), np.count_nonzero(fires)
        precision, recall = hits / said if said else 0.0, hits / true if true else 0.0
        return cls(2 * hits / (said + true) if said + true else 0.0, precision, recall)

    def __str__(self) -> str:
        return f"F1 {self.f1:.2f} (precision {self.precision:.2f}, recall {self.recall:.2f})"


@dataclass(frozen=True)
class Judged:
    """A split with what counts as firing on it, to choose among rules.

    split: `select`, or `explain` where that hardly fires. fires: bool [n].
    """

    split: SplitEvidence
    fires: np.ndarray

    @classmethod
    def on(cls, splits: Sequence[SplitEvidence], feature: int, fires_at: float) -> Judged:
        """The first of the splits with enough firing tokens, else the last."""
        judged = [cls(one, one.activations(feature) >= max(fires_at, 1e-12)) for one in splits]
        enough = (one for one in judged if np.count_nonzero(one.fires) >= FEWEST)
        return next(enough, judged[-1])

    @property
    def matcher(self) -> Matcher:
        """Answers what rules ask of the split."""
        return matcher_of(self.split)

    def fit(self, rule: Rule) -> Fit:
        """How well “one of its clauses holds” says where the feature fires."""
        says = np.zeros(len(self.fires), bool)
        for clause in rule.clauses:
            says |= self.matcher.clause(clause)
        return Fit.of(says, self.fires)


@dataclass(frozen=True)
class Chosen:
    """The pairs that were chosen, and the rule that they make.

    window: how far before the query a key may stand. fit: on the split that chose. tried: how many
    pairs there were to choose from.
    """

    pairs: tuple[Pair, ...] = ()
    window: int | None = None
    fit: Fit = field(default_factory=lambda: Fit(0.0, 0.0, 0.0))
    tried: int = 0


async def ranked(
    attention: Attention, inputs: HeadInputs, values: Values, window: int | None
) -> list[Pair]:
    """The pairs that add most to the feature, the best first."""
    named = [i for i, token in enumerate(inputs.tokens) if token]
    best = sorted(named, key=lambda i: -values.inputs[i])[:KEYS]
    keys = [key for key in best if values.inputs[key] > 0]
    reach = await attention.reach(keys, window)
    found: list[Pair] = []
    for row, key in enumerate(keys):
        value = float(values.inputs[key])
        for query in np.argsort(-reach.shares[row], kind="stable")[:QUERIES]:
            if inputs.tokens[query]:
                share, offset = float(reach.shares[row, query]), int(reach.best[row, query])
                found.append(Pair(key, int(query), share * value, share, value, offset))
        share = float(values.itself[key])
        found.append(Pair(key, None, share * value, share, value))
    return sorted(found, key=lambda pair: -pair.worth)[: COUNTS[-1]]


async def choose(
    attention: Attention, inputs: HeadInputs, values: Values, judged: Judged
) -> Chosen:
    """The window and the number of pairs with the best F1; of equals the fewest pairs."""
    best = Chosen()
    for window in WINDOWS:
        pairs = await ranked(attention, inputs, values, window)
        masks = (judged.matcher.clause(clause_of([p], inputs, window)) for p in pairs)
        for count, says in _growing(masks, len(judged.fires)):
            fit = Fit.of(says, judged.fires)
            if fit.f1 > best.fit.f1:
                best = Chosen(tuple(pairs[:count]), window, fit, len(pairs))
    return best


def unigram(inputs: HeadInputs, values: Values, judged: Judged) -> Fit:
    """The best F1 of rules of keys alone, “k → feature”: the paper's baseline, by S without A.

    A key may have to be the current token, or to stand anywhere up to it: whichever does better.
    """
    named = [i for i, token in enumerate(inputs.tokens) if token and values.inputs[i] > 0]
    keys = sorted(named, key=lambda i: -values.inputs[i])[: COUNTS[-1]]
    best = Fit(0.0, 0.0, 0.0)
    for first in (0, None):
        nears = (Near(match=_tokens([inputs.tokens[key]]), first=first, last=0) for key in keys)
        masks = (judged.matcher.condition(near) for near in nears)
        for _, says in _growing(masks, len(judged.fires)):
            best = max(best, Fit.of(says, judged.fires), key=lambda fit: fit.f1)
    return best


def clauses_of(chosen: Chosen, inputs: HeadInputs, level: float) -> list[Clause]:
    """Pairs as clauses: keys with the same queries share one, in the order of their worth."""
    queries: dict[int, list[int | None]] = {}
    for pair in chosen.pairs:
        queries.setdefault(pair.key, []).append(pair.query)
    alone = [key for key, wanted in queries.items() if None in wanted]
    keys: dict[frozenset[int], list[int]] = {}
    for key, wanted in queries.items():
        others = frozenset(query for query in wanted if query is not None)
        if others:
            keys.setdefault(others, []).append(key)
    found = [
        Clause(conditions=(near,), level=level)
        for near in (Near(match=match) for match in _matches(alone, inputs))
    ]
    for wanted, sharing in keys.items():
        for match in _matches(sharing, inputs):
            for query in _matches(sorted(wanted), inputs):
                conditions = (Near(match=query), _before(match, chosen.window))
                found.append(Clause(conditions=conditions, level=level))
    return found


def clause_of(pairs: Sequence[Pair], inputs: HeadInputs, window: int | None) -> Clause:
    """One pair as a clause."""
    return clauses_of(Chosen(tuple(pairs), window), inputs, 1.0)[0]


def fitted(clauses: Sequence[Clause], sample: Sample) -> Rule:
    """The rule of these clauses with levels as the `explain` split has them."""
    return Rule(clauses=tuple(refit(sample, clauses)), unit=sample.unit)


def pruned(clauses: Sequence[Clause], sample: Sample) -> Rule:
    """The same without clauses that do not earn there what their conditions cost, as for the miner.

    Only the LONGEST with the most activation are looked at. Where none earns it, that with the most
    stays, so that it can be read and scored.
    """
    mass = [float(sample.weighted_squares[sample.clause(clause)].sum()) for clause in clauses]
    order = sorted(range(len(clauses)), key=lambda at: -mass[at])[:LONGEST]
    rule = fitted([clauses[at] for at in order], sample)
    kept = prune(sample, rule.clauses) or rule.clauses[:1]
    return rule.model_copy(update={"clauses": tuple(kept)})


def stated(chosen: Chosen, rule: Rule, inputs: HeadInputs) -> Chosen:
    """The chosen pairs that a rule still says."""

    def is_said(pair: Pair) -> bool:
        key = inputs.tokens[pair.key]
        if pair.query is None:
            return any(not keys_of(one) and key in queries_of(one) for one in rule.clauses)
        query = inputs.tokens[pair.query]
        return any(key in keys_of(one) and query in queries_of(one) for one in rule.clauses)

    return replace(chosen, pairs=tuple(pair for pair in chosen.pairs if is_said(pair)))


def unless(clause: Clause, distractors: Sequence[str]) -> Clause:
    """The clause with “and none of these earlier in the text”."""
    absent: Condition = _before(_tokens(distractors), None).model_copy(update={"negated": True})
    return clause.model_copy(update={"conditions": (*clause.conditions, absent)})


def queries_of(clause: Clause) -> tuple[str, ...]:
    """The tokens that a clause wants as the current one."""
    here = [c for c in clause.conditions if isinstance(c, Near) and c.is_current]
    return here[0].match.values if here else ()


def keys_of(clause: Clause) -> tuple[str, ...]:
    """The tokens that a clause wants before the current one; none where it speaks of that alone."""
    before = [c for c in clause.conditions if isinstance(c, Near) and not c.is_current]
    return next((near.match.values for near in before if not near.negated), ())


def _before(match: Match, window: int | None) -> Near:
    return Near(match=match, first=None if window is None else -window, last=-1)


def _matches(places: Iterable[int], inputs: HeadInputs) -> list[Match]:
    names = list(dict.fromkeys(inputs.tokens[place] for place in places))
    return [_tokens(names[at : at + MAX_VALUES]) for at in range(0, len(names), MAX_VALUES)]


def _tokens(names: Sequence[str]) -> Match:
    return current("token", *names).match


def _growing(masks: Iterable[np.ndarray], n: int) -> Iterable[tuple[int, np.ndarray]]:
    """After each of COUNTS masks, where any of them is set."""
    says = np.zeros(n, bool)
    for count, mask in enumerate(masks, 1):
        says |= mask
        if count in COUNTS:
            yield count, says
