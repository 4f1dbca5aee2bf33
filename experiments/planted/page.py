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
    lines: list[RenderableType] = [_recovery_table(found)]
    if found.false_labels.value is not None:
        lines.append(
            Text(f"Dead and noisy features with a confirmed label: {_share(found.false_labels)}")
        )
    if found.without_probes:
        lines.append(Text(f"What probing adds to recovery with decoys: {_points(found.lift)}"))
    lines.append(
        Text(f"{len(found.answers) + len(found.without_probes)} explanations in {seconds:.0f} s.")
    )
    return Lines(*lines)


def latents_page(found: ModelFindings, seconds: float) -> Lines:
    """What the hook point has a direction for, by class; then as for the first form."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("class")
    for heading in ("planted", "realised", "mean F1", "mean AUC"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, latents in found.by_class().items():
        f1, auc = [one.f1 for one in latents], [one.auc for one in latents if one.auc is not None]
        realised = sum(one.realised for one in latents)
        shown = [f"{sum(values) / len(values):.2f}" if values else "–" for values in (f1, auc)]
        table.add_row(name, str(len(latents)), str(realised), *shown)
    left = [latent for latent in found.latents if not latent.realised]
    rest = findings_page(found, seconds) if found.answers else Text("Nothing to explain.")
    return Lines(
        Text(f"Planted at {found.hook_point}, {found.folder}", style="bold"),
        table,
        Text(
            f"Left out, because no direction there realises them (F1 below {REALISED} on text drawn "
            f"anew): {len(left)} of {len(found.latents)}."
        ),
        rest,
    )


def _recovery_table(found: Findings) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("class")
    groups = found.groups()
    of_latents = any(row.ceiling.value is not None for row in groups)
    beside = ("the latent",) if of_latents else ()
    for heading in (
        "features",
        "recovered",
        *beside,
        "exactly",
        "confirmed",
        "probes",
        "calls",
        "tokens",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("s a feature", justify="right")
    for row in groups:
        table.add_row(*_cells(row, of_latents))
    if found.without_probes:
        blind = group(f"{DECOY}, no probes", found.without_probes)
        table.add_row(*_cells(blind, of_latents), style="dim")
    return table


def _cells(row: Group, of_latents: bool) -> list[str]:
    return [
        row.name,
        str(row.features),
        _share(row.recovered),
        *([_share(row.ceiling)] if of_latents else []),
        _share(row.equivalent),
        _share(row.confirmed),
        f"{row.probes:,}",
        f"{row.calls:,}",
        f"{row.tokens:,}",
        f"{row.seconds / max(1, row.features):.1f}",
    ]


def _share(score: Score) -> str:
    if score.value is None or score.low is None or score.high is None:
        return "–"
    return f"{score.value:.2f} ({score.low:.2f}–{score.high:.2f})"


def _points(score: Score) -> str:
    if score.value is None or score.low is None or score.high is None:
        return "–"
    nothing = " (no difference shown)" if score.low <= 0 <= score.high else ""
    return f"{100 * score.value:+.0f} points ({100 * score.low:+.0f} to {100 * score.high:+.0f}){nothing}"
