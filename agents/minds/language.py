"""A language model as the mind: one template a step, one call a step, no dialogue replayed.

Each step is rendered anew from what the notebook holds, so that a prompt carries what matters now and
nothing else. What the model proposes is checked before it counts: sketches run over the `explain`
split, levels are measured there, and a revision is taken up only where it is measurably better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ...sae.errors import BudgetExhausted, ReplyError
from ..budget import Charge
from ..groups import coverage, groups_of, tested
from ..loop import ProbeDesign, Proposal
from ..notebook import Notebook
from ..records import Explanation, Hypothesis, MeasuredGroup, Verdict
from ..rules.fitting import cost
from ..rules.mind import LABELS, RuleMind
from ..rules.sample import Sample
from ..wording import render
from . import exhibits, judge
from .forms import (
    Claim,
    JudgedRevisions,
    JudgedSummary,
    Name,
    Proposals,
    Revisions,
    Summary,
    Trials,
)
from .judge import Judgement
from .levels import measured_rule
from .mistakes import Mistakes
from .probing import PROBES, designs, for_untested_groups
from .samples import sample_of
from .sketch import Form

if TYPE_CHECKING:
    from ..llm.client import Client

F = TypeVar("F", bound=Form)

#: What is kept back for the conclusion, whatever else the budget would allow.
LAST_CALL_TOKENS = 4_000
#: Hypotheses whose mistakes are shown.
SHOWN = 2
#: A revision must lower the cost of the hypothesis it replaces at least to this share.
BETTER = 0.99


@dataclass
class LanguageMind:
    """Thinks by asking a language model; one object for one feature.

    name: as users type it. client: the model. prompts: a folder of edited templates that go before
    our own. hypotheses: how many are asked for. negatives: whether near misses and silent windows are
    shown and probed. verdicts: whether it is shown the measured counts, or the outcomes alone, to give
    its own word, which then counts in their place. failures: steps that gave nothing, which the conclusion tells.
    """

    name: str
    client: Client
    prompts: Path | None = None
    hypotheses: int = 4
    negatives: bool = True
    verdicts: Literal["measured", "model"] = "measured"
    failures: list[str] = field(default_factory=list)

    async def propose(self, notebook: Notebook) -> list[Proposal]:
        """Hypotheses of different kinds, from windows spread over the range of activation.

        Raises ReplyError where the model gives none, twice.
        """
        found = await self._ask(
            "propose",
            Proposals,
            notebook,
            wanted=self.hypotheses,
            tie=notebook.tie,
            top=exhibits.top(notebook),
            bands=exhibits.bands(notebook),
            words=exhibits.words(notebook),
            near_misses=exhibits.near_misses(notebook) if self.negatives else [],
        )
        return [_proposal(claim, notebook) for claim in found.hypotheses[: self.hypotheses]]

    async def design(self, notebook: Notebook) -> Sequence[ProbeDesign]:
        """Texts that tell the live hypotheses apart; where the model gives none, written by code."""
        live = self._shown(notebook)
        try:
            found = await self._ask(
                "design",
                Trials,
                notebook,
                live=live,
                wanted=int(min(PROBES, notebook.spending.left("probes"))),
                negatives=self.negatives,
                tried=[(probe.text, probe.fires) for probe in notebook.probes[-PROBES:]],
            )
        except ReplyError as error:
            self.failures.append(f"The design step failed: {error}")
            return await RuleMind().design(notebook)
        asked = designs(found, [one.id for one, _ in live], notebook, self.negatives)
        if not asked:
            self.failures.append(
                f"The design step gave no text to run: none of its {len(found.probes)} is new, of a "
                f"hypothesis that stands, and of the kind asked for. Code wrote the probes."
            )
            return await RuleMind().design(notebook)
        return [*asked, *for_untested_groups(live[0][0], asked, notebook, self.negatives)]

    async def refine(self, notebook: Notebook) -> list[Proposal]:
        """Revisions that are measurably better than what they replace."""
        standing = self._shown(notebook, refuted=True)
        try:
            judgements = await self._judgements(standing[:SHOWN], notebook)
            found = await self._ask(
                "refine",
                JudgedRevisions if self.verdicts == "model" else Revisions,
                notebook,
                live=standing,
                mistakes={
                    one.id: Mistakes.of(one.rule, notebook)
                    for one, _ in standing[:SHOWN]
                    if one.rule
                },
                judgements=judgements,
                surprises=_surprises(notebook),
            )
        except ReplyError as error:
            self.failures.append(f"The refine step failed: {error}")
            return []
        self._listen(found, notebook)
        wanted = [(claim, claim.replaces) for claim in found.hypotheses]
        proposals = [_proposal(claim, notebook, parent) for claim, parent in wanted]
        return _better(proposals, notebook)

    async def settle(self, notebook: Notebook) -> Sequence[ProbeDesign]:
        """None: which hypothesis it will state, the model says when it concludes."""
        return []

    async def conclude(self, notebook: Notebook) -> Explanation:
        """The model's words for one of the hypotheses; where it gives none, the rule's own."""
        candidates = self._shown(notebook, refuted=True, replaced=True)
        if not candidates:
            why = "" if self.failures else "The budget had no room for a call and its conclusion."
            return Explanation(
                labels=("no explanation",),
                description="No hypothesis was found.",
                notes=tuple(self.failures) or (why,),
            )
        leader, standing = candidates[0]
        names: Sequence[Name] = ()
        description = leader.text
        try:
            form = JudgedSummary if self.verdicts == "model" else Summary
            found = await self._ask("conclude", form, notebook, last=True, live=candidates)
            self._listen(found, notebook)
            by_id = {one.id: (one, how) for one, how in candidates}
            if found.hypothesis in by_id:
                leader, standing = by_id[found.hypothesis]
                names, description = found.labels, found.description
            else:
                self.failures.append(
                    f"The conclusion names hypothesis {found.hypothesis}, which does not stand: it "
                    f"is the leading one as it stood."
                )
        except (BudgetExhausted, ReplyError) as error:
            self.failures.append(f"The conclusion is the leading hypothesis as it stood: {error}")
        groups = named(names, standing.groups)
        if leader.rule:
            groups = groups_of(leader.rule, notebook, groups)
        told = {name.label for name in names} or {group.label for group in groups[:LABELS]}
        labels = tuple(group.label for group in groups if group.label in told)
        return Explanation(
            labels=labels or (leader.kind,),
            description=description,
            rule=leader.rule,
            coverage=standing.coverage,
            groups=groups,
            notes=(*_counts(leader, notebook), *self.failures),
            hypothesis=leader.id,
        )

    # ---------------------------------------------------------------- inside

    async def _ask(
        self, step: str, form: type[F], notebook: Notebook, *, last: bool = False, **shown: Any
    ) -> F:
        from ..llm.client import Message
        from ..llm.structured import ask

        about = {"stats": notebook.stats, "verdicts": self.verdicts, **shown}
        messages = [
            Message(role="system", text=render("sage/system.j2", self.prompts), stable=True),
            Message(role="user", text=render(f"sage/{step}.j2", self.prompts, **about)),
        ]
        answer, _ = await ask(
            self.client,
            messages,
            form,
            spending=notebook.spending,
            sample=notebook.turn,
            leaving=None if last else kept_back(self.client),
        )
        return answer

    async def _judgements(
        self, standing: Sequence[tuple[Hypothesis, Standing]], notebook: Notebook
    ) -> dict[int, Judgement]:
        """How hypotheses in words alone do on a sample of windows: one call for each."""
        found = {}
        for one in (hypothesis for hypothesis, _ in standing if hypothesis.rule is None):
            windows = judge.sample(notebook)
            grades = await self._ask(
                "judge", judge.Grades, notebook, hypothesis=one, windows=judge.plain(windows)
            )
            found[one.id] = judge.compared(grades, windows, notebook)
        return found

    def _shown(
        self, notebook: Notebook, refuted: bool = False, replaced: bool = False
    ) -> list[tuple[Hypothesis, Standing]]:
        """Hypotheses with how they stand, the best supported first.

        refuted, replaced: whether those are among them that probes refuted, or others replaced.
        """
        sample = sample_of(notebook, probes=True)
        found = [(one, Standing.of(one, notebook, sample)) for one in notebook.hypotheses]
        kept = [
            (one, standing)
            for one, standing in found
            if not standing.verdict.dropped
            and (replaced or not standing.verdict.replaced)
            and (refuted or not self._is_refuted(standing))
        ]
        return sorted(kept, key=lambda pair: (self._is_refuted(pair[1]), *pair[1].rank))

    def _is_refuted(self, standing: Standing) -> bool:
        """By the measured verdict, or by the model's own word where that is to count instead."""
        verdict = standing.verdict
        return (verdict.said if self.verdicts == "model" else verdict.status) == "refuted"

    def _listen(self, answer: Form, notebook: Notebook) -> None:
        """Keep the model's own word on hypotheses, where it gave one."""
        for word in getattr(answer, "verdicts", ()):
            if 0 <= word.hypothesis < len(notebook.hypotheses):
                notebook.said[word.hypothesis] = word.status


