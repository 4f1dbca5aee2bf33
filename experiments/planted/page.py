"""What the suite found, as tables for the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group as Lines
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..scoring import Score
from .fitting import REALISED
from .model_suite import ModelFindings
from .source import DECOY
from .suite import Findings, Group, group


def findings_page(found: Findings, seconds: float) -> Lines:
    """Recovery by class, then what was passed off as an explanation, then what probing buys.

    seconds: by the clock, all features together.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("class")
    for heading in ("features", "recovered", "exactly", "confirmed", "probes", "calls", "tokens"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("s a feature", justify="right")
    for row in found.groups():
        table.add_row(*_cells(row))
    if found.without_probes:
        table.add_row(
            *_cells(group(f"{DECOY}, no probes", found.without_probes, probed=False)), style="dim"
        )
    lines: list[RenderableType] = [table]
    if found.false_labels.value is not None:
        lines.append(
            Text(f"Dead and noisy features with a confirmed label: {_share(found.false_labels)}")
        )
    if found.without_probes:
        lines.append(Text(f"What probing adds to recovery with decoys: {_points(found.lift)}"))
    all_ = len(found.answers) + len(found.without_probes)
    if found.failed:
        by_class = [f"{one.failed} {one.name}" for one in found.groups()[:-1] if one.failed]
        unprobed = sum(answer.failed for answer in found.without_probes)
        by_class += [f"{unprobed} {DECOY}, no probes"] if unprobed else []
        lines.append(
            Text(
                f"Failed, and in none of these shares: {found.failed} of {all_} ({', '.join(by_class)})."
            )
        )
    lines.append(Text(f"{all_ - found.failed} explanations in {seconds:.0f} s."))
    return Lines(*lines)


def latents_page(found: ModelFindings, seconds: float) -> Lines:
    """What the hook point has a direction for, by class; then as for the first form."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("class")
    for heading in ("planted", "realised", "mean F1", "mean AUC", "latent itself recovered"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.realised():
        table.add_row(
            row.name,
            str(row.planted),
            str(row.realised),
            f"{row.f1:.2f}",
            "–" if row.auc is None else f"{row.auc:.2f}",
            _share(row.ceiling),
        )
    left = sum(not latent.realised for latent in found.latents)
    return Lines(
        Text(f"Planted at {found.hook_point}, {found.folder}", style="bold"),
        table,
        Text(
            f"Left out, because no direction there realises them (F1 below {REALISED} on text "
            f"drawn anew): {left} of {len(found.latents)}."
        ),
        findings_page(found, seconds),
        Text(f"Recovered where the latent itself is: {_share(found.where_ceiling)}"),
    )


def _cells(row: Group) -> list[str]:
    return [
        row.name,
        str(row.features),
        _share(row.recovered),
        _share(row.equivalent),
        _share(row.confirmed),
        f"{row.probes:,}",
        f"{row.calls:,}",
        f"{row.tokens:,}",
        f"{row.seconds / max(1, row.features):.1f}",
    ]


def _share(score: Score) -> str:
    if score.value is None:
        return "–"
    if score.low is None or score.high is None:
        return f"{score.value:.2f} (–)"
    return f"{score.value:.2f} ({score.low:.2f}–{score.high:.2f})"


def _points(score: Score) -> str:
    if score.value is None:
        return "–"
    if score.low is None or score.high is None:
        return f"{100 * score.value:+.0f} points (–)"
    nothing = " (no difference shown)" if score.low <= 0 <= score.high else ""
    return f"{100 * score.value:+.0f} points ({100 * score.low:+.0f} to {100 * score.high:+.0f}){nothing}"
