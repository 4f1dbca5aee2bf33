"""Tables for the terminal: what runs found, what their features are, what a job would cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..sae.visible import visible
from .calibration import Calibration
from .collisions import Collisions
from .comparison import Comparison, Row
from .estimate import Estimate
from .quartiles import low_activation_line
from .results import Cost, Result
from .scoring import Score
from .scoring.compare import NOT_SHOWN, Difference
from .summary import (
    BANDS,
    BLIND_LINE,
    COLUMNS,
    NO_CONTROL,
    NO_CONTROL_LINE,
    ROWS,
    UNCONTROLLED,
    FailedItems,
    Means,
    band_name,
    columns_of,
    count,
    means,
    money,
    two_decimals,
)
from .terminal import PIPED_WIDTH, STATUS_STYLES, text

#: From this width on, a score has a column.
WIDE = PIPED_WIDTH
MEANS_TITLE = "Means over features, beside their controls (95 % intervals)"
RECALL_TITLE = "Recall by quantile of the feature's activation"


def results_page(results: Sequence[Result], width: int) -> Group:
    """A run's tables: its features, the means beside their controls, recall by quantile.

    width: of the terminal; a narrow one gets the same numbers below one another.
    """
    columns = columns_of(results)
    wide = width >= WIDE + 10 * max(0, len(columns) - len(COLUMNS))
    shown = results_table if wide else results_list
    tables: list[RenderableType] = [shown(results, columns)]
    if any(score for result in results for score in result.scores.values()):
        found = means(results)
        headings = [*columns.values(), "failed\nitems"]
        scores = [[*_mean_cells(row, columns), _failed_cell(row.failed)] for row in found]
        bands = [[Text(two_decimals(recall)) for recall in row.recalls] for row in found]
        table = _means_wide if wide else partial(_means_narrow, width=width)
        tables += table(MEANS_TITLE, headings, found, scores)
        tables.append(text(BLIND_LINE, "dim"))
        if any(row.uncontrolled for row in found):
            tables.append(text(NO_CONTROL_LINE, "yellow"))
        tables += table(RECALL_TITLE, [*map(band_name, BANDS)], found, bands)
        tables.append(text(low_activation_line(results), "dim"))
    return Group(*tables)


def others_table(results: Sequence[Result], columns: Mapping[str, str]) -> Table:
    """Means of scores that have no column in `results_page`, a row each.

    columns: score → heading, at least one. The explanation's, by stratum, beside what another
    feature's explanation scores.
    """
    own = [row for row in means(results, columns) if row.of == "explanation"]
    random = next(
        (row for row in means(results, columns)[::-1] if row.of == "random_explanation"), None
    )
    table = _titled("Other scores: means over features (95 % intervals)")
    table.add_column("")
    for row in [*own, *filter(None, [random])]:
        of = f"{row.group} ({row.features})"
        table.add_column(
            of if row.of == "explanation" else f"{ROWS[row.of]}\n{of}", justify="right"
        )
    table.add_column("failed\nitems", justify="right")
    for name, heading in columns.items():
        shown = [_on_a_line(row, name) for row in [*own, *filter(None, [random])]]
        failed = sum(one.failed for result in results if (one := result.scores.get(name)))
        table.add_row(heading, *shown, str(failed))
    return table


def _on_a_line(row: Means, name: str) -> str:
    """A mean with its interval, and its n where features have no value."""
    score = row.scores[name]
    if score.value is None:
        return "–"
    mark = NO_CONTROL if name in row.uncontrolled else ""
    ends = f" {two_decimals(score.low)}–{two_decimals(score.high)}" if score.low is not None else ""
    few = f", n {score.n}" if score.n < row.features else ""
    return f"{two_decimals(score.value)}{mark}{ends}{few}"


def results_table(results: Sequence[Result], columns: Mapping[str, str] = COLUMNS) -> Table:
    """One row a feature: the explanation, and each score with its interval below it."""
    table = Table(box=box.SIMPLE_HEAD, show_lines=False, padding=(0, 1))
    table.add_column("feature", justify="right")
    table.add_column("stratum")
    table.add_column("explanation", ratio=1, min_width=22)
    for heading in columns.values():
        table.add_column(_stacked(heading), justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            text(result.index),
            text(result.stratum or "–"),
            _explanation(result),
            *(_own_cell(result, name) for name in columns),
        )
    return table


def results_list(results: Sequence[Result], columns: Mapping[str, str] = COLUMNS) -> Table:
    """The same for a narrow terminal: the scores in words, without their intervals."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("feature", justify="right")
    table.add_column("explanation and scores", ratio=1)
    for result in results:
        cell = _explanation(result).append(f"\n{result.stratum or 'no stratum'}", "dim")
        for name, heading in columns.items():
            score = result.scores.get(name)
            if score is not None and score.value is not None:
                cell.append(f"  {heading} ", "dim").append(two_decimals(score.value))
                cell.append(NO_CONTROL if name in result.uncontrolled else "")
        table.add_row(text(result.index), cell)
    return table


