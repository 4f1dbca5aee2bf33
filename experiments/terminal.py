"""What the commands print: tables, transcripts and a progress bar, with Rich.

Corpus text only gets here through `visible`, and never as markup.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from types import TracebackType
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ..agents.records import Hypothesis, Verdict, short
from ..sae.visible import visible
from .estimate import Estimate
from .results import Cost, Result
from .scoring import Item, Score
from .summary import BANDS, COLUMNS, ROWS, band_name, count, means, money, two_decimals
from .transcript import Transcript, Trial

#: Width of what is printed into a pipe or a file.
PIPED_WIDTH = 140
#: Tokens of an exemplar that are shown before and after its peak.
BEFORE, AFTER = 16, 8
STATUS_STYLES = {"confirmed": "green", "refuted": "red", "untested": "yellow", "open": "yellow"}


def console() -> Console:
    """Where results go: standard output."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


def text(value: object, style: str = "", limit: int | None = None) -> Text:
    """Anything as plain text that is safe to print."""
    plain = str(value) if limit is None else short(str(value), limit)
    return Text(visible(plain), style)


# -------------------------------------------------------------------- a run's tables


def results_table(results: Sequence[Result]) -> Table:
    """One row a feature: the explanation, and each score with its interval below it."""
    table = Table(box=box.SIMPLE_HEAD, show_lines=False, padding=(0, 1))
    table.add_column("feature", justify="right")
    table.add_column("stratum")
    table.add_column("explanation", ratio=1, min_width=24)
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            text(result.index),
            text(result.stratum or "–"),
            _explanation(result),
            *(_score(result.scores.get(name)) for name in COLUMNS),
        )
    return table


def means_table(results: Sequence[Result]) -> Table:
    """Means over features by stratum, each beside its controls."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title="Means over features, beside their controls (95 % intervals)",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("stratum")
    table.add_column("of", min_width=18)
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for row in means(results):
        first = row.of == "explanation"
        group = f"{row.group} ({row.features})" if first else ""
        scores = (_score(row.scores[name]) for name in COLUMNS)
        table.add_row(
            group,
            ROWS[row.of],
            *scores,
            style="" if first else "dim",
            end_section=row.of == list(ROWS)[-1],
        )
    return table


def recall_table(results: Sequence[Result]) -> Table:
    """Mean recall in each band of the activation range."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title="Recall by quantile of the feature's activation",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("stratum")
    table.add_column("of", min_width=18)
    for band in BANDS:
        table.add_column(band_name(band), justify="right", no_wrap=True)
    for row in means(results):
        first = row.of == "explanation"
        table.add_row(
            row.group if first else "",
            ROWS[row.of],
            *(two_decimals(recall) for recall in row.recalls),
            style="" if first else "dim",
            end_section=row.of == list(ROWS)[-1],
        )
    return table


def _explanation(result: Result) -> Text:
    if result.status == "failed":
        return text(f"failed: {result.error}", "red", 100).append(_cost(result.cost), "dim")
    shown = text("; ".join(result.explanation.labels) or result.explanation.description, "", 100)
    if result.explanation.verdict:
        verdict = result.explanation.verdict
        shown.append(f"\n{verdict}", STATUS_STYLES[verdict])
    if result.status != "concluded":
        shown.append(" (out of budget)", "yellow")
    return shown.append(_cost(result.cost), "dim")


def _cost(cost: Cost) -> str:
    """What a language model took, as a line of its own; "" for other minds."""
    if not cost.calls:
        return ""
    calls = f"{count(cost.calls)} call{'' if cost.calls == 1 else 's'}"
    return f"\n{calls}, {count(cost.tokens)} tokens, {money(cost.dollars)}"


def _score(score: Score | None) -> Text:
    if score is None or score.value is None:
        return Text("–", "dim")
    shown = Text(two_decimals(score.value))
    if score.low is not None and score.high is not None:
        shown.append(f"\n{two_decimals(score.low)}–{two_decimals(score.high)}", "dim")
    return shown


