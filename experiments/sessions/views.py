"""What a session shows: frozen records, so that each can be JSON, HTML and terminal text alike.

As HTML (`_repr_html_`, for notebooks) a view is one self-contained piece: styles stand inline,
nothing is loaded or run, and every string passes `visible`, then Jinja2's escaping.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import cache
from typing import Any, Literal

from ...agents.notebook import Notebook
from ...agents.records import Explanation, Hypothesis, Probe, Record, Verdict
from ...sae.evidence import Exemplar
from ...sae.tokens import TokenActivations
from ..page import environment, template
from ..results import Cost, Result
from ..scoring import Score
from ..summary import group_line
from ..transcript import Trial

#: Tokens of a context that are shown before and after its peak.
BEFORE, AFTER = 24, 12


#: Contexts that there are to look at, by the name users type.
Kind = Literal["top", "spread", "silent", "near"]
KINDS: tuple[Kind, ...] = ("top", "spread", "silent", "near")


class View(Record):
    """Base of what a session's verbs return."""

    def _repr_html_(self) -> str:
        return html_of(self)


class Scale(Record):
    """What activations are to be compared with, in the SAE's units.

    fires_at: from here on a token counts as firing. typical_max: mean of the ten strongest contexts.
    """

    fires_at: float
    typical_max: float

    def shade(self, activation: float) -> float:
        """An activation as a share of the typical maximum, within 0 and 1."""
        return min(1.0, max(0.0, activation / self.typical_max)) if self.typical_max else 0.0

    def fires(self, activation: float) -> bool:
        """Whether a token counts as firing."""
        return activation >= self.fires_at > 0


class Reading(Record):
    """One text as the feature sees it.

    kind: where it is from: "top", "spread", "silent", "near miss" (all of the `explain` split) or
    "typed". tokens, activations: its tokens, in the SAE's units. maximum, peak: the highest
    activation and its place. fired: it reaches the feature's threshold.
    """

    kind: str
    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    maximum: float
    peak: int
    fired: bool

    @classmethod
    def of(cls, one: Exemplar | TokenActivations, kind: str, scale: Scale) -> Reading:
        """A reading of what was measured."""
        values = tuple(float(value) for value in one.activations)
        peak = max(range(len(values)), key=values.__getitem__, default=0)
        maximum = values[peak] if values else 0.0
        return cls(
            kind=kind,
            tokens=tuple(one.tokens),
            activations=values,
            maximum=maximum,
            peak=peak,
            fired=scale.fires(maximum),
        )

    def trimmed(self) -> Reading:
        """A long context cut down to what stands around its peak."""
        first, end = max(0, self.peak - BEFORE), self.peak + AFTER + 1
        cut = {
            "tokens": self.tokens[first:end],
            "activations": self.activations[first:end],
            "peak": self.peak - first,
        }
        return self.model_copy(update=cut)


class Readings(View):
    """Texts with their activations."""

    scale: Scale
    readings: tuple[Reading, ...]

    @classmethod
    def of_contexts(
        cls, kinds: Sequence[Kind], n: int, notebook: Notebook, scale: Scale
    ) -> Readings:
        """n contexts of each kind, from the `explain` split."""
        split, feature, seed = notebook.split, notebook.feature, notebook.seed
        found = {
            "top": lambda: split.top(feature, n),
            "spread": lambda: split.spread(feature, n, seed),
            "silent": lambda: split.silent(feature, n, seed),
            "near": lambda: split.near_misses(feature, n, seed),
        }
        readings = [
            Reading.of(one, "near miss" if kind == "near" else kind, scale)
            for kind in kinds
            for one in found[kind]()
        ]
        return cls(scale=scale, readings=tuple(readings))


class Row(Record):
    """Two tokens side by side; None where one text has nothing there."""

    left: str | None = None
    left_activation: float | None = None
    right: str | None = None
    right_activation: float | None = None


class Comparison(View):
    """Two texts, token by token. rows: equal tokens side by side."""

    scale: Scale
    left: Reading
    right: Reading
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, left: Reading, right: Reading, scale: Scale) -> Comparison:
        """Two readings, aligned by their tokens."""
        matcher = SequenceMatcher(None, left.tokens, right.tokens, autojunk=False)
        rows: list[Row] = []
        for _, a, b, c, d in matcher.get_opcodes():
            for place in range(max(b - a, d - c)):
                row: dict[str, Any] = {}
                if a + place < b:
                    row |= {"left": left.tokens[a + place]}
                    row |= {"left_activation": left.activations[a + place]}
                if c + place < d:
                    row |= {"right": right.tokens[c + place]}
                    row |= {"right_activation": right.activations[c + place]}
                rows.append(Row(**row))
        return cls(scale=scale, left=left, right=right, rows=tuple(rows))


