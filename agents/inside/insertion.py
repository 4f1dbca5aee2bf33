"""Absence rules: distractors that draw a query's attention away, found in weights, tried by insertion.

For a query q of a skip-gram rule, a distractor is a key with S < 0 that q looks at more than at any
key of the rule (Friedman et al. 2025, section 3). Its effect is measured: it is put one and three times
between key and query of texts that fire, and so is a neutral token, one that neither adds to the
feature nor is looked at. Only a distractor that takes away more than the neutral token does, by DROP,
becomes part of the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...sae.evidence import SplitEvidence
from ...sae.inside.attention import Attention, HeadInputs, Values
from ...sae.source import FeatureSource
from ...sae.visible import visible
from ..loop import ProbeDesign
from ..records import Outcome
from ..rules.language import Rule
from ..rules.sample import matcher_of
from .skip_grams import Chosen, keys_of, queries_of, unless

#: Inputs with S < 0 that may be distractors: those with the lowest S; and how many are tried.
CANDIDATES, MOST = 200, 3
#: Frequent inputs among which the neutral one is looked for.
FREQUENT = 100
#: Texts that distractors are put into, copies in each, and tokens of them.
TEXTS, COPIES, LONGEST = 3, (1, 3), 40
#: How much more of the activation a distractor must take than the neutral token, as a share.
DROP = 0.3


@dataclass(frozen=True)
class Distractor:
    """A token that queries look at instead of the rule's keys.

    queries: which. value: its S. share: of their attention, the highest.
    """

    token: str
    queries: tuple[str, ...]
    value: float
    share: float


@dataclass(frozen=True)
class Base:
    """A text that fires: its tokens up to the query, and the place of its key (None: no key)."""

    tokens: tuple[str, ...]
    key: int | None

    @property
    def text(self) -> str:
        """As a string."""
        return "".join(self.tokens)

    def with_inserted(self, token: str, copies: int, draw: np.random.Generator) -> Base:
        """A token put in so often, somewhere between key and query."""
        tokens = list(self.tokens)
        first = 0 if self.key is None else self.key + 1
        for _ in range(copies):
            tokens.insert(int(draw.integers(first, len(tokens))), token)
        return replace(self, tokens=tuple(tokens))

    def without(self, keys: Sequence[str], token: str) -> Base:
        """Every key replaced by a token."""
        before = [token if one in keys else one for one in self.tokens[:-1]]
        return replace(self, tokens=(*before, self.tokens[-1]))


@dataclass(frozen=True)
class Trial:
    """One text of an insertion. kind: "original", "key taken out", "distractor", "neutral"."""

    kind: str
    base: int
    tokens: tuple[str, ...]
    copies: int = 0
    inserted: str = ""

    def design(self, hypothesis: int, query: str) -> ProbeDesign:
        """The prediction: it fires where key and query are there and no distractor is."""
        fires = self.kind in ("original", "neutral")
        purpose = (
            f"{self.copies} × {self.inserted.strip() or self.inserted!r} put in"
            if self.copies
            else self.kind
        )
        text = "".join(self.tokens)
        return ProbeDesign(hypothesis, purpose, text, fires, query if fires else None)


@dataclass(frozen=True)
class Effect:
    """What putting a distractor in did: mean activations at the query, in the feature's own units.

    without: of the texts as they are. by_copies: of so many copies (distractor's, neutral token's).
    """

    distractor: Distractor
    neutral: str
    without: float
    by_copies: dict[int, tuple[float, float]]

    @property
    def verified(self) -> bool:
        """Whether the most copies take away more than the same number of neutral tokens, by DROP."""
        if not self.by_copies or self.without <= 0:
            return False
        own, neutral = self.by_copies[max(self.by_copies)]
        return (neutral - own) / self.without >= DROP

    def __str__(self) -> str:
        name = f"Distractor “{visible(self.distractor.token.strip() or self.distractor.token)}”"
        if not self.by_copies:
            return f"{name} could not be tried: no text takes it in as a token of its own."
        changes = " and ".join(
            f"{copies} × to {own:.3g} (the neutral “{visible(self.neutral.strip())}”: {control:.3g})"
            for copies, (own, control) in self.by_copies.items()
        )
        word = "verified" if self.verified else "not verified, so left out of the rule"
        return (
            f"{name}, {word}: put before the query it takes "
            f"the activation from {self.without:.3g} {changes}."
        )


async def distractors(
    attention: Attention, inputs: HeadInputs, values: Values, chosen: Chosen
) -> list[Distractor]:
    """Inputs that the rule's queries look at more than at any of its keys, and that speak against it.

    The paper takes the best query and the first such key; here all queries of the rule are asked, and
    those come first that take most away, by share × −S.
    """
    queries = list(dict.fromkeys(p.query for p in chosen.pairs if p.query is not None))
    if not queries:
        return []
    order = np.argsort(values.inputs, kind="stable")[:CANDIDATES]
    against = [int(i) for i in order if values.inputs[i] < 0 and inputs.tokens[i]]
    own = await attention.reach(list({pair.key for pair in chosen.pairs}), chosen.window)
    other = await attention.reach(against, chosen.window)
    strongest = own.shares[:, queries].max(0)
    found = []
    for row, key in enumerate(against):
        outranks = other.shares[row, queries] >= strongest
        if outranks.any():
            names = tuple(
                inputs.tokens[q] for q, more in zip(queries, outranks, strict=True) if more
            )
            share = float(other.shares[row, queries][outranks].max())
            found.append(Distractor(inputs.tokens[key], names, float(values.inputs[key]), share))
    return sorted(found, key=lambda one: one.share * one.value)[:MOST]


async def neutral_token(
    attention: Attention, inputs: HeadInputs, values: Values, chosen: Chosen
) -> str | None:
    """A frequent token that neither adds to the feature nor is looked at by the rule's queries.

    None where every token is a key of the rule.
    """
    keys = {pair.key for pair in chosen.pairs}
    taken = keys | {pair.query for pair in chosen.pairs}
    taken = taken if len(taken - {None}) < len(inputs.tokens) else keys
    words = [i for i, token in enumerate(inputs.tokens) if _is_word(token) and i not in taken]
    words = words or [i for i, t in enumerate(inputs.tokens) if t.strip() and i not in taken]
    frequent = sorted(words, key=lambda i: -inputs.frequency[i])[:FREQUENT]
    queries = [pair.query for pair in chosen.pairs if pair.query is not None] or frequent
    if not frequent:
        return None
    reach = await attention.reach(frequent, chosen.window)
    added = np.abs(values.inputs[frequent])
    scale = float(np.abs(values.inputs).max()) or 1.0
    return inputs.tokens[frequent[int(np.argmin(reach.shares[:, queries].max(1) + added / scale))]]


def bases(
    rule: Rule,
    split: SplitEvidence,
    feature: int,
    avoid: Sequence[str],
    room: int | None = None,
) -> list[Base]:
    """The strongest texts of the split that fire where the rule says so, each of another window.

    avoid: tokens that must not stand in them. room: tokens that a text may have once all are put in.
    """
    longest = LONGEST if room is None else min(LONGEST, room - max(COPIES))
    tokens, values = split.tokens, split.activations(feature)
    floor = split.stats(feature).fires_at
    found: dict[int, Base] = {}
    for clause in rule.clauses:
        held = np.flatnonzero(matcher_of(split).clause(clause) & (values >= floor))
        for place in held[np.argsort(-values[held], kind="stable")][: 4 * TEXTS]:
            window = int(tokens.window_of[place])
            start = int(tokens.starts[window])
            row = [tokens.vocab[i] for i in tokens.ids[start : place + 1]]
            keys = [at for at, token in enumerate(row[:-1]) if token in keys_of(clause)]
            key = keys[-1] if keys else None
            first = max(0, min(len(row) - 8, len(row) if key is None else key - 2))
            if len(row) - first > longest or window in found or set(row[first:]) & set(avoid):
                continue
            found[window] = Base(tuple(row[first:]), None if key is None else key - first)
        if len(found) >= TEXTS:
            break
    return list(found.values())[:TEXTS]


def trials(
    texts: Sequence[Base],
    keys: Sequence[str],
    against: Sequence[Distractor],
    neutral: str,
    source: FeatureSource,
    seed: int,
) -> list[Trial]:
    """All texts to run; those that would be cut into other tokens are left out."""
    found: list[Trial] = []
    for number, base in enumerate(texts):
        found.append(Trial("original", number, base.tokens))
        if base.key is not None:
            found.append(Trial("key taken out", number, base.without(keys, neutral).tokens))
        for kind, inserted in [
            *(("distractor", one.token) for one in against if base.tokens[-1] in one.queries),
            *([("neutral", neutral)] if against else []),
        ]:
            for copies in COPIES:
                draw = np.random.default_rng([seed, number, copies])  # the same places for both
                made = base.with_inserted(inserted, copies, draw)
                found.append(Trial(kind, number, made.tokens, copies, inserted))
    cut = source.tokenize(["".join(trial.tokens) for trial in found])
    kept = [trial for trial, tokens in zip(found, cut, strict=True) if tokens == trial.tokens]
    return list({trial.tokens: trial for trial in kept}.values())


def effects(
    run: Sequence[tuple[Trial, Outcome]], against: Sequence[Distractor], neutral: str
) -> list[Effect]:
    """What each distractor did, over the texts that it and the neutral token were both put into."""
    last = {(t.kind, t.base, t.copies, t.inserted): o.activations[-1] for t, o in run}
    found = []
    for one in against:
        by_copies: dict[int, tuple[float, float]] = {}
        without: list[float] = []
        for copies in COPIES:
            texts = [
                base
                for kind, base, times, inserted in last
                if (kind, times, inserted) == ("distractor", copies, one.token)
                and ("neutral", base, copies, neutral) in last
                and ("original", base, 0, "") in last
            ]
            if texts:
                own = np.mean([last["distractor", base, copies, one.token] for base in texts])
                other = np.mean([last["neutral", base, copies, neutral] for base in texts])
                by_copies[copies] = float(own), float(other)
                without = [last["original", base, 0, ""] for base in texts]
        mean = float(np.mean(without)) if without else 0.0
        found.append(Effect(one, neutral, mean, by_copies))
    return found


def with_absence(rule: Rule, found: Sequence[Effect]) -> Rule:
    """The rule with “unless k' stands before” for each distractor that was verified."""
    clauses = []
    for clause in rule.clauses:
        names = [
            one.distractor.token
            for one in found
            if one.verified and set(queries_of(clause)) & set(one.distractor.queries)
        ]
        is_pair = bool(keys_of(clause))
        clauses.append(unless(clause, names) if names and is_pair else clause)
    return rule.model_copy(update={"clauses": tuple(clauses)})


def _is_word(token: str) -> bool:
    return token.startswith(" ") and token.strip().isalpha() and token == token.lower()
