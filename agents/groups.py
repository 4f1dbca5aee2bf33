"""Groups: the things that an explanation names, what each covers, and what its own probes said."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache

import numpy as np

from ..sae.evidence import FIRES_AT, SplitEvidence
from ..sae.tokens import TokenTable
from .notebook import Notebook
from .records import MeasuredGroup, Outcome, Probe
from .rules.language import Clause, Rule
from .rules.match import Matcher
from .rules.render import label
from .rules.sample import matcher_of
from .verdicts import counted


def coverage(rule: Rule, notebook: Notebook) -> float:
    """Share of the activation mass on tokens that the rule predicts to fire."""
    return _share(rule.clauses, notebook.split, notebook.feature)


def groups_of(
    rule: Rule, notebook: Notebook, named: Sequence[MeasuredGroup] = ()
) -> tuple[MeasuredGroup, ...]:
    """The groups of a rule with their levels and coverage, most activation first.

    named: groups of a mind's own choice, with their clauses; clauses that are in none of them make
    groups of their own, one for each label.
    """
    taken = {place for group in named for place in group.clauses}
    others: dict[str, list[int]] = {}
    for place, clause in enumerate(rule.clauses):
        if place not in taken:
            others.setdefault(label(clause), []).append(place)
    groups = [*named, *(MeasuredGroup(label=n, clauses=tuple(c)) for n, c in others.items())]
    members = [[rule.clauses[place] for place in group.clauses] for group in groups]
    shares = [_share(tuple(one), notebook.split, notebook.feature) for one in members]
    found = [
        group.model_copy(
            update={"level": max(clause.level for clause in clauses), "coverage": share}
        )
        if clauses
        else group
        for group, clauses, share in zip(groups, members, shares, strict=True)
    ]
    return tuple(sorted(found, key=lambda group: -(group.coverage or 0.0)))


def tested(
    groups: Sequence[MeasuredGroup],
    rule: Rule | None,
    hypotheses: Collection[int],
    notebook: Notebook,
) -> tuple[MeasuredGroup, ...]:
    """The groups with what their own probes said, of those that some hypotheses predicted.

    A probe tests the group that it names; else the one whose clauses predict most on its text; else,
    as a near miss, the group of the text that it was made from. The only group has all probes.
    """
    trials = notebook.trials(hypotheses)
    places = _groups_tested(trials, groups, rule or Rule())
    found = []
    for place, group in enumerate(groups):
        own = [trial for trial, at in zip(trials, places, strict=True) if at == place]
        numbers = tuple(probe.id for probe, _ in own)
        found.append(group.model_copy(update={**dict(counted(own)), "probes": numbers}))
    return tuple(found)


def _groups_tested(
    trials: Sequence[tuple[Probe, Outcome]], groups: Sequence[MeasuredGroup], rule: Rule
) -> list[int | None]:
    """For each trial the place of the group that it tests."""
    if len(groups) == 1:
        return [0] * len(trials)
    names: dict[str, int] = {}
    for place, group in enumerate(groups):
        labels = [group.label, *(label(rule.clauses[clause]) for clause in group.clauses)]
        for name in labels:
            names.setdefault(name.casefold(), place)
    predicted = strongest(groups, rule, [outcome.tokens for _, outcome in trials])
    of_probe: dict[int, int | None] = {}
    for number, (probe, _) in enumerate(trials):
        of_pair = None if probe.pair is None else of_probe.get(probe.pair)
        found = names.get((probe.group or "").casefold())
        for other in (predicted[number], of_pair) if probe.fires else (of_pair, predicted[number]):
            found = other if found is None else found
        of_probe[probe.id] = found
    return [of_probe[probe.id] for probe, _ in trials]


def strongest(
    groups: Sequence[MeasuredGroup], rule: Rule, texts: Sequence[Sequence[str]]
) -> list[int | None]:
    """For each text, by its tokens, the place of the group that predicts most on it, if any speaks of it."""
    if not texts or not groups:
        return [None] * len(texts)
    table = TokenTable.of(texts)
    matcher = Matcher(table)
    levels = np.full((len(groups), len(texts)), -1.0)  # a clause may hold, and have a level of 0
    for place, group in enumerate(groups):
        for clause in (rule.clauses[number] for number in group.clauses):
            held = table.window_of[matcher.clause(clause)]
            levels[place, held] = np.maximum(levels[place, held], clause.level)
    best = levels.argmax(axis=0)
    return [int(at) if levels[at, text] >= 0 else None for text, at in enumerate(best)]


# A mind asks it of each hypothesis at every step.
@lru_cache(maxsize=1024)
def _share(clauses: tuple[Clause, ...], split: SplitEvidence, feature: int) -> float:
    """The share of the activation mass that clauses predict to fire."""
    active, values = _active(split, feature)
    matcher, mass = matcher_of(split), float(values.sum())
    covered = np.zeros(len(active), bool)
    for clause in clauses:
        if clause.level >= FIRES_AT:
            covered |= matcher.clause(clause)[active]
    return float(values[covered].sum()) / mass if mass > 0 else 0.0


@lru_cache(maxsize=64)
def _active(split: SplitEvidence, feature: int) -> tuple[np.ndarray, np.ndarray]:
    """Where a feature is active, int64 [m], and how strongly, float64 [m]."""
    values = split.activations(feature)
    active = np.flatnonzero(values > 0)
    return active, values[active].astype(np.float64)