def _means_wide(
    title: str, headings: Sequence[str], rows: Sequence[Means], cells: Sequence[Sequence[Text]]
) -> list[Table]:
    """One table: a row for each stratum and control."""
    table = _titled(title)
    table.add_column("stratum")
    table.add_column("of", min_width=18)
    for heading in headings:
        table.add_column(_stacked(heading), justify="right", no_wrap=True)
    for row, shown in zip(rows, cells, strict=True):
        first = row.of == "explanation"
        table.add_row(
            f"{row.group} ({row.features})" if first else "",
            ROWS[row.of],
            *shown,
            style="" if first else "dim",
            end_section=row.of == rows[-1].of,
        )
    return [table]


def _means_narrow(
    title: str,
    headings: Sequence[str],
    rows: Sequence[Means],
    cells: Sequence[Sequence[Text]],
    width: int,
) -> list[Table]:
    """Tables for each stratum: a row for each score, a column for each control that fits."""
    tables = []
    for group in dict.fromkeys(row.group for row in rows):
        own, *others = [place for place, row in enumerate(rows) if row.group == group]
        for part in _fitting(others, [ROWS[row.of] for row in rows], headings, width) or [[]]:
            table = _titled(f"{title}: {group} ({rows[own].features})")
            table.add_column("")
            for place in (own, *part):
                table.add_column(ROWS[rows[place].of], justify="right")
            for number, heading in enumerate(headings):
                table.add_row(heading, *(cells[place][number] for place in (own, *part)))
            tables.append(table)
    return tables


def _fitting(
    places: Sequence[int], names: Sequence[str], headings: Sequence[str], width: int
) -> list[list[int]]:
    """The columns at `places` in parts, each as many as fit beside headings and explanation."""
    free = width - max(map(len, headings)) - len(ROWS["explanation"]) - 6
    parts: list[list[int]] = []
    left = 0
    for place in places:
        need = len(names[place]) + 2
        if not parts or need > left:
            parts, left = [*parts, []], free
        parts[-1].append(place)
        left -= need
    return parts


def _titled(title: str) -> Table:
    return Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")


def _explanation(result: Result) -> Text:
    if result.status == "failed":
        return text(f"failed: {result.error}", "red", 100).append(_cost(result.cost), "dim")
    shown = text("; ".join(result.explanation.labels) or result.explanation.description, "", 100)
    if result.explanation.verdict:
        verdict = result.explanation.verdict
        shown.append(f"\n{verdict}", STATUS_STYLES[verdict])
    if result.explanation.said:
        shown.append(f" (by its own word {visible(result.explanation.said)})", "dim")
    if result.status != "concluded":
        shown.append(" (out of budget)", "yellow")
    if not result.controlled:
        shown.append(f"\n{UNCONTROLLED}", "yellow")
    return shown.append(_cost(result.cost), "dim")


def _cost(cost: Cost) -> str:
    """What a language model took, as a line of its own; "" for other minds."""
    if not cost.calls:
        return ""
    calls = f"{count(cost.calls)} call{'' if cost.calls == 1 else 's'}"
    return f"\n{calls}, {count(cost.tokens)} tokens, {money(cost.dollars)}"


def _stacked(heading: str) -> str:
    """A heading of two words or more below one another, where that saves room."""
    return heading.replace(" ", "\n", 1) if len(heading) > 13 else heading


def _own_cell(result: Result, name: str) -> Text:
    """A feature's score, marked where no control stands beside it."""
    score = result.scores.get(name)
    return score_cell(score, mark=NO_CONTROL if name in result.uncontrolled else "")


def _mean_cells(row: Means, columns: Iterable[str]) -> list[Text]:
    """Means with what they leave out: how many features they are over, if not all."""
    return [
        score_cell(score, row.features, NO_CONTROL if name in row.uncontrolled else "")
        for name in columns
        for score in [row.scores[name]]
    ]