class Judged(Record):
    """A hypothesis, and how it stands."""

    hypothesis: Hypothesis
    verdict: Verdict


class Hypotheses(View):
    """Hypotheses, and how they stand."""

    hypotheses: tuple[Judged, ...]

    @classmethod
    def of(cls, hypotheses: Sequence[Hypothesis], notebook: Notebook) -> Hypotheses:
        """Some hypotheses of a notebook."""
        return cls(
            hypotheses=tuple(
                Judged(hypothesis=one, verdict=notebook.verdict(one)) for one in hypotheses
            )
        )


class Trials(View):
    """Probes with their predictions, and what those that ran measured."""

    scale: Scale
    trials: tuple[Trial, ...]

    @classmethod
    def of(cls, probes: Sequence[Probe], notebook: Notebook, scale: Scale) -> Trials:
        """Some probes of a notebook."""
        outcomes = {outcome.probe: outcome for outcome in notebook.outcomes}
        trials = tuple(Trial(probe=one, outcome=outcomes.get(one.id)) for one in probes)
        return cls(scale=scale, trials=trials)


class Round(View):
    """What one step of the loop did.

    hypotheses: new ones. trials: the probes that ran. goes_on: another step could change something.
    note: why there is no other, where a budget says so.
    """

    scale: Scale
    hypotheses: tuple[Judged, ...]
    trials: tuple[Trial, ...]
    goes_on: bool
    note: str | None = None

    @classmethod
    def since(
        cls, had: int, ran: int, notebook: Notebook, scale: Scale, goes_on: bool, note: str | None
    ) -> Round:
        """What happened since a notebook had `had` hypotheses and `ran` outcomes."""
        probes = {outcome.probe for outcome in notebook.outcomes[ran:]}
        tried = [probe for probe in notebook.probes if probe.id in probes]
        return cls(
            scale=scale,
            hypotheses=Hypotheses.of(notebook.hypotheses[had:], notebook).hypotheses,
            trials=Trials.of(tried, notebook, scale).trials,
            goes_on=goes_on,
            note=note,
        )


class Undone(View):
    """What was taken back. verb, by: what it was, and who did it."""

    verb: str
    by: str


class Accepted(View):
    """An explanation that was accepted, as `sagescope results` has it.

    explainer, mind: who made it. scores, controls: by name, None where there are none; why: the
    reason for that, by what they are of.
    """

    feature: str
    explainer: str
    mind: str
    explanation: Explanation
    scores: dict[str, Score | None]
    controls: dict[str, dict[str, Score | None] | None]
    why: dict[str, str]
    cost: Cost

    @classmethod
    def of(cls, result: Result) -> Accepted:
        """The result of one feature."""
        why = {of: about["why"] for of, about in result.details.items() if "why" in about}
        return cls(
            feature=result.feature,
            explainer=result.explainer,
            mind=result.mind,
            explanation=Explanation(
                **result.explanation.model_dump(exclude={"rule"}), rule=result.explanation.rule
            ),
            scores=result.scores,
            controls=result.controls,
            why=why,
            cost=result.cost,
        )


class Overview(View):
    """A session at a glance.

    feature: SUBJECT/SAE/INDEX. density: share of the corpus's tokens on which it is active.
    waiting: probes that did not run yet. spent: as in `Conclusion`. accepted: labels of the
    explanation that stands, if one does.
    """

    feature: str
    run: str
    mind: str
    stratum: str
    lookup_pearson: float | None
    density: float
    scale: Scale
    hypotheses: int
    probes: int
    waiting: int
    spent: dict[str, float]
    explainer: str
    accepted: tuple[str, ...] | None


# -------------------------------------------------------------------- as HTML


def html_of(*views: View) -> str:
    """Views below each other, as one piece of HTML."""
    return _template().render(views=views)


def around_peak(reading: Reading) -> Sequence[tuple[str, float]]:
    """The tokens that are shown of a reading, each with its activation."""
    cut = reading if reading.kind == "typed" else reading.trimmed()
    pairs = list(zip(cut.tokens, cut.activations, strict=True))
    before = [("… ", 0.0)] if cut.peak < reading.peak else []
    after = [(" …", 0.0)] if len(reading.tokens) - reading.peak > len(pairs) - cut.peak else []
    return [*before, *pairs, *after]


@cache
def _template() -> Any:
    made = environment()
    made.globals.update(around_peak=around_peak, group_line=group_line, zip=zip)
    return template(made, "view.html.j2")
