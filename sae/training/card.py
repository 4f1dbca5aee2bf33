"""The card of a trained SAE: what it is, what it was trained on, and how, as `README.md`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..paths import new_file
from .settings import DECIDED, TrainSettings


def write_card(folder: Path, settings: TrainSettings, config: Any) -> None:
    """Write `README.md` of a trained SAE. config: its SAELens config, metadata filled in."""
    with new_file(folder / "README.md") as draft:
        draft.write_text(card(folder.resolve().name, settings, config))


def card(name: str, settings: TrainSettings, config: Any) -> str:
    """The card in Markdown."""
    metadata = config.metadata
    saved = config.get_inference_config_class().architecture()
    place = settings.hook_point
    if settings.head is not None:
        place += f", head {settings.head}"
    if settings.hook_point_out:
        place += f" → {settings.hook_point_out}"
    rows = {
        "architecture": settings.arch if saved == settings.arch else f"{settings.arch}, as {saved}",
        "subject model": settings.subject,
        "hook point": place,
        "latents": f"{settings.width:,}",
        "trained on": f"{settings.tokens:,} tokens of {settings.corpus} (passes: "
        f"{metadata.corpus_passes}), windows of {settings.context} tokens with BOS, whose own "
        "activation is left out",
        "seed": str(settings.seed),
        "weights": settings.weights,
    }
    measured = {
        "fraction of variance unexplained, last batch": _figure(metadata.unexplained_in_training),
        "L0, last steps": _figure(metadata.l0, ".1f"),
        "dead latents at the end": str(metadata.num_dead_features),
    }
    own = {
        field: value
        for field, value in config.to_dict().items()
        if field not in DECIDED | {"architecture"}
    }
    optimiser = {
        "Adam's learning rate": f"{settings.learning_rate:g}",
        "activations a step": f"{settings.batch:,}",
        "dead latents revived until": f"{settings.aux_until:.0%}",
    }
    return (
        f"# {name}\n\nTrained with `sagescope train`; the settings are in `train.json`, all that "
        "follows from them in `resolved.json`.\n\n"
        f"{_table(rows)}\n\n## How\n\n{_table(optimiser | own)}\n\n## What it reached in training\n\n"
        f"{_table(measured)}\n\nThese are of text it was trained on. `sagescope sae-eval FOLDER` "
        "measures it on other text.\n"
    )


def _table(rows: dict[str, Any]) -> str:
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _figure(value: float | None, form: str = ".3f") -> str:
    return "–" if value is None else format(value, form)
