"""The explainer `weightlens`: the tokens that a feature's weights name, each tried once in the model.

WeightLens (Golimblevskaia et al. 2025, arXiv 2510.14936, section 3): tokens that stand out of the
feature's token vector, and those that upstream features hand on, are candidates; each is run alone
(after the BOS token, where the SAE has one) and kept where the feature fires on it. No corpus is read: it gives only the
unit that activations are measured in. What differs from the paper: the threshold is calibrated on
random directions, and not a fixed z; what found tokens explain of the vector is taken away, and it
is looked again (see `sagescope.sae.inside.outliers`). That no token stands out, or fires, is an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...sae.errors import BudgetExhausted, SAEError
from ...sae.inside.token_vectors import OutlierToken, TokenVector, token_vectors_of
from ...sae.outputs import outputs_of
from ...sae.source import FeatureSource
from ...sae.visible import visible
from ..loop import Investigation, ProbeDesign, Proposal
from ..records import Conclusion, Explanation, Outcome, quoted
from ..rules.language import MAX_CONDITIONS, MAX_VALUES, Clause, Near, Rule, current
from ..rules.render import describe
from ..task import Task
from .answer import begun, nothing_found, stated

NOTHING = "no token-level description"
#: Tokens tried for one feature.
MOST = 48
#: Promoted tokens that a note tells.
PROMOTED = 8
#: Two words are one family where they share this part of the longer one, and at least so many letters.
ALIKE, LEAST_LETTERS = 0.6, 4


@dataclass(frozen=True)
class WeightLens:
    """Explains features of sources that have token vectors. most: tokens tried."""

    most: int = MOST

    def check(self, source: FeatureSource) -> None:
        """Raise SAEError for a source of which it cannot say anything."""
        token_vectors_of(source).check()

    async def explain(self, task: Task) -> Conclusion:
        """See Explainer. Raises SAEError for a source that has no token vectors."""
        vectors = token_vectors_of(task.source)
        vector = await vectors.token_vector(task.feature, self.most)
        loop = begun(task)
        notes = [*_origin(vector), *await _promoted(task)]
        candidates = {one.token: one for one in vector.tokens if one.alone}
        if not candidates:
            why = (
                f"No token-level description: no token stands out of the feature's token vector (the "
                f"highest z is {vector.highest:.1f}; one of twenty random directions reaches "
                f"{vector.threshold:.1f})."
                if not vector.tokens
                else "No token-level description: what stands out are parts of characters and words "
                "that no text has alone."
            )
            return loop.conclusion(nothing_found(NOTHING, why, loop.notebook, notes), "concluded")
        named = list(candidates.values())
        sets = [named[at : at + MAX_VALUES] for at in range(0, len(named), MAX_VALUES)]
        proposed = _rule(sets, {}, 1.0)
        loop.add(
            [Proposal("weights", f"Fires on {quoted([*map(visible, candidates)])}.", proposed)]
        )
        status = "concluded"
        try:
            await loop.probe([_alone(token) for token in candidates])
        except BudgetExhausted:
            status = "out_of_budget"
        loop.judge()
        where = (
            "after the BOS token" if vector.has_bos else "as the whole text, without a BOS token"
        )
        return loop.conclusion(_validated(candidates, loop, notes, where), status)


def _alone(token: str) -> ProbeDesign:
    return ProbeDesign(0, "token alone", token, True, token)


def _validated(
    candidates: dict[str, OutlierToken], loop: Investigation, notes: Sequence[str], where: str
) -> Explanation:
    """The explanation by the candidates that fired, each with what it reached.

    where: how they stood in the texts that were run.
    """
    notebook = loop.notebook
    tried = {notebook.probes[one.probe].text: one for one in notebook.outcomes}
    unit = notebook.stats.typical_max or max((one.maximum for one in tried.values()), default=0.0)
    fired = [one for token, one in candidates.items() if _fires(tried.get(token), loop)]
    silent = [token for token in tried if not _fires(tried[token], loop)]
    told = [*notes, f"{len(fired)} of {len(tried)} tokens that stand out fire {where}."]
    if silent:
        told.append(f"Stand out and do not fire there: {quoted([*map(visible, silent)])}.")
    if not fired:
        why = "No token-level description: no token that stands out fires by itself."
        return nothing_found(NOTHING, why, notebook, told)
    levels = {one.token: tried[one.token].maximum / unit for one in fired}
    rule = _rule(families(fired), levels, unit)
    nears = [c for clause in rule.clauses for c in clause.conditions if isinstance(c, Near)]
    said = {token for near in nears for token in near.match.values}
    if left := [one.token for one in fired if one.token not in said]:
        told.append(f"Fire too, but a rule has no room for them: {quoted([*map(visible, left)])}.")
    [kept] = loop.add([Proposal("weights, tried", describe(rule), rule, parent=0)])
    return stated(rule, notebook, hypothesis=kept.id, notes=told)


def _fires(outcome: Outcome | None, loop: Investigation) -> bool:
    """Whether a token fires by the feature's own threshold; of one that the corpus lacks, at all."""
    if outcome is None:
        return False
    return outcome.fired or (not loop.fires and outcome.maximum > 0)


def _rule(groups: Sequence[Sequence[OutlierToken]], levels: dict[str, float], unit: float) -> Rule:
    """One clause a group; groups for which there is no room are joined with the last.

    levels: of tokens, as shares of the unit (1 where there is none).
    """
    room = [list(group) for group in groups[: MAX_CONDITIONS - 1]]
    rest = [one for group in groups[MAX_CONDITIONS - 1 :] for one in group]
    clauses = []
    for group in [*room, *([rest] if rest else [])]:
        tokens = [one.token for one in group][:MAX_VALUES]
        level = sum(levels.get(token, 1.0) for token in tokens) / len(tokens)
        clauses.append(Clause(conditions=(current("token", *tokens),), level=round(level, 3)))
    return Rule(clauses=tuple(sorted(clauses, key=lambda clause: -clause.level)), unit=unit)


def families(tokens: Sequence[OutlierToken]) -> list[list[OutlierToken]]:
    """Tokens by word family, the largest share first: “ run”, “Running”, “ runs” are one."""
    found: list[list[OutlierToken]] = []
    for one in tokens:
        word = one.token.strip().casefold()
        home = next(
            (group for group in found if _related(word, group[0].token.strip().casefold())), None
        )
        if home is None:
            found.append([one])
        else:
            home.append(one)
    return sorted(found, key=lambda group: -sum(one.share for one in group))


def _related(word: str, other: str) -> bool:
    if word == other:
        return True
    common = 0
    while common < min(len(word), len(other)) and word[common] == other[common]:
        common += 1
    return common >= max(LEAST_LETTERS, ALIKE * max(len(word), len(other)))


def _origin(vector: TokenVector) -> list[str]:
    """Where the tokens come from: upstream features, the largest share first."""
    if not vector.upstream:
        return []
    shown = ", ".join(f"{one.sae}/{one.index} ({one.share:+.2f})" for one in vector.upstream[:5])
    return [f"Upstream features that stand out, with their shares: {shown}."]


async def _promoted(task: Task) -> list[str]:
    """The tokens that the feature promotes through the unembedding, where it can be said."""
    try:
        found = await outputs_of(task.source).promoted(task.feature, PROMOTED)
    except SAEError:
        return []
    return [f"Promotes {quoted([visible(one.token) for one in found.promoted])}."]
