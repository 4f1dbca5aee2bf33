"""One feature's transcript for the terminal: what was thought, predicted, measured and concluded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..agents.records import Explanation, Hypothesis, RuleCase, Verdict, short
from ..sae.visible import visible
from .results import Result
from .scoring import Item
from .summary import COLUMNS, ROWS, counts_of, group_line, two_decimals
from .tables import score_cell
from .terminal import STATUS_STYLES, text
from .transcript import Transcript, Trial

#: Tokens of an exemplar that are shown before and after its peak.
BEFORE, AFTER = 16, 8


def transcript_page(story: Transcript) -> RenderableType:
    """A feature's whole story, in the order in which it happened."""
    parts: list[RenderableType] = [*_head(story)]
    if story.result and story.result.explanation.cases:
        parts += [_heading("Rules"), *_cases(story.result.explanation.cases, story)]
    if story.facts:
        parts += [_heading("Where it fires (explain split)"), *_exemplars(story)]
    parts.append(_heading(f"Hypotheses ({len(story.hypotheses)})"))
    for hypothesis in story.hypotheses:
        parts += _hypothesis(hypothesis, story)
    for note in story.notes:
        parts.append(text(f"note: {note}", "dim"))
    if story.items:
        parts += [_heading("Texts made from the explanation"), *map(_item, story.items)]
    if story.traceback:
        parts += [_heading("Error"), *(text(line, "red") for line in story.traceback.splitlines())]
    return Group(*parts)


def _head(story: Transcript) -> Iterator[RenderableType]:
    result = story.result
    if result is None:
        yield Text(f"Feature {story.feature}", "bold").append("  not done", "yellow")
    else:
        yield text(result.feature, "bold").append(f"  {result.status}", "dim")
        if result.error:
            yield text(result.error, "red")
        yield from _labels(result.explanation)
        yield text(result.explanation.description)
        yield from _standing(result.explanation)
        yield from (text(note, "dim") for note in result.explanation.notes)
    if story.facts:
        stats = story.facts["stats"]
        yield text(
            f"{story.facts['stratum']} (a token table predicts it with "
            f"{two_decimals(story.facts['lookup_pearson'])}); fires on {stats['density']:.3%} of "
            f"{stats['tokens']:,} tokens; typical maximum {stats['typical_max']:.3g}, counts as "
            f"firing from {stats['fires_at']:.3g}",
            "dim",
        )
    if result is not None and result.scores.get("predictive_pearson"):
        yield _scores_of_one(result)


def _labels(explanation: Explanation) -> Iterator[RenderableType]:
    """Each label with what was measured of it, and the groups that have no label of their own."""
    groups = {group.label: group for group in explanation.groups}
    for name in dict.fromkeys([*explanation.labels, *groups]):
        line = text(f"• {name}", "bold green" if name in explanation.labels else "green")
        if name in groups:
            line.append(f"  {group_line(groups[name])}", "dim")
        yield line


def _standing(explanation: Explanation) -> Iterator[RenderableType]:
    """What the probes said of what it states, and the mind's own word beside it."""
    if explanation.verdict and explanation.counts:
        line = Text(explanation.verdict, STATUS_STYLES[explanation.verdict])
        line.append(f"  {counts_of(explanation.counts)}", "dim")
        if explanation.said:
            line.append(f"; by the mind's own word {visible(explanation.said)}", "dim")
        yield line


def _scores_of_one(result: Result) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("score of")
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for of, heading in ROWS.items():
        scores = (result.scores if of == "explanation" else result.controls.get(of)) or {}
        style = "" if of == "explanation" else "dim"
        table.add_row(heading, *(score_cell(scores.get(name)) for name in COLUMNS), style=style)
    return table


