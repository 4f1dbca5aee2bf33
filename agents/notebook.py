"""The notebook of one feature: all that a mind may see, and the loop's own judgement of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..sae.evidence import FeatureStats, SplitEvidence
from ..sae.neighbours import Tie, tie_of
from ..sae.source import FeatureSource
from ..sae.tokens import TokenActivations
from .budget import Spending
from .records import Hypothesis, Outcome, Probe, Verdict
from .verdicts import counted

#: Probes that ask whether the place in the text matters: purpose → what they do to the trigger.
POSITION_TESTS = {"bare": "alone", "moved to the start": "as the first word"}


@dataclass
class Notebook:
    """What is known of one feature so far.

    source, feature: what is explained. split: the `explain` split, the only corpus text a mind
    sees. refined, dropped: hypotheses that a child replaced, or that a person gave up. said: a mind's
    own word on hypotheses, by number. turn: how many turns a mind had in a session, undone ones too;
    the same question in another turn is to have another answer. Minds read the notebook and write nothing but that word; the
    loop alone writes all else.
    """

    source: FeatureSource
    feature: int
    split: SplitEvidence
    stats: FeatureStats
    spending: Spending
    seed: int
    hypotheses: list[Hypothesis] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    refined: set[int] = field(default_factory=set)
    dropped: set[int] = field(default_factory=set)
    said: dict[int, str] = field(default_factory=dict)
    round: int = 0
    turn: int = 0

    @cached_property
    def tie(self) -> Tie | None:
        """The feature that the `explain` split cannot tell from this one, if there is any."""
        decoder = getattr(self.source, "decoder", None)  # of sources that have an SAE at hand
        return tie_of(self.source.evidence, self.feature, decoder)

    def verdict(self, hypothesis: Hypothesis) -> Verdict:
        """What the outcomes so far say of a hypothesis (rule: see Verdict)."""
        counts = counted(self.trials([hypothesis.id]))
        return Verdict(
            **counts.model_dump(),
            hypothesis=hypothesis.id,
            replaced=hypothesis.id in self.refined,
            dropped=hypothesis.id in self.dropped,
            said=self.said.get(hypothesis.id),
        )

    def trials(self, hypotheses: Collection[int]) -> list[tuple[Probe, Outcome]]:
        """The probes of some hypotheses that ran and count as tests, with what they measured."""
        by_id = {probe.id: probe for probe in self.probes}
        ran = [(by_id[outcome.probe], outcome) for outcome in self.outcomes]
        return [
            (probe, outcome)
            for probe, outcome in ran
            if probe.hypothesis in hypotheses and probe.purpose not in POSITION_TESTS
        ]

    def measured(self) -> list[TokenActivations]:
        """The texts of all probes as the feature saw them."""
        return measured(self.outcomes)

    def live(self) -> Sequence[Hypothesis]:
        """Hypotheses that none has replaced, nobody dropped and no probes have refuted."""
        verdicts = {h.id: self.verdict(h) for h in self.hypotheses}
        return [
            h
            for h in self.hypotheses
            if verdicts[h.id].status != "refuted"
            and not (verdicts[h.id].replaced or verdicts[h.id].dropped)
        ]


def measured(outcomes: Sequence[Outcome]) -> list[TokenActivations]:
    """The texts of probes as the feature saw them."""
    return [
        TokenActivations(outcome.tokens, np.array(outcome.activations, np.float32))
        for outcome in outcomes
    ]
