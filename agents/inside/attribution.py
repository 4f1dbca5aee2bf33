"""The explainer `attribution`: the tokens that made a feature fire in its exemplars, as a rule.

Exemplars of the `explain` split are spread over the range of the feature's activation. In each, what
the strongest token and the tokens before it add to the feature is measured inside the model
(`sagescope.sae.inside.attribution`). Tokens that fire it by themselves become triggers; a trigger
that needs what stands before it gets that as a condition; a context that comes with many triggers
speaks for itself. The levels are fitted on the split, and clauses that do not earn their length go.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...sae.errors import BudgetExhausted, TextError
from ...sae.evidence import Exemplar
from ...sae.inside.attribution import Attribution, Attributions, Method, attributions_of
from ...sae.source import FeatureSource
from ...sae.visible import visible
from ..loop import Proposal
from ..notebook import Notebook
from ..records import Conclusion, quoted
from ..rules.fitting import cost, prune, refit
from ..rules.language import MAX_VALUES, Clause, Condition, Match, Near, Rule, current
from ..rules.render import describe
from ..rules.sample import Sample
from ..task import Task
from .answer import begun, nothing_found, stated, status_of

NOTHING = "no token found responsible"
#: Exemplars looked into, and how many tokens of each are read, the strongest last.
EXEMPLARS, REACH = 24, 32
#: A cut text must keep this share of the activation; else all of it is read.
KEEPS = 0.5
#: A token made the feature fire without which it would lose this share of its activation. That is no
#: share of all that is added: where two tokens are needed, one may add much less than the other.
RESPONSIBLE = 0.3
#: Tokens that a trigger may need before it are tried up to so many together.
WORDS = 3
#: A context speaks for itself that is responsible for so many different triggers.
TRIGGERS = 3
#: Clauses tried before those go that do not earn their length.
CLAUSES = 12


@dataclass(frozen=True)
class Responsible:
    """The tokens that made a feature fire in one exemplar. context: (string, offset) of each but the
    trigger, offsets below 0. alone: whether the trigger itself is responsible."""

    trigger: str
    alone: bool
    context: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class ByAttribution:
    """Explains features of sources that have attributions. method: how tokens are attributed to."""

    method: Method = "occlusion"
    exemplars: int = EXEMPLARS

    def check(self, source: FeatureSource) -> None:
        """Raise SAEError for a source of which it cannot say anything."""
        attributions_of(source).check()

    async def explain(self, task: Task) -> Conclusion:
        """See Explainer. Raises SAEError for a source that has no attributions."""
        attributions = attributions_of(task.source)
        loop = begun(task)
        notebook = loop.notebook
        shown = notebook.split.spread(task.feature, self.exemplars, task.seed)
        found, rows, cut = await self._responsible(shown, attributions, task)
        status = status_of(cut)
        if not found:
            why = (
                "It never fires on the corpus." if not shown else "No exemplar could be run again."
            )
            return loop.conclusion(nothing_found(NOTHING, why, notebook), status)
        rule = await asyncio.to_thread(mined, found, notebook)
        notes = [
            _counted(found, self.method),
            f"Each exemplar counts as one probe; {rows} rows of tokens ran in the model to measure them.",
        ]
        if cut:
            notes.append(f"The budget ended after {len(found)} of {len(shown)} exemplars.")
        elif lost := len(shown) - len(found):
            notes.append(
                f"{lost} of {len(shown)} exemplars were left out: run by themselves they are too long, "
                f"or do not fire."
            )
        if not rule.clauses:
            why = "No token that made it fire does so often enough to foresee where it fires."
            return loop.conclusion(nothing_found(NOTHING, why, notebook, notes), status)
        [one] = loop.add([Proposal("attribution", describe(rule), rule)])
        loop.judge()
        explanation = stated(rule, notebook, hypothesis=one.id, notes=notes)
        return loop.conclusion(explanation, status)

    async def _responsible(
        self, shown: Sequence[Exemplar], attributions: Attributions, task: Task
    ) -> tuple[list[Responsible], int, bool]:
        """What was responsible in each exemplar; rows run; whether the budget ended before the last."""
        found, rows = [], 0
        for one in shown:
            try:
                task.spending.spend("probes")
            except BudgetExhausted:
                return found, rows, True
            try:
                values, run = await self._attributed(one, attributions, task.feature)
            except TextError:
                continue  # cut otherwise than in the corpus: the others tell
            rows += run
            if values.value > 0:
                found.append(responsible(values))
        return found, rows, False

    async def _attributed(
        self, one: Exemplar, attributions: Attributions, feature: int
    ) -> tuple[Attribution, int]:
        """Of the last REACH tokens up to the strongest, or of all, where these alone do not fire it.

        And how many rows of tokens were run.
        """
        asked = (feature, one.tokens, one.peak, self.method)
        values = await attributions.attributed(*asked, REACH)
        if values.activation >= KEEPS * float(one.activations[one.peak]):
            return values, values.rows
        whole = await attributions.attributed(*asked)
        return whole, values.rows + whole.rows


def responsible(values: Attribution) -> Responsible:
    """The tokens that add RESPONSIBLE or more of the activation that there is in the end."""
    shares = values.values / max(values.value, 1e-9)
    last = len(shares) - 1
    context = tuple(
        (values.tokens[place], int(place) - last)
        for place in np.flatnonzero(shares[:-1] >= RESPONSIBLE)
        if values.tokens[place].strip()
    )
    return Responsible(values.tokens[-1], bool(shares[-1] >= RESPONSIBLE), context)


def mined(found: Sequence[Responsible], notebook: Notebook) -> Rule:
    """The rule that exemplars give: its clauses as they stand, its levels fitted on the split."""
    sample = Sample(notebook.split, notebook.feature)
    clauses = [*_by_trigger(found, sample), *_by_context(found)][:CLAUSES]
    fitted = prune(sample, refit(sample, clauses))
    kept = [clause for clause in fitted if clause.level > 0]
    return Rule(clauses=tuple(kept), unit=notebook.stats.typical_max)


def _by_trigger(found: Sequence[Responsible], sample: Sample) -> list[Clause]:
    """Triggers that fire alone, in sets; then each that needs a context, the commonest first.

    Whether one needs what was responsible before it, its cost on the split decides.
    """
    of: dict[str, list[Responsible]] = defaultdict(list)
    for one in found:
        if one.alone:
            of[one.trigger].append(one)
    plain: list[str] = []
    clauses = []
    for trigger, some in sorted(of.items(), key=lambda pair: -len(pair[1])):
        alone = current("token", trigger)
        options = [_clause(alone), *(_clause(alone, near) for near in _contexts(some))]
        best = min(options, key=lambda clause: _cost(clause, sample)) if options[1:] else options[0]
        if best is options[0]:
            plain.append(trigger)
        else:
            clauses.append(best)
    sets = [plain[first : first + MAX_VALUES] for first in range(0, len(plain), MAX_VALUES)]
    return [*(_clause(current("token", *some)) for some in sets), *clauses]


def _contexts(some: Sequence[Responsible]) -> list[Near]:
    """What may have to stand before a trigger: the commonest responsible token, the two commonest …"""
    words: dict[str, int] = defaultdict(int)
    offsets: dict[str, list[int]] = defaultdict(list)
    for one in some:
        for token in dict.fromkeys(token for token, _ in one.context):
            words[token] += 1
        for token, offset in one.context:
            offsets[token].append(offset)
    order = sorted(words, key=lambda token: -words[token])[:WORDS]
    chosen = [order[: n + 1] for n in range(len(order))]
    near = [_before(some, [o for token in some for o in offsets[token]]) for some in chosen]
    # Exemplars are few: it may stand further away than in any of them.
    return [*near, *(one.model_copy(update={"first": None, "last": -1}) for one in near)]


def _cost(clause: Clause, sample: Sample) -> float:
    return cost(sample, Rule(clauses=tuple(refit(sample, [clause]))))


def _by_context(found: Sequence[Responsible]) -> list[Clause]:
    """Tokens that are responsible before many different triggers: they stand for any token after."""
    triggers: dict[str, set[str]] = defaultdict(set)
    offsets: dict[str, list[int]] = defaultdict(list)
    for one in found:
        for token, offset in one.context:
            triggers[token].add(one.trigger)
            offsets[token].append(offset)
    common = [token for token, some in triggers.items() if len(some) >= TRIGGERS]
    common.sort(key=lambda token: -len(triggers[token]))
    return [_clause(_before([token], offsets[token])) for token in common]


def _before(values: Sequence[str], offsets: Sequence[int]) -> Near:
    return Near(
        match=Match(kind="token", values=tuple(values)), first=min(offsets), last=max(offsets)
    )


def _clause(*conditions: Condition) -> Clause:
    return Clause(conditions=conditions, level=0.5)


def _counted(found: Sequence[Responsible], method: Method) -> str:
    alone = sum(one.alone for one in found)
    with_context = sum(bool(one.context) for one in found)
    words: dict[str, int] = defaultdict(int)
    for one in found:
        for token, _ in one.context:
            words[visible(token).strip()] += 1
    often = sorted(words, key=lambda word: -words[word])[:5]
    told = f" (most often {quoted(often)})" if often else ""
    return (
        f"By {method}: in {alone} of {len(found)} exemplars the token that fires is responsible, in "
        f"{with_context} a token before it{told}."
    )
