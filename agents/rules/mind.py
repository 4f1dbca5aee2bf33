"""The rule miner as a mind: it thinks by search, needs no language model, and is deterministic."""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from ...sae.evidence import FIRES_AT
from ..groups import coverage, groups_of
from ..loop import ProbeDesign, Proposal
from ..notebook import POSITION_TESTS, Notebook
from ..records import Explanation, Hypothesis
from .drafts import Draft, fitted, room_of
from .fitting import cost
from .language import Clause, Rule
from .match import predict
from .mine import Language, Miner
from .render import describe, label
from .sample import Sample, matcher_of
from .simplify import simplified
from .write import distance_drafts, firing_drafts, near_miss_drafts, variant_drafts

#: What each kind of first hypothesis may speak of. Where two fit equally well, the earlier leads.
KINDS: dict[str, Language] = {
    "words and shapes": Language(windows=(), positions=False),
    "in context": Language(),
    "exact tokens": Language(current=("token",), windows=(), positions=False),
}
#: The most probes of each sort for one live hypothesis in one round.
MOST = {"should fire": 8, "near miss": 8, "variant": 4, "distance": 4}
#: A leader that is still open has had enough probes with so many on each side.
SETTLED = 16
#: Drafts made for each probe taken, to choose those that tell hypotheses apart.
CHOICE = 3
#: A clause whose firing probes agree less often than this is dropped before mining goes on.
CLAUSE_HOLDS = 0.34
#: The most labels of an explanation: of the groups with the most activation.
LABELS = 3
#: So many texts in which a rule foresees firing are enough to judge it by.
ENOUGH = 4
#: A rule that leaves no more than this share of the energy open is worth polishing.
NEARLY = 0.3
#: A narrower rule is proposed where it costs no more than this share of the others. On features of
#: real SAEs there is nearly always one that costs a little less; it takes rounds and gains nothing.
NARROWER = 0.6
#: A position effect is reported from this ratio of bare to embedded activation on.
POSITION_EFFECT = 0.5


