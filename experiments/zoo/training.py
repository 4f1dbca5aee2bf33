"""Training a zoo's SAEs on the same activations, which are kept once."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from ...sae.progress import Bar
from .place import Place
from .workers import Watch, run_all

#: What the training of an SAE took, beside it.
COST = "cost.json"


def train_all(place: Place, workers: int, watch: Watch, finished: Callable[[str], None]) -> None:
    """Train what is not trained yet, `workers` at a time. Raises as `sae.training.run.train`."""
    left = {name: partial(_trained, place, name) for name in place.recipe.saes}
    left = {name: task for name, task in left.items() if not is_trained(place, name)}
    if left:
        from ...sae.training.run import keep_activations

        keep_activations(place.recipe.training(next(iter(left))), place.activations, 1000.0)
        run_all(left, workers, watch, finished)


def is_trained(place: Place, name: str) -> bool:
    """Whether an SAE is done, with the settings that the recipe has."""
    folder = place.sae(name)
    try:
        settings = json.loads((folder / "train.json").read_text())
    except (OSError, ValueError):
        return False
    # The card is written last.
    wanted = json.loads(json.dumps(asdict(place.recipe.training(name))))
    return settings == wanted and (folder / "README.md").exists()


def cost_of(folder: Path) -> dict[str, float]:
    """What a training took: wall-clock `seconds` and `cpu_seconds` of its process, 0 if unknown.

    What was done by a session that was killed is not in it.
    """
    try:
        return json.loads((folder / COST).read_text())
    except (OSError, ValueError):
        return {"seconds": 0.0, "cpu_seconds": 0.0}


def _trained(place: Place, name: str, watch: Watch) -> None:
    from ...sae.training.run import train

    folder, settings = place.sae(name), place.recipe.training(name)
    before = cost_of(folder)
    began, cpu = time.monotonic(), time.process_time()
    shown = _Told(watch, settings.tokens)
    train(settings, folder, keep=place.activations, keep_gb=1000.0, shown=shown)
    after = {
        "seconds": before["seconds"] + time.monotonic() - began,
        "cpu_seconds": before["cpu_seconds"] + time.process_time() - cpu,
    }
    (folder / COST).write_text(json.dumps(after) + "\n")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


class _Told(Bar):
    """A bar that only tells how far it is."""

    def __init__(self, watch: Watch, tokens: int):
        super().__init__("", tokens, False)
        self._watch, self._tokens, self._at = watch, tokens, 0

    def advance(self, tokens: int) -> None:
        self._at += tokens
        self._watch("training", min(self._at, self._tokens), self._tokens)

    skip = advance

    def say(self, what: str) -> None:
        return

    def tell(self, **figures: str) -> None:
        return

    def close(self) -> None:
        return
