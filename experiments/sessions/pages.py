"""A session's views in a terminal, with Rich.

Corpus text only gets here through `visible`, and never as markup. Where there is no colour, tokens
that fire stand in «guillemets».
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import singledispatch
from itertools import groupby

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...sae.visible import visible
from ..scoring import Score
from ..summary import COLUMNS, counts_of, group_line
from ..terminal import STATUS_STYLES, text
from ..transcript import Trial
from .steered import SteeredTexts
from .verbs import VERBS
from .views import (
    Accepted,
    Comparison,
    Hypotheses,
    Judged,
    Overview,
    Reading,
    Readings,
    Round,
    Scale,
    Trials,
    Undone,
    View,
    around_peak,
)

#: The palest and the strongest shade, as red, green and blue; the text on them is black.
PALE, STRONG = (255, 246, 214), (255, 150, 20)


class Shaded:
    """Tokens on a ground that is the stronger, the more active they are. lead: what stands before."""

    def __init__(self, pairs: Iterable[tuple[str, float]], scale: Scale, lead: Text | None = None):
        self.pairs, self.scale, self.lead = list(pairs), scale, lead or Text()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        plain = console.no_color or console.color_system is None
        yield self.lead.copy().append_text(self._marked() if plain else self._coloured())

    def _coloured(self) -> Text:
        line = Text()
        for token, value in self.pairs:
            line.append(
                visible(token), _style(self.scale.shade(value), fires=self.scale.fires(value))
            )
        return line

    def _marked(self) -> Text:
        line = Text()
        for fires, group in groupby(self.pairs, lambda pair: self.scale.fires(pair[1])):
            shown = "".join(visible(token) for token, _ in group)
            words = shown.lstrip(" ")
            line.append(f"{shown[: len(shown) - len(words)]}«{words}»" if fires else shown)
        return line


def _style(shade: float, fires: bool) -> str:
    if shade <= 0:
        return ""
    red, green, blue = (
        round(pale + (strong - pale) * shade) for pale, strong in zip(PALE, STRONG, strict=True)
    )
    return f"{'bold ' if fires else ''}black on rgb({red},{green},{blue})"


@singledispatch
def page(view: View) -> RenderableType:
    """A view as something to print."""
    raise TypeError(f"There is no page for {type(view).__name__}.")


@page.register
def _(view: Readings) -> RenderableType:
    if not view.readings:
        return Text("There are none.", "dim")
    return Group(*(_reading(one, view.scale) for one in view.readings))


def _reading(one: Reading, scale: Scale) -> RenderableType:
    lead = Text.assemble((f"{one.maximum:8.2f} ", "cyan"), (f"{one.kind:<9} ", "dim"))
    return Shaded(around_peak(one), scale, lead)


@page.register
def _(view: Comparison) -> RenderableType:
    table = Table(box=box.SIMPLE, show_header=False)
    for _place in range(2):
        table.add_column()
        table.add_column(justify="right")
    for row in view.rows:
        sides = ((row.left, row.left_activation), (row.right, row.right_activation))
        table.add_row(*(cell for side in sides for cell in _cells(*side, view.scale)))
    return table


def _cells(token: str | None, value: float | None, scale: Scale) -> list[RenderableType]:
    if token is None or value is None:
        return ["", ""]
    return [Shaded([(token, value)], scale), Text(f"{value:.2f}" if value else "", "cyan")]


@page.register
def _(view: Hypotheses) -> RenderableType:
    if not view.hypotheses:
        return Text("No hypotheses.", "dim")
    return Group(*(_standing(one) for one in view.hypotheses))


def _standing(one: Judged) -> RenderableType:
    hypothesis, verdict = one.hypothesis, one.verdict
    head = Text.assemble(
        (f"H{hypothesis.id} ", "bold"),
        (verdict.status, STATUS_STYLES[verdict.status]),
        f"  {counts_of(verdict)}",
        (f"  {visible(hypothesis.kind)}", "dim"),
    )
    if hypothesis.parent is not None:
        head.append(f", replaces H{hypothesis.parent}", "dim")
    if verdict.replaced or verdict.dropped:
        head.append(", given up" if verdict.dropped else ", replaced since", "dim")
    if hypothesis.rule is None:
        head.append(", in words alone", "dim")
    return Group(head, Padding(text(hypothesis.text), (0, 0, 0, 3), expand=False))


@page.register
def _(view: Trials) -> RenderableType:
    return _trials(view.trials, view.scale)


def _trials(trials: Sequence[Trial], scale: Scale) -> RenderableType:
    if not trials:
        return Text("No probes.", "dim")
    return Group(*(_trial(one, scale) for one in trials))


def _trial(one: Trial, scale: Scale) -> RenderableType:
    probe, outcome = one.probe, one.outcome
    predicted = "fires" if probe.fires else "silent"
    lead = Text.assemble(f"P{probe.id:<3} H{probe.hypothesis} predicted {predicted:<6} ")
    if outcome is None:
        waiting = Text.assemble(("? ", "yellow"), lead, ("not run yet  ", "dim"))
        return waiting.append(visible(probe.text))
    mark = ("✓ ", "green") if outcome.agreed else ("✗ ", "red")
    measured = "fires" if outcome.fired else "silent"
    lead = Text.assemble(
        mark, lead, f"measured {measured:<6} ", (f"{outcome.maximum:7.2f} ", "cyan")
    )
    lead.append(f"{visible(probe.purpose)}: ", "dim")
    return Shaded(zip(outcome.tokens, outcome.activations, strict=True), scale, lead)


@page.register
def _(view: Round) -> RenderableType:
    surprises = [one for one in view.trials if one.outcome and not one.outcome.agreed]
    note = view.note or (
        "Another step may change something."
        if view.goes_on
        else "Another step would change nothing."
    )
    return Group(
        *(_trial(one, view.scale) for one in surprises),
        *(_standing(one) for one in view.hypotheses),
        text(
            f"{len(view.trials)} probes ran, {len(surprises)} not as predicted (shown; `probes` "
            f"shows all). {note}",
            "dim",
        ),
    )


@page.register
def _(view: Undone) -> RenderableType:
    return text(f"Taken back: {view.verb}, by {view.by}.")


@page.register
def _(view: Accepted) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("score of")
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    scored = {"explanation": view.scores, **view.controls}
    for of, scores in scored.items():
        shown = scores or {}
        table.add_row(of.replace("_", " "), *(_score(shown.get(name)) for name in COLUMNS))
    return Group(
        text("; ".join(view.explanation.labels), "bold green"),
        text(view.explanation.description),
        *(text(f"• {one.label}: {group_line(one)}", "dim") for one in view.explanation.groups),
        text(f"{view.feature}, by {view.explainer}", "dim"),
        *([table] if any(any(scores.values()) for scores in scored.values() if scores) else []),
        *(
            text(f"{of.replace('_', ' ')}: not scored, {why}", "dim")
            for of, why in view.why.items()
        ),
    )


def _score(score: Score | None) -> Text:
    if score is None or score.value is None:
        return Text("–", "dim")
    return Text(f"{score.value:.2f}")


@page.register
def _(view: SteeredTexts) -> RenderableType:
    lines: list[RenderableType] = [
        Text.assemble(
            (f"{visible(view.prompt)} …", "bold"), f"  by {view.strength:+g} typical maxima"
        )
    ]
    if view.gate_line:
        lines.append(text(view.gate_line, "yellow" if view.opened is False else "dim"))
    for one in view.texts:
        head = Text.assemble(
            (f"{one.kind}", "bold"), "" if one.steered else ("  not steered", "dim")
        )
        head.append(
            f"  KL {one.kl:.3f} nats a token, activation up to {one.maximum:.3g}, mean {one.mean:.3g}",
            "cyan",
        )
        shown = Shaded(zip(one.tokens, one.activations, strict=True), view.scale)
        lines += [head, Padding(shown, (0, 0, 0, 3), expand=False)]
    return Group(*lines, text(view.note, "dim"))


@page.register
def _(view: Overview) -> RenderableType:
    lines = [
        text(view.feature, "bold"),
        text(
            f"{view.stratum}; active on {view.density:.3%} of the tokens; typical maximum "
            f"{view.scale.typical_max:.3g}, counts as firing from {view.scale.fires_at:.3g}"
        ),
        text(
            f"run {view.run}, mind {view.mind}: {view.hypotheses} hypotheses, {view.probes} probes"
            + (f", {view.waiting} of them not run yet" if view.waiting else ""),
            "dim",
        ),
    ]
    if view.accepted is not None:
        lines.append(text(f"accepted: {'; '.join(view.accepted)} (by {view.explainer})", "green"))
    return Group(*lines)


def help_page(name: str = "") -> RenderableType:
    """All that can be typed, or how one verb is."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for verb in [VERBS[name]] if name in VERBS else VERBS.values():
        table.add_row(Text(verb.usage, "bold"), Text(verb.about))
    if name in VERBS:
        return table
    table.add_row(Text("leave", "bold"), Text("Leave, as Ctrl-D does; all is kept."))
    rule = Text("A RULE is like  word: bank, banks @ .9; shape: digits @ .3  or JSON.", "dim")
    return Group(table, rule)