@dataclass(frozen=True)
class Standing:
    """How a hypothesis stands: what the probes said of it, and how its rule does on the corpus.

    cost: of its rule on corpus and probes (infinite without one). coverage: share of all activation
    that the rule foresees. groups: of the rule, each with tests of its own. outcomes: of each of its
    probes whether it should fire, whether it did, and the text.
    """

    verdict: Verdict
    cost: float
    coverage: float | None
    groups: tuple[MeasuredGroup, ...]
    outcomes: tuple[tuple[bool, bool, str], ...]

    @classmethod
    def of(cls, hypothesis: Hypothesis, notebook: Notebook, sample: Sample) -> Standing:
        """How it stands now. sample: the corpus with the probes so far."""
        own = {one.id: one for one in notebook.probes if one.hypothesis == hypothesis.id}
        outcomes = tuple(
            (own[one.probe].fires, one.fired, own[one.probe].text)
            for one in notebook.outcomes
            if one.probe in own
        )
        rule = hypothesis.rule
        return cls(
            notebook.verdict(hypothesis),
            cost(sample, rule) if rule else float("inf"),
            coverage(rule, notebook) if rule else None,
            tested(groups_of(rule, notebook), rule, [hypothesis.id], notebook) if rule else (),
            outcomes,
        )

    @property
    def rank(self) -> tuple[float, float]:
        """Sorts the best supported first: cheapest, most probable."""
        return self.cost, -self.verdict.posterior


