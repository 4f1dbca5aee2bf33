"""Probes of a language model's step, and those that code adds where a group has none."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence

from ...sae.evidence import FIRES_AT
from ..groups import groups_of, strongest
from ..loop import ProbeDesign
from ..notebook import Notebook
from ..records import Hypothesis
from ..rules.drafts import Draft, cut, room_of
from ..rules.language import Rule
from ..rules.match import predict
from ..rules.write import firing_drafts, near_miss_drafts
from .forms import Trials

#: Probes asked for in one step, and the longest text taken, in characters.
PROBES, LONGEST = 20, 1_000
#: Texts that code writes for each side of a group which nothing else tests.
ADDED = 2


def designs(
    found: Trials, live: Collection[int], notebook: Notebook, negatives: bool
) -> list[ProbeDesign]:
    """Probes of live hypotheses on new texts, with pairs numbered anew."""
    seen = {probe.text for probe in notebook.probes}
    place_of: dict[int, int] = {}
    kept: list[ProbeDesign] = []
    texts = cut(
        [trial.text[:LONGEST] for trial in found.probes],
        [trial.token if trial.fires else None for trial in found.probes],
        notebook.source.tokenize,
        room_of(notebook.source),
    )
    for number, (trial, text) in enumerate(zip(found.probes, texts, strict=True)):
        if not text or not text.strip() or text in seen or trial.hypothesis not in live:
            continue
        if not (negatives or trial.fires) or len(kept) == PROBES:
            continue
        seen.add(text)
        place_of[number] = len(kept)
        kept.append(
            ProbeDesign(
                hypothesis=trial.hypothesis,
                purpose=trial.role,
                text=text,
                fires=trial.fires,
                token=trial.token or None,
                pair=None if trial.pair is None else place_of.get(trial.pair),
                group=trial.group or None,
            )
        )
    return kept


def for_untested_groups(
    hypothesis: Hypothesis, asked: Sequence[ProbeDesign], notebook: Notebook, negatives: bool
) -> list[ProbeDesign]:
    """Texts that should fire, and near misses, for the groups of a hypothesis that have none.

    So that each label of a feature that responds to several things ends with tests of its own. Only
    where there are several groups: the only one has all probes that its hypothesis has.
    """
    rule = hypothesis.rule
    groups = groups_of(rule, notebook) if rule else ()
    if rule is None or len(groups) < 2:
        return []
    probes = [*notebook.probes, *asked]
    seen = {probe.text for probe in probes}
    own = [probe for probe in probes if probe.hypothesis == hypothesis.id]
    places = strongest(groups, rule, notebook.source.tokenize([probe.text for probe in own]))
    has = {
        ((probe.group or ("" if at is None else groups[at].label)).casefold(), probe.fires)
        for probe, at in zip(own, places, strict=True)
    }
    found: list[ProbeDesign] = []
    for group in groups:
        alone = rule.model_copy(update={"clauses": tuple(rule.clauses[n] for n in group.clauses)})
        for fires in (True, False) if negatives else (True,):
            if (group.label.casefold(), fires) in has:
                continue
            for draft in _drafts(alone, rule, fires, notebook):
                if draft.text not in seen:
                    seen.add(draft.text)
                    purpose, token = draft.edit or "should fire", draft.trigger if fires else None
                    found.append(
                        ProbeDesign(
                            hypothesis.id, purpose, draft.text, fires, token, group=group.label
                        )
                    )
    return found[: max(0, int(min(PROBES, notebook.spending.left("probes"))) - len(asked))]


def _drafts(alone: Rule, whole: Rule, fires: bool, notebook: Notebook) -> Iterator[Draft]:
    """Texts on which a group predicts firing, or that lack it alone and on which nothing fires."""
    seed = zlib.crc32(f"{notebook.seed} {notebook.feature} {notebook.round} groups".encode())
    tokenize, room = notebook.source.tokenize, room_of(notebook.source)
    if fires:
        yield from firing_drafts(alone, ADDED, seed, tokenize, room)
        return
    drafts = near_miss_drafts(alone, 2 * ADDED, seed, tokenize, room)
    predicted = predict(whole, tokenize([draft.text for draft in drafts]))
    quiet = [
        draft
        for draft, values in zip(drafts, predicted, strict=True)
        if values.max(initial=0) < FIRES_AT * whole.unit
    ]
    yield from quiet[:ADDED]
