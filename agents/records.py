"""The nouns of the loop: what minds, the loop, the scorers and the journal hand to each other.

All are frozen Pydantic models, because all of them go into the journal and come back from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from .rules.language import Rule

#: What probes may say of a hypothesis (rule: see Verdict).
Standing = Literal["confirmed", "open", "refuted", "untested"]


class Record(BaseModel):
    """Base of the records: immutable, and unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Hypothesis(Record):
    """What a feature may respond to. `text` says it in words, `rule` so that a machine can check.

    id: its number within the feature. kind: how it was found ("tokens", "word family", "context" …).
    parent: the hypothesis it refines. round: when it was proposed (0 first).
    """

    id: int
    kind: str
    text: str
    rule: Rule | None = None
    parent: int | None = None
    round: int = 0


class Probe(Record):
    """A text and what a hypothesis predicts for it, written down before it runs.

    id: its number within the feature. purpose: why it is run ("should fire", "near miss", "bare",
    "moved" …). fires: the prediction. token: the token string expected to fire, if it should.
    pair: the probe it differs from in one edit. group: label of the group of the hypothesis that it
    tests, where that was said.
    """

    id: int
    hypothesis: int
    purpose: str
    text: str
    fires: bool
    token: str | None = None
    pair: int | None = None
    group: str | None = None


class Outcome(Record):
    """What a probe measured.

    tokens, activations: the text as the feature saw it (activations in the SAE's units). maximum:
    the highest. fired: it reached the feature's own threshold. agreed: fired as predicted.
    """

    probe: int
    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    maximum: float
    fired: bool
    agreed: bool


class ProbeCounts(Record):
    """What some probes say together; decided by code, never by a mind.

    fires_as_predicted and silent_as_predicted: (agreed, run) of the probes that should fire and of
    those that should not; probes that only move the trigger are left out, since many features are
    silent at the start of any text, whatever it says. posterior: probability that a fresh probe of
    the weaker side agrees: the mean of a Beta prior, fitted to what fresh probes of other features
    did, with each probe counted half; .5 for a side without probes. status: "refuted" where fewer
    than half of a side's probes agree, "confirmed" where it is more likely than not (uniform priors)
    that both sides agree at least .8 of the time (five of five on both are enough, four are not),
    "untested" without any probe, else "open".
    """

    status: Standing = "untested"
    fires_as_predicted: tuple[int, int] = (0, 0)
    silent_as_predicted: tuple[int, int] = (0, 0)
    posterior: float = 0.5


class Verdict(ProbeCounts):
    """What the outcomes say of a hypothesis.

    replaced: a refined hypothesis took its place. dropped: a person gave it up. said: the mind's own
    word on it, where one was asked for; it stands beside the verdict and decides nothing of it.
    """

    hypothesis: int
    replaced: bool = False
    dropped: bool = False
    said: str | None = None


class MeasuredGroup(ProbeCounts):
    """One of the things that an explanation says the feature responds to, with tests of its own.

    label: what it is. clauses: the places in the explanation's rule of those that stand for it.
    level: the highest of them, as a share of the typical maximum, None without any. coverage: share
    of the feature's activation mass on the `explain` split that lies on tokens which they predict to
    fire; groups may share tokens, so that these may add up to more than the whole. probes: the
    numbers of those that tested it; the counts are of these alone.
    """

    label: str
    clauses: tuple[int, ...] = ()
    level: float | None = None
    coverage: float | None = None
    probes: tuple[int, ...] = ()


class Context(Record):
    """A stretch of text with what a feature did on it, to show what a rule says.

    tokens, activations: as the feature saw it. at: the place that the rule speaks of. why: what stands
    there, or is missing, in words.
    """

    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    at: int
    why: str = ""


class RuleCase(Record):
    """One line of an explanation's rule as a table that can be read and checked.

    kind: what sort of rule ("skip-gram", "itself", "absence", "counting"). text: what it says. figures:
    what stands behind it, by name. tokens, fired: on how many tokens of the `explain` split it holds,
    and on how many of these the feature fires. matches: contexts in which it holds. blocked: contexts
    that come close and in which it does not hold, with what is missing.
    """

    kind: str
    text: str
    figures: dict[str, float] = {}
    tokens: int = 0
    fired: int = 0
    matches: tuple[Context, ...] = ()
    blocked: tuple[Context, ...] = ()


class Explanation(Record):
    """What an explainer concludes.

    labels: short names, one for each unrelated thing the feature responds to. description: what it
    fires on and what not. rule: executable, for minds that can give one. side: "input" (what it
    responds to) or "output" (what it does). coverage: share of the feature's activation mass on the
    `explain` split that lies on tokens the rule predicts to fire, or None without a rule.
    groups: those that it names, most activation first, with their levels and own tests, set by the
    loop. hypothesis: the number of the one that it states. rests_on: of all those that it is made
    from, where that is not the one alone. verdict: what the probes of these said, set by the loop;
    "untested" where none was run for them, None where it rests on no hypothesis. counts: those behind
    the verdict. said: the mind's own word on what it states, where one was asked for (see Verdict). cases: its rule
    line by line with examples, from explainers that make such a table.
    """

    labels: tuple[str, ...]
    description: str
    rule: Rule | None = None
    side: Literal["input", "output"] = "input"
    coverage: float | None = None
    notes: tuple[str, ...] = ()
    groups: tuple[MeasuredGroup, ...] = ()
    hypothesis: int | None = None
    rests_on: tuple[int, ...] = ()
    verdict: Standing | None = None
    counts: ProbeCounts | None = None
    said: str | None = None
    cases: tuple[RuleCase, ...] = ()


class Conclusion(Record):
    """How the loop ended for one feature."""

    status: Literal["concluded", "out_of_budget", "failed"]
    explanation: Explanation
    hypotheses: tuple[Hypothesis, ...] = ()
    probes: tuple[Probe, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    spent: dict[str, float] = {}
    error: str | None = None


def short(text: str, limit: int = 80) -> str:
    """The first `limit` characters on one line, with an ellipsis where something was cut."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def quoted(words: Sequence[str], limit: int = 8) -> str:
    """Words in quotes, comma-separated; the rest as a count."""
    shown = ", ".join(f"“{word}”" for word in words[:limit])
    return shown if len(words) <= limit else f"{shown} and {len(words) - limit} more"