def _failed_cell(failed: FailedItems | None) -> Text:
    if failed is None:
        return Text("–", "dim")
    cell = Text(f"{failed.mean:.1%}")
    return cell.append(f"\n{failed.scorer} {failed.worst:.0%}", "dim") if failed.scorer else cell


def score_cell(score: Score | None, of: int | None = None, mark: str = "") -> Text:
    """A score with its interval below it, and its n where that is below `of`. mark: behind it."""
    if score is None or score.value is None:
        return Text("–", "dim")
    shown = Text(two_decimals(score.value)).append(mark, "yellow")
    if score.low is not None and score.high is not None:
        shown.append(f"\n{two_decimals(score.low)}–{two_decimals(score.high)}", "dim")
    if of is not None and score.n < of:
        shown.append(f"\nn {score.n}", "dim")
    return shown


def comparison_page(found: Comparison) -> Group:
    """A table a pair of runs, and how many features are left out."""
    pairs = list(dict.fromkeys((row.left, row.right) for row in found.rows))
    tables: list[RenderableType] = [_comparison(left, right, found.rows) for left, right in pairs]
    left_out = f"; {found.left_out} that not all runs have are left out" if found.left_out else ""
    tables.append(text(BLIND_LINE, "dim"))
    return Group(*tables, text(f"Paired over {found.features} common features{left_out}."))


def _comparison(left: str, right: str, rows: Sequence[Row]) -> Table:
    table = _titled(f"{visible(left)} less {visible(right)}")
    for heading in ("stratum", "score", left, right):
        table.add_column(text(heading), justify="right" if heading in (left, right) else "left")
    for heading in ("difference", "95 % interval", "p (Holm)"):
        table.add_column(heading, justify="right")
    own = [row for row in rows if (row.left, row.right) == (left, right)]
    for place, row in enumerate(own):
        one = row.found
        first = not place or own[place - 1].group != row.group
        table.add_row(
            f"{row.group} ({one.n})" if first else "",
            COLUMNS.get(row.score, row.score),
            two_decimals(one.left),
            two_decimals(one.right),
            two_decimals(one.value) if one.shown else text(NOT_SHOWN, "dim"),
            _between(one),
            "–" if one.adjusted is None else f"{one.adjusted:.3f}",
            end_section=place + 1 == len(own) or own[place + 1].group != row.group,
        )
    return table


def collisions_page(found: Collisions, results: Sequence[Result]) -> Group:
    """Pairs of features whose labels are near each other, and how many features these are."""
    labels = {one.feature: "; ".join(one.explanation.labels) for one in results}
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("feature", "labels", "feature", "labels", "cosine"):
        table.add_column(heading, justify="right" if heading in ("feature", "cosine") else "left")
    for one, other, cosine in found.pairs:
        sides = [
            text(part) for side in (one, other) for part in (side.rpartition("/")[2], labels[side])
        ]
        table.add_row(*sides, two_decimals(cosine))
    line = text(found.line() or "With fewer than two labelled features nothing can collide.")
    return Group(table, line) if found.pairs else Group(line)


def calibration_page(found: Calibration) -> Group:
    """How far a run's verdicts hold on fresh probes: by bin of posterior, and in all."""
    table = _titled("Posteriors and fresh probes of the weaker side (95 % intervals)")
    for heading in ("posterior", "hypotheses", "mean posterior", "fresh probes agree", "interval"):
        table.add_column(heading, justify="right")
    for one in found.bins:
        table.add_row(
            f"{two_decimals(one.low)}–{two_decimals(one.high)}",
            str(one.n),
            two_decimals(one.posterior),
            two_decimals(one.observed.value),
            _between(one.observed),
        )
    whole = Table(box=box.SIMPLE_HEAD, show_header=False)
    for name, score in (
        ("expected calibration error", found.ece),
        ("fresh probes of confirmed hypotheses that agree", found.precision),
        ("confirmed hypotheses that hold on both sides", found.held),
    ):
        whole.add_row(name, two_decimals(score.value), _between(score), score.reason or "")
    return Group(table, whole)


def _between(score: Score | Difference) -> str:
    known = score.low is not None
    return f"{two_decimals(score.low)} to {two_decimals(score.high)}" if known else "–"


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