class RuleMind:
    """Proposes what it mines, tests it at its boundaries, and mines its mistakes again."""

    name = "rules"

    async def propose(self, notebook: Notebook) -> list[Proposal]:
        """One mined rule of each kind in KINDS, and a narrower one; what came out alike counts once."""
        return await _off_the_loop(self._propose, notebook)

    def _propose(self, notebook: Notebook) -> list[Proposal]:
        sample = Sample(notebook.split, notebook.feature)
        miner = Miner(sample)
        found: dict[tuple[Clause, ...], Proposal] = {}
        for kind, language in KINDS.items():
            rule = miner.within(language).mine()
            if rule.clauses:
                found.setdefault(rule.clauses, Proposal(kind, describe(rule), rule))
        rules = [proposal.rule for proposal in found.values() if proposal.rule]
        narrow = _narrower(notebook, rules)
        if narrow:
            found.setdefault(narrow.clauses, Proposal("narrower", describe(narrow), narrow))
        return list(found.values())

    async def design(self, notebook: Notebook) -> list[ProbeDesign]:
        """For each live hypothesis: texts that should fire, near misses, variants.

        The hypotheses share half of what is left of the budget. Of several drafts, those are taken
        first on which the live hypotheses disagree. A near miss comes with the text it was made
        from, as its pair.
        """
        live = {h.id: h.rule for h in notebook.live() if h.rule}
        rules = {n: rule for n, rule in live.items() if _possible(rule, notebook)} or live
        return _designs(rules, notebook)

    async def settle(self, notebook: Notebook) -> list[ProbeDesign]:
        """Texts of both sides for the leader, until SETTLED of each have run or the word is fixed."""
        leader = _leader(notebook)
        if leader is None or leader.rule is None:
            return []
        verdict = notebook.verdict(leader)
        run = [of for _, of in (verdict.fires_as_predicted, verdict.silent_as_predicted)]
        if verdict.status in ("confirmed", "refuted") or min(run) >= SETTLED:
            return []
        if notebook.spending.left("probes") < SETTLED:
            return []
        return _designs({leader.id: leader.rule}, notebook)

    async def refine(self, notebook: Notebook) -> list[Proposal]:
        """Mine what the leader gets wrong on the corpus and on the probes.

        Clauses whose probes did not fire are dropped first. Where that gives nothing new, a narrower
        rule is looked for. No proposal when there is none either.
        """
        return await _off_the_loop(self._refine, notebook)

    def _refine(self, notebook: Notebook) -> list[Proposal]:
        leader = _leader(notebook)
        if leader is None or leader.rule is None:
            return []
        sample = Sample(notebook.split, notebook.feature, notebook.measured())
        miner = Miner(sample)
        given = _standing(leader, notebook)
        rule = miner.mine(given=given)
        if cost(sample, rule) <= NEARLY * sample.weighted_energy:
            fresh = [miner.mine()] if given and _misses(leader.rule, notebook) else []
            polished = (simplified(one, sample) for one in (rule, *fresh))
            rule = min(polished, key=lambda one: cost(sample, one))
        kind = "refined"
        known = {_conditions(h.rule) for h in notebook.hypotheses if h.rule}
        if _conditions(rule) in known or cost(sample, rule) >= cost(sample, leader.rule):
            kind, rule = "narrower", _narrower(notebook, [leader.rule])
        if rule is None or _conditions(rule) in known:
            return []
        return [Proposal(f"{kind}: {leader.kind}", describe(rule), rule, parent=leader.id)]

    async def conclude(self, notebook: Notebook) -> Explanation:
        """The hypothesis that fits corpus and probes best for its length."""
        leader = _leader(notebook)
        if leader is None or leader.rule is None:
            silent = "It never fires on the corpus." if not notebook.stats.fired else ""
            return Explanation(
                labels=("no rule found",),
                description=silent or describe(Rule()),
                rule=Rule(unit=notebook.stats.typical_max),
                coverage=0.0,
            )
        rule = leader.rule
        groups = groups_of(rule, notebook)
        return Explanation(
            labels=tuple(group.label for group in groups[:LABELS]),
            description=describe(rule),
            rule=rule,
            coverage=coverage(rule, notebook),
            groups=groups,
            notes=tuple(_notes(notebook)),
            hypothesis=leader.id,
        )


def _designs(rules: dict[int, Rule], notebook: Notebook) -> list[ProbeDesign]:
    """Probes of some hypotheses, of texts that have not run; a near miss after its original."""
    room = _room(notebook, len(rules))
    seen = {probe.text for probe in notebook.probes}
    designs: list[ProbeDesign] = []
    for number, rule in rules.items():
        place_of: dict[str, int] = {}
        drafts = _drafts(rule, notebook)
        for draft, fires in _chosen(drafts, seen, number, rules, room, notebook):
            seen.add(draft.text)
            place_of[draft.text] = len(designs)
            original = draft.original.text if draft.original else None
            designs.append(
                ProbeDesign(
                    hypothesis=number,
                    purpose=draft.edit or "should fire",
                    text=draft.text,
                    fires=fires,
                    token=draft.trigger if fires else None,
                    pair=place_of.get(original) if original else None,
                    group=label(rule.clauses[draft.clause]),
                )
            )
    return designs


def _narrower(notebook: Notebook, rules: Sequence[Rule]) -> Rule | None:
    """A rule mined with the weight on silent text where the given ones fire; None where it is no better.

    Such text is a small part of the corpus, so that hardly any loss tells whether a word fires
    always, or only after another. Proposed beside the others, the narrower rule lets probes tell.
    """
    doubtful = _false_alarms(notebook, rules)
    if not doubtful.any():
        return None
    sample = Sample(notebook.split, notebook.feature, notebook.measured(), doubtful)
    rule = Miner(sample).mine()
    usual = min(cost(sample, one) for one in rules)
    return rule if rule.clauses and cost(sample, rule) <= NARROWER * usual else None


