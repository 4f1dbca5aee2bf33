"""The explainer `attention-rules` (Friedman, Bhaskar, Wettig & Chen 2025, arXiv 2510.18148).

For features of an SAE on one attention head: skip-gram rules from weights, absence rules that are
verified by putting the distractor in, counting rules that are verified by a firing grid. It needs no
language model. What it finds is a rule of the same language as the miner's, which is scored like any
other; predictions for the texts that it runs are written down before they run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from ...sae.errors import BudgetExhausted
from ...sae.inside.attention import Attention, HeadInputs, Values, attention_of
from ...sae.source import FeatureSource
from ..groups import coverage
from ..loop import Investigation, ProbeDesign, Proposal
from ..records import Conclusion, Explanation, Outcome, RuleCase
from ..rules.language import Clause, Rule
from ..rules.render import label, strength
from ..rules.sample import Sample
from . import counting as count
from .answer import begun, nothing_found
from .cases import cases_of, text_of
from .insertion import (
    Distractor,
    Effect,
    bases,
    distractors,
    effects,
    neutral_token,
    trials,
    with_absence,
)
from .skip_grams import Chosen, Judged, choose, clauses_of, fitted, keys_of, pruned, stated, unigram

if TYPE_CHECKING:
    from ..task import Task

#: Clauses that the description spells out, and labels.
DESCRIBED, LABELS = 8, 3


@dataclass
class _Study:
    """One feature under study. rule: what stands so far. stated: its hypothesis. rests_on: those
    whose probes tested it."""

    task: Task
    loop: Investigation
    attention: Attention
    inputs: HeadInputs
    values: Values
    judged: Judged
    rule: Rule = field(default_factory=Rule)
    chosen: Chosen = field(default_factory=Chosen)
    stated: int | None = None
    rests_on: tuple[int, ...] = ()
    notes: list[str] = field(default_factory=list)

    async def skip_grams(self) -> None:
        """Mine skip-gram rules, and say how they do beside keys alone."""
        self.chosen = await choose(self.attention, self.inputs, self.values, self.judged)
        keys_alone = unigram(self.inputs, self.values, self.judged)
        self.notes.append(
            f"On {self.judged.split.name}: {len(self.chosen.pairs)} skip-gram rules of "
            f"{self.chosen.tried} tried, {self.chosen.fit}; keys alone (unigram) {keys_alone}. Rules, "
            f"and keys alone, were chosen by their F1 on this split, so that figures on it are too kind "
            f"to both: what the explanation is worth on text that chose nothing, its scores say."
        )
        if self.chosen.pairs:
            notebook = self.loop.notebook
            clauses = clauses_of(self.chosen, self.inputs, 0.5)
            self.rule = pruned(clauses, Sample(notebook.split, notebook.feature))
            self.chosen = stated(self.chosen, self.rule, self.inputs)
            self.notes.append(
                f"{len(self.chosen.pairs)} of them earn their place on explain; these on "
                f"{self.judged.split.name}: {self.judged.fit(self.rule)}."
            )
            self.stated = self._add("skip-gram", self.rule)
            self.rests_on = (self.stated,)

    async def absences(self) -> None:
        """Look for distractors, put them in, and add those that are verified to the rule."""
        if not self.chosen.pairs:
            return
        found = await distractors(self.attention, self.inputs, self.values, self.chosen)
        neutral = await neutral_token(self.attention, self.inputs, self.values, self.chosen)
        if neutral is None:
            return
        notebook = self.loop.notebook
        avoid = [one.token for one in found]
        texts = bases(self.rule, notebook.split, notebook.feature, avoid)
        keys = [key for clause in self.rule.clauses for key in keys_of(clause)]
        made = trials(texts, keys, found, neutral, self.task.source, self.task.seed)
        assert self.stated is not None
        hypothesis = self.stated
        if found:
            supposed = with_absence(self.rule, [_supposed(one, neutral) for one in found])
            hypothesis = self._add("absence", supposed, parent=self.stated)
        # Pair rules answer for texts as they are and without their key, absence rules for the others.
        designs = [
            trial.design(hypothesis if trial.copies else self.stated, trial.tokens[-1])
            for trial in made
        ]
        run = list(zip(made, await self._probe(designs), strict=False))
        measured = effects(run, found, neutral)
        self.notes += [str(one) for one in measured]
        if verified := [one for one in measured if one.verified]:
            self._blocked_by(verified, hypothesis, len(found))

    def _blocked_by(self, verified: Sequence[Effect], hypothesis: int, supposed: int) -> None:
        notebook = self.loop.notebook
        rule = with_absence(self.rule, verified)
        before, after = self.judged.fit(self.rule), self.judged.fit(rule)
        self.notes.append(
            f"With {len(verified)} absence rule{'s' if len(verified) > 1 else ''} on "
            f"{self.judged.split.name}: {after}; without {before}."
        )
        if after.f1 < before.f1:
            self.notes.append("It does worse with them, so the rule stays without.")
            return
        self.rule = fitted(rule.clauses, Sample(notebook.split, notebook.feature))
        self.rests_on = (*self.rests_on, hypothesis)
        if len(verified) < supposed:
            hypothesis = self._add("absence", self.rule, parent=hypothesis)
        self.stated = hypothesis

    async def counts(self) -> None:
        """Where a head looks at all alike: a grid of counts, and the rule that it shows."""
        guess = await count.candidate(self.attention, self.inputs, self.values, self.judged)
        if guess is None:
            return
        texts = count.grid_texts(guess, self.inputs, self.values, self.task.seed)
        cut = self.task.source.tokenize(["".join(tokens) for tokens in texts.values()])
        texts = {
            cell: tokens for (cell, tokens), now in zip(texts.items(), cut, strict=True) if now == tokens
        }  # fmt: skip
        if len(texts) < count.CELLS:
            self.notes.append(
                "A count was not tried: tokens that would be counted cannot stand side by side."
            )
            return
        hypothesis = self._add("counting", count.rule_of(guess))
        probes = count.designs(texts, guess, hypothesis)
        outcomes = await self._probe(probes)
        floor = self.loop.notebook.stats.fires_at
        fires = {
            cell: one.activations[-1] >= floor > 0
            for cell, one in zip(texts, outcomes, strict=False)
        }
        grid = count.grid_of(fires)
        found = replace(guess, least=grid.least)
        why = "" if grid.is_difference else ", which does not show a difference, so it is no rule"
        self.notes.append(
            f"Firing grid of 0 to {count.MOST} of each in texts of {guess.length} tokens: “{found}” is "
            f"wrong in {grid.wrong(grid.least)} of {len(fires)} cells{why}."
        )
        if grid.is_difference:
            self._counted(found, hypothesis, found != guess)

    def _counted(self, found: count.Counting, hypothesis: int, is_new: bool) -> None:
        notebook = self.loop.notebook
        clauses = count.clauses_of(found, 0.5)
        rule = fitted(clauses, Sample(notebook.split, notebook.feature))
        tested = (hypothesis,)
        if is_new:
            hypothesis = self._add("counting", rule, parent=hypothesis)
        mine, theirs = self.judged.fit(rule), self.judged.fit(self.rule)
        self.notes.append(
            f"The counting rule on {self.judged.split.name}: {mine}; the others: {theirs}."
        )
        if mine.f1 > theirs.f1:
            self.rule, self.stated, self.chosen = rule, hypothesis, Chosen()
            self.rests_on = tested

    def explanation(self) -> Explanation:
        """What stands, in words, with its table."""
        notebook = self.loop.notebook
        if not self.rule.clauses:
            why = "No pair of key and query that the weights name foretells when it fires."
            notes = [self.inputs.assumed, *self.notes]
            return nothing_found("no attention rule found", why, notebook, notes)
        rule = self.rule.model_copy(update={"unit": notebook.stats.typical_max})
        cases = cases_of(rule, notebook.split, notebook.feature, self.chosen, self.inputs)
        ordered = _by_activation(rule, cases)
        return Explanation(
            labels=tuple(dict.fromkeys(label(clause) for clause in ordered))[:LABELS],
            description=_description(ordered),
            rule=rule,
            coverage=coverage(rule, notebook),
            notes=(self.inputs.assumed, *self.notes),
            hypothesis=self.stated,
            rests_on=self.rests_on,
            cases=cases,
        )

    def _add(self, kind: str, rule: Rule, parent: int | None = None) -> int:
        [one] = self.loop.add([Proposal(kind, _description(rule.clauses), rule, parent)])
        return one.id

    async def _probe(self, designs: Sequence[ProbeDesign]) -> list[Outcome]:
        outcomes = await self.loop.probe(designs)
        self.loop.judge()
        return outcomes


@dataclass(frozen=True)
class AttentionRules:
    """Explains features of SAEs on one attention head."""

    def check(self, source: FeatureSource) -> None:
        """Raise SAEError for a source of which it cannot say anything."""
        attention_of(source).check()

    async def explain(self, task: Task) -> Conclusion:
        """See Explainer. Raises SAEError for a source without such a head (see `attention_of`)."""
        attention = attention_of(task.source)
        inputs = await attention.inputs()
        values = await attention.values(task.feature)
        loop = begun(task)
        if not loop.fires:
            why = "It never fires on the corpus."
            return loop.conclusion(nothing_found("never fires", why, loop.notebook), "concluded")
        reader = task.source.evidence.reader("selector")
        splits = [reader.split("select"), reader.split("explain")]
        judged = Judged.on(splits, task.feature, loop.notebook.stats.fires_at)
        study = _Study(task, loop, attention, inputs, values, judged)
        status: Literal["concluded", "out_of_budget"] = "concluded"
        try:
            await study.skip_grams()
            await study.absences()
            await study.counts()
        except BudgetExhausted as error:
            status = "out_of_budget"
            study.notes.append(f"Not all was tried: {error}")
        return loop.conclusion(study.explanation(), status)


def _supposed(distractor: Distractor, neutral: str) -> Effect:
    """What the weights say of a distractor before anything was run: that it takes all away."""
    return Effect(distractor, neutral, 1.0, {1: (0.0, 1.0)})


def _by_activation(rule: Rule, cases: Sequence[RuleCase]) -> list[Clause]:
    """The clauses, those of the table first, in its order."""
    place = {case.text: at for at, case in enumerate(cases)}
    return sorted(rule.clauses, key=lambda one: place.get(text_of(one), len(cases)))


def _description(clauses: Sequence[Clause]) -> str:
    """Clauses as sentences, as many as anybody reads."""
    if clauses and all(clause.label for clause in clauses):
        names = dict.fromkeys(clause.label for clause in clauses)
        level = max(clause.level for clause in clauses)
        return " ".join(
            f"Fires {strength(level)} (up to {level:.2f} of its typical maximum) with {name}."
            for name in names
        )
    lines = [
        f"Fires {strength(clause.level)} ({clause.level:.2f} of its typical maximum) on {text_of(clause)}."
        for clause in clauses[:DESCRIBED]
    ]
    left = len(clauses) - DESCRIBED
    return " ".join([*lines, f"And {left} more such rules."] if left > 0 else lines)