def facts_table(rows: Iterable[dict[str, Any]]) -> Table:
    """Features with how they fire: rows of the evidence's table."""
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("feature", "stratum", "lookup Pearson", "fired", "density", "mean", "maximum"):
        table.add_column(heading, justify="left" if heading == "stratum" else "right")
    for row in rows:
        table.add_row(
            str(row["feature"]),
            row["stratum"],
            two_decimals(row["lookup_pearson"]),
            f"{row['fired']:,}",
            f"{row['density']:.3%}",
            f"{row['mean']:.3g}",
            f"{row['maximum']:.3g}",
        )
    return table


def runs_table(rows: Iterable[dict[str, Any]]) -> Table:
    """Runs with their settings: rows of `sagescope runs --json`."""
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("run", "begun (UTC)", "done", "subject", "SAE", "explainer", "mind", "seed"):
        table.add_column(heading, justify="right" if heading in ("done", "seed") else "left")
    for row in rows:
        done = f"{row['done']}/{row['features']}"
        begun = row["created"][:16].replace("T", " ")
        settings = (row.get(name, "–") for name in ("subject", "sae", "explainer", "mind", "seed"))
        table.add_row(*map(text, (row["run"], begun, done, *settings)))
    return table


def evaluation_table(row: dict[str, Any]) -> Table:
    """What was measured of an SAE: a row of `sagescope evaluate --json`."""
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    for name, value in (
        ("variance unexplained", f"{row['unexplained']:.4f}"),
        ("L0", f"{row['l0']:.1f}"),
        ("loss (nats a token)", f"{row['loss']:.4f}"),
        ("loss with the SAE", f"{row['loss_with_sae']:.4f}"),
        ("loss with zeros", f"{row['loss_without']:.4f}"),
        ("loss recovered", f"{row['loss_recovered']:.4f}"),
        ("dead latents", f"{row['dead']:.2%}"),
        ("tokens (for losses)", f"{row['tokens']:,} ({row['loss_tokens']:,})"),
    ):
        table.add_row(name, value)
    most = max(row["densities"], default=0)
    for (low, high), n in zip(pairwise(row["density_edges"]), row["densities"], strict=True):
        label = f"density {10**low:.1e} to {10**high:.1e}"
        table.add_row(label, f"{'█' * round(30 * n / max(1, most)):<30} {n:>6,}")
    return table


def estimate_table(estimates: Sequence[Estimate], whole: Estimate) -> Table:
    """What each feature will take, and all together."""
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("feature", "calls", "tokens", "cost", "most calls", "most tokens", "most cost"):
        table.add_column(heading, justify="right")
    for one in [*estimates, whole]:
        if one is whole:
            table.add_section()
        table.add_row(
            "all" if one.feature is None else str(one.feature),
            count(one.calls),
            count(one.tokens),
            money(one.dollars),
            count(one.most_calls),
            count(one.most_tokens),
            money(one.most_dollars),
        )
    return table


# -------------------------------------------------------------------- one feature's transcript


def transcript_page(story: Transcript) -> RenderableType:
    """A feature's whole story, in the order in which it happened."""
    parts: list[RenderableType] = [*_head(story)]
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
        yield from (text(f"• {label}", "bold green") for label in result.explanation.labels)
        yield text(result.explanation.description)
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


def _scores_of_one(result: Result) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("score of")
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for of, heading in ROWS.items():
        scores = (result.scores if of == "explanation" else result.controls.get(of)) or {}
        style = "" if of == "explanation" else "dim"
        table.add_row(heading, *(_score(scores.get(name)) for name in COLUMNS), style=style)
    return table


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
    (fired, should), (silent, should_not) = verdict.fires_as_predicted, verdict.silent_as_predicted
    return Text.assemble(
        (verdict.status, STATUS_STYLES[verdict.status]),
        f"  fired {fired}/{should}, silent {silent}/{should_not} as predicted, "
        f"posterior {two_decimals(verdict.posterior)}",
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


# -------------------------------------------------------------------- progress


class ProgressBar:
    """A bar a stage on standard error, with rate and time left; nothing where nobody looks.

    It is a `sagescope.experiments.jobs.Watch`, and a context manager.
    """

    def __init__(self) -> None:
        to = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<11}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=to,
            disable=not to.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done)

    def __enter__(self) -> ProgressBar:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()


class _Rate(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Any) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if not speed else f"{60 * speed:.1f}/min")