def _false_alarms(notebook: Notebook, rules: Sequence[Rule]) -> np.ndarray:
    """bool [windows]: where the feature is silent and a rule says that it fires."""
    tokens = notebook.split.tokens
    alarmed = np.zeros(len(tokens.starts) - 1, bool)
    for rule in rules:
        predicted = matcher_of(notebook.split).predict(rule)
        alarmed[tokens.window_of[predicted >= FIRES_AT * (rule.unit or 1.0)]] = True
    return alarmed & (notebook.split.peaks(notebook.feature) <= 0)


@cache
def _miners() -> ThreadPoolExecutor:
    """As many threads as mining can use at once; more would only wait for each other."""
    return ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="mining")


async def _off_the_loop(
    work: Callable[[Notebook], list[Proposal]], notebook: Notebook
) -> list[Proposal]:
    return await asyncio.get_running_loop().run_in_executor(_miners(), work, notebook)


def _leader(notebook: Notebook) -> Hypothesis | None:
    """The hypothesis with the lowest cost on the corpus and all probes together."""
    kept = [h for h in notebook.hypotheses if h.id not in notebook.dropped]
    candidates = [h for h in kept if h.rule and h.rule.clauses]
    if not candidates:
        return None
    sample = Sample(notebook.split, notebook.feature, notebook.measured())
    return min(candidates, key=lambda h: (cost(sample, h.rule or Rule()), h.id))


def _standing(leader: Hypothesis, notebook: Notebook) -> list[Clause]:
    """The leader's clauses without those whose own firing probes mostly stayed silent."""
    assert leader.rule is not None
    by_id = {probe.id: probe for probe in notebook.probes}
    kept = []
    for clause in leader.rule.clauses:
        only = Rule(clauses=(clause,), unit=1.0)
        results = []
        for outcome in notebook.outcomes:
            if by_id[outcome.probe].fires and by_id[outcome.probe].hypothesis == leader.id:
                where = predict(only, [outcome.tokens])[0] > 0
                if where.any():
                    reached = np.array(outcome.activations)[where].max()
                    results.append(reached >= notebook.stats.fires_at)
        if len(results) < 3 or np.mean(results) >= CLAUSE_HOLDS:
            kept.append(clause)
    return kept


def _drafts(rule: Rule, notebook: Notebook) -> dict[str, list[Draft]]:
    """Drafts of each sort in MOST."""
    seed = zlib.crc32(f"{notebook.seed} {notebook.feature} {notebook.round}".encode())
    fit = (notebook.source.tokenize, room_of(notebook.source))
    return {
        "should fire": firing_drafts(rule, MOST["should fire"] * CHOICE, seed, *fit),
        "near miss": near_miss_drafts(rule, MOST["near miss"] * CHOICE, seed, *fit),
        "variant": fitted(variant_drafts(rule, MOST["variant"] * CHOICE, seed), *fit),
        "distance": fitted(distance_drafts(rule, MOST["distance"], seed), *fit),
    }


def _misses(rule: Rule, notebook: Notebook) -> bool:
    """Whether any text that was run fires where the rule says it does not, or the other way round."""
    said = predict(rule, [outcome.tokens for outcome in notebook.outcomes])
    return any(
        (values.max(initial=0.0) >= FIRES_AT * rule.unit) != outcome.fired
        for values, outcome in zip(said, notebook.outcomes, strict=True)
    )


def _possible(rule: Rule, notebook: Notebook) -> bool:
    """Whether what was measured, for whichever hypothesis, speaks for a rule rather than against.

    Two rules often foresee the same of a text, which is then run for one of them alone.
    """
    said = [v.max(initial=0.0) for v in predict(rule, [o.tokens for o in notebook.outcomes])]
    fired = [
        outcome.fired
        for outcome, height in zip(notebook.outcomes, said, strict=True)
        if height >= FIRES_AT * rule.unit
    ]
    return len(fired) < ENOUGH or float(np.mean(fired)) >= CLAUSE_HOLDS