def _proposal(claim: Claim, notebook: Notebook, parent: int | None = None) -> Proposal:
    rule = measured_rule(claim.groups, notebook)
    known = parent if parent is not None and 0 <= parent < len(notebook.hypotheses) else None
    return Proposal(claim.kind, claim.statement, rule, known)


def _better(proposals: Sequence[Proposal], notebook: Notebook) -> list[Proposal]:
    """Those that cost less than what they replace; each hypothesis is replaced once."""
    sample = sample_of(notebook, probes=True)
    taken: dict[int | None, Proposal] = {}
    for one in proposals:
        old = None if one.parent is None else notebook.hypotheses[one.parent]
        if old is None or one.parent in notebook.refined or one.parent in taken:
            one, old = replace(one, parent=None), None
        rivals = [old] if old else [h for h in notebook.live() if h.rule]
        costs = [cost(sample, rival.rule) for rival in rivals if rival.rule]
        if one.rule is None:
            better = old is not None and old.rule is None and old.text != one.text
        else:
            better = not costs or cost(sample, one.rule) < BETTER * min(costs)
        if better:
            taken[one.parent if old else -1 - len(taken)] = one
    return list(taken.values())


def named(names: Sequence[Name], groups: Sequence[MeasuredGroup]) -> tuple[MeasuredGroup, ...]:
    """A mind's labels as groups, each with the clauses of those of a hypothesis that it names.

    A label that names none by number stands for the group of the same label; the only one, for all.
    """
    found = []
    for name in names:
        own = [groups[number] for number in name.groups if 0 <= number < len(groups)]
        own = own or [one for one in groups if one.label.casefold() == name.label.casefold()]
        own = own or (groups if len(names) == 1 else ())
        clauses = sorted({clause for group in own for clause in group.clauses})
        found.append(MeasuredGroup(label=name.label, clauses=tuple(clauses)))
    return tuple(found)


def _surprises(notebook: Notebook, most: int = 12) -> list[tuple[int, bool, str]]:
    """Probes that came out against their prediction: hypothesis, prediction, excerpt; latest first."""
    unit = notebook.stats.typical_max
    by_id = {probe.id: probe for probe in notebook.probes}
    wrong = [outcome for outcome in reversed(notebook.outcomes) if not outcome.agreed][:most]
    return [
        (by_id[o.probe].hypothesis, by_id[o.probe].fires, exhibits.of_outcome(o, unit))
        for o in wrong
    ]


def _counts(leader: Hypothesis, notebook: Notebook) -> list[str]:
    """The measured counts behind the conclusion."""
    verdict = notebook.verdict(leader)
    (fired, should), (silent, should_not) = verdict.fires_as_predicted, verdict.silent_as_predicted
    return [
        f"{fired} of {should} texts that should fire did, {silent} of {should_not} near misses "
        f"stayed silent (posterior {verdict.posterior:.2f})."
    ]


def kept_back(client: Client) -> Charge:
    """What every step but the last leaves of the feature's budget, so that there is a conclusion."""
    from ..llm.client import Usage

    words = LAST_CALL_TOKENS // 4
    usage = Usage(input_tokens=LAST_CALL_TOKENS - words, output_tokens=words, estimated=True)
    return client.charge(usage)
