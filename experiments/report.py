"""The report: one run as one self-contained HTML page.

The page loads nothing and runs nothing (its content policy forbids both), so that text from a
corpus can do no harm in it. Every string passes `visible`, then Jinja2's escaping.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from ..agents.records import Context, Outcome, RuleCase
from ..agents.rules.match import predict
from ..sae.errors import SagescopeError
from ..sae.paths import new_file
from .circuit_figure import circuit_figure, circuit_style
from .journal import Run
from .page import environment, template
from .quartiles import low_activation, low_activation_line
from .results import Result
from .summary import (
    BANDS,
    BLIND_LINE,
    NO_CONTROL,
    NO_CONTROL_LINE,
    ROWS,
    band_name,
    columns_of,
    control_line,
    cost_line,
    count,
    group_line,
    means,
    money,
    scores_of,
    two_decimals,
    verdict_line,
    word_line,
)
from .transcript import Transcript, transcript_of

#: Tokens of an exemplar that are shown before and after its peak.
BEFORE, AFTER = 32, 16
#: Of the run's settings, those on the page.
CONFIG = ("subject", "sae", "explainer", "mind", "seed", "sagescope")


@dataclass(frozen=True)
class Piece:
    """Neighbouring tokens that are shown alike.

    space: the spaces before a token that is shaded, which are not. value: the activation, None for tokens that are not active. shade: it as a share of the typical
    maximum, 0 to 1. predicted: the rule says that the token fires.
    """

    text: str
    space: str = ""
    value: float | None = None
    shade: float = 0.0
    predicted: bool = False


def write_report(run: Run, output: Path) -> None:
    """Write the page for a run to `output`: to a file whole or not at all, through links.

    What is there and is no file, a pipe or /dev/stdout for instance, stays and is written into.
    """
    page = render_report(run)
    try:
        if output.exists() and not output.is_file():
            output.write_text(page, encoding="utf-8")
            return
        with new_file(Path(os.path.realpath(output))) as draft:
            draft.write_text(page, encoding="utf-8")
            draft.chmod(0o644)
    except OSError as error:
        raise SagescopeError(
            f"The report {output} could not be written: {error.strerror}."
        ) from error


def render_report(run: Run) -> str:
    """The page for a run as HTML."""
    stories = [transcript_of(run, feature) for feature in run.features]
    results = [story.result for story in stories if story.result]
    with run.reading():
        config = {name: run.config[name] for name in CONFIG}
    return _template().render(
        run=run,
        config=config,
        stories=stories,
        done=len(results),
        means=means(results) if results else [],
        verdicts=verdict_line(results) if results else "",
        words=word_line(results),
        uncontrolled=control_line(results),
        blind_line=BLIND_LINE,
        low_line=low_activation_line(results),
        cost=cost_line(results),
        columns=columns_of(results),
        no_control=NO_CONTROL,
        no_control_line=NO_CONTROL_LINE if any(one.uncontrolled for one in results) else "",
        rows=ROWS,
        bands=[band_name(band) for band in BANDS],
    )


@cache
def _template() -> Any:
    made = environment()
    made.filters.update(number=two_decimals, figure=_figure, count=count, money=money)
    made.globals.update(
        pieces_of=pieces_of,
        outcome_pieces=outcome_pieces,
        context_pieces=context_pieces,
        figures_of=figures_of,
        scores_of=scores_of,
        recalls_of=recalls_of,
        low_activation=low_activation,
        group_line=group_line,
        circuit_figure=circuit_figure,
        circuit_style=circuit_style,
    )
    return template(made, "report.html.j2")


def _figure(value: float) -> str:
    """An activation: four significant digits."""
    return f"{value:.4g}"


def pieces_of(story: Transcript, exemplar: dict[str, Any]) -> list[Piece]:
    """An exemplar around its peak."""
    tokens, peak = exemplar["tokens"], exemplar["peak"]
    first, last = max(0, peak - BEFORE), peak + AFTER + 1
    shown = list(_pieces(story, tokens, exemplar["activations"]))[first:last]
    dots = Piece("…")
    ends = ([dots] if first else [], [dots] if last < len(tokens) else [])
    return _joined([*ends[0], *shown, *ends[1]])


def outcome_pieces(story: Transcript, outcome: Outcome) -> list[Piece]:
    """The text of a probe as it was measured."""
    return _joined([*_pieces(story, outcome.tokens, outcome.activations)])


def context_pieces(story: Transcript, context: Context) -> list[Piece]:
    """A context of a rule's table, with the token that the rule speaks of set apart."""
    pieces = list(_pieces(story, context.tokens, context.activations))
    before, here, after = pieces[: context.at], pieces[context.at], pieces[context.at + 1 :]
    # A value, so that it stays apart from its neighbours, and is shaded by it.
    here = replace(here, value=here.value or 0.0, predicted=True)
    return [*_joined(before), here, *_joined(after)]


def figures_of(case: RuleCase) -> str:
    """What stands behind a line of the table, on one line."""
    return ", ".join(f"{name} {value:.3g}" for name, value in case.figures.items())


def _pieces(
    story: Transcript, tokens: Sequence[str], activations: Sequence[float]
) -> Iterator[Piece]:
    rule = story.result.explanation.rule if story.result else None
    stats = story.facts["stats"] if story.facts else {"fires_at": 0.0, "typical_max": 0.0}
    expected = predict(rule, [tokens])[0] if rule and tokens else [0.0] * len(tokens)
    fires_at, unit = stats["fires_at"], stats["typical_max"]
    for token, value, level in zip(tokens, activations, expected, strict=True):
        word = token.lstrip(" ") or token
        yield Piece(
            word,
            token[: len(token) - len(word)],
            value if value > 0 else None,
            min(1.0, max(0.0, value / unit)) if unit else 0.0,
            bool(level >= fires_at > 0),
        )


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbours that are plain text as one piece, which keeps the page small."""
    joined: list[Piece] = []
    for plain, group in groupby(pieces, lambda one: one.value is None and not one.predicted):
        alike = list(group)
        joined += [Piece("".join(one.space + one.text for one in alike))] if plain else alike
    return joined


def recalls_of(result: Result, of: str) -> list[float | None]:
    """Recall in each band, None where it has no tokens."""
    found = result.details.get(of, {}).get("recall_by_quantile", ())
    by_band = {tuple(band["quantiles"]): band["recall"] for band in found}
    return [by_band.get(band) for band in BANDS]