def _room(notebook: Notebook, hypotheses: int) -> dict[str, int]:
    """How many probes of each sort one of several hypotheses may have in this turn.

    Together half of what is left: most features are done after two turns, some need all.
    """
    share = notebook.spending.left("probes") / 2 / max(1, hypotheses)
    part = min(1.0, share / sum(MOST.values()))
    return {sort: max(1, int(part * most)) for sort, most in MOST.items()}


def _chosen(
    drafts: dict[str, list[Draft]],
    seen: set[str],
    number: int,
    rules: dict[int, Rule],
    room: dict[str, int],
    notebook: Notebook,
) -> list[tuple[Draft, bool]]:
    """The drafts to run for hypothesis `number`, with what it predicts of them.

    Of each sort those come first on which the live hypotheses disagree. A near miss brings the text
    it was made from, so that the two make a minimal pair.
    """
    misses = _telling(drafts["near miss"], seen, rules, notebook)[: room["near miss"]]
    originals = [miss.original for miss in misses if miss.original]
    firing = [*originals, *_telling(drafts["should fire"], seen, rules, notebook)]
    variants = _telling(drafts["variant"], seen, rules, notebook)[: room["variant"]]
    firing = [
        draft
        for draft, fires in _predicted(firing, rules[number], notebook)
        if fires and draft.text not in seen
    ]
    moved = [draft for draft in drafts["distance"] if draft.text not in seen]
    wanted = [*firing[: room["should fire"]], *misses, *variants, *moved[: room["distance"]]]
    return _predicted(list({d.text: d for d in wanted}.values()), rules[number], notebook)


def _telling(
    drafts: Sequence[Draft], seen: set[str], rules: dict[int, Rule], notebook: Notebook
) -> list[Draft]:
    """The drafts with new texts, those first on which the rules disagree."""
    fresh = [draft for draft in drafts if draft.text and draft.text not in seen]
    said = [[fires for _, fires in _predicted(fresh, r, notebook)] for r in rules.values()]
    disputed = [len(set(answers)) > 1 for answers in zip(*said, strict=True)]
    order = sorted(range(len(fresh)), key=lambda place: not disputed[place])
    return [fresh[place] for place in order]


def _predicted(drafts: Sequence[Draft], rule: Rule, notebook: Notebook) -> list[tuple[Draft, bool]]:
    """Each draft with whether the rule predicts that it fires."""
    tokens = notebook.source.tokenize([draft.text for draft in drafts])
    threshold = FIRES_AT * rule.unit
    fires = [bool(v.max(initial=0) >= threshold > 0) for v in predict(rule, tokens)]
    return list(zip(drafts, fires, strict=True))


def _conditions(rule: Rule) -> frozenset[object]:
    return frozenset(clause.conditions for clause in rule.clauses)


def _notes(notebook: Notebook) -> list[str]:
    """What the probes showed beside the rule: that the place in the text matters."""
    by_id = {probe.id: probe for probe in notebook.probes}
    places: dict[str, list[float]] = {}
    for outcome in notebook.outcomes:
        probe = by_id[outcome.probe]
        if probe.fires:
            places.setdefault(probe.purpose, []).append(outcome.maximum)
    inside = places.get("should fire", [])
    notes = []
    for purpose, words in POSITION_TESTS.items():
        here = places.get(purpose, [])
        if len(here) >= 2 and inside and np.mean(inside) > 0:
            ratio = float(np.mean(here) / np.mean(inside))
            if ratio < POSITION_EFFECT:
                notes.append(
                    f"Position effect: a trigger {words} reaches {ratio:.2f} of what it reaches "
                    f"within a sentence ({len(here)} probes)."
                )
    return notes