def _cases(cases: Sequence[RuleCase], story: Transcript) -> Iterator[RenderableType]:
    """Each line of the rule, with contexts in which it holds and in which it is blocked."""
    for case in cases:
        line = Text.assemble((f"{visible(case.kind)}  ", "bold"), visible(case.text))
        figures = "".join(f", {visible(name)} {v:.3g}" for name, v in case.figures.items())
        yield line.append(f"  fired on {case.fired:,} of {case.tokens:,}{figures}", "dim")
        for mark, style, contexts in (("✓", "green", case.matches), ("✗", "red", case.blocked)):
            for context in contexts:
                why = f"{visible(context.why)}: " if context.why else ""
                shown = _shaded(context.tokens, context.activations, story)
                yield Padding(
                    Text.assemble((f"{mark} ", style), (why, "dim"), *shown), (0, 0, 0, 3)
                )


def _heading(title: str) -> RenderableType:
    return Padding(Text(title, "bold underline"), (1, 0, 0, 0))


def _exemplars(story: Transcript) -> Iterator[RenderableType]:
    for name, exemplars in story.exemplars.items():
        for exemplar in exemplars:
            tokens, values, peak = exemplar["tokens"], exemplar["activations"], exemplar["peak"]
            first, last = max(0, peak - BEFORE), peak + AFTER + 1
            yield Text.assemble(
                (f"{max(values, default=0.0):8.2f} ", "cyan"),
                (f"{name:<6} ", "dim"),
                *_shaded(tokens[first:last], values[first:last], story),
            )


def _shaded(
    tokens: Sequence[str], values: Sequence[float], story: Transcript
) -> Iterator[tuple[str, str]]:
    """Tokens; those that fire stand out."""
    fires_at = story.facts["stats"]["fires_at"] if story.facts else 0.0
    for token, value in zip(tokens, values, strict=True):
        fires = value >= fires_at > 0
        yield visible(token), "black on yellow" if fires else "" if value <= 0 else "yellow"


def _hypothesis(hypothesis: Hypothesis, story: Transcript) -> Iterator[RenderableType]:
    verdict = story.verdicts.get(hypothesis.id)
    head = Text(f"\nH{hypothesis.id} ", "bold")
    head.append_text(_verdict(verdict))
    head.append(f"  round {hypothesis.round}, {visible(hypothesis.kind)}", "dim")
    if hypothesis.parent is not None:
        head.append(f", refines H{hypothesis.parent}", "dim")
    yield head
    yield Padding(text(hypothesis.text), (0, 0, 0, 3))
    for trial in story.trials_of(hypothesis.id):
        yield Padding(_trial(trial, story), (0, 0, 0, 3))


def _verdict(verdict: Verdict | None) -> Text:
    if verdict is None:
        return Text("no verdict", "yellow")
    said = f"; by the mind's own word {visible(verdict.said)}" if verdict.said else ""
    return Text.assemble(
        (verdict.status, STATUS_STYLES[verdict.status]),
        f"  {counts_of(verdict)}, posterior {two_decimals(verdict.posterior)}{said}",
    )


def _trial(trial: Trial, story: Transcript) -> Text:
    probe, outcome = trial.probe, trial.outcome
    predicted = "fires" if probe.fires else "silent"
    if outcome is None:
        return Text.assemble(
            ("?", "yellow"), f" P{probe.id} predicted {predicted}, not run  "
        ).append(visible(short(probe.text, 90)), "dim")
    mark = ("✓", "green") if outcome.agreed else ("✗", "red")
    measured = "fires" if outcome.fired else "silent"
    return Text.assemble(
        mark,
        f" P{probe.id} predicted {predicted:<6} measured {measured:<6} ",
        (f"{outcome.maximum:8.2f}  ", "cyan"),
        (f"{visible(probe.purpose)}: ", "dim"),
        *_shaded(outcome.tokens, outcome.activations, story),
    )


def _item(item: Item) -> Text:
    if item.passed is None:
        return Text.assemble(
            ("? ", "yellow"), visible(f"{item.scorer}: {item.text} ({item.error})")
        )
    mark = ("✓ ", "green") if item.passed else ("✗ ", "red")
    value = (f"{item.maximum or 0.0:8.2f}  ", "cyan")
    return Text.assemble(mark, value, (f"{item.scorer}: ", "dim"), visible(short(item.text, 110)))
