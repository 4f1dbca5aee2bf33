"""Where a zoo keeps what it makes: one folder, which may be deleted, and costs hours to make again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...sae.errors import SAEError
from ...sae.paths import new_file
from .recipe import Recipe


@dataclass(frozen=True)
class Place:
    """A zoo's folder, and the recipe that it is made by."""

    folder: Path
    recipe: Recipe

    @property
    def activations(self) -> Path:
        """What all SAEs are trained on; may be deleted once they are."""
        return self.folder / "activations"

    @property
    def journal(self) -> Path:
        """The runs of all SAEs."""
        return self.folder / "zoo.db"

    def sae(self, name: str) -> Path:
        """A trained SAE."""
        return self.folder / "saes" / name

    def manifest(self, name: str) -> Path:
        """An SAE's benchmark."""
        return self.folder / "benchmarks" / f"{name}.yaml"

    def read(self, name: str) -> dict[str, Any] | None:
        """What `write` wrote under a name. Raises SAEError for what cannot be read."""
        path = self.folder / f"{name}.json"
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise SAEError(f"{path} cannot be read: delete it, and run the same again.") from error

    def write(self, name: str, values: Mapping[str, Any]) -> None:
        """Keep JSON values."""
        with new_file(self.folder / f"{name}.json") as draft:
            draft.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n")

    def claim(self) -> None:
        """Raise SAEError where the folder holds another zoo; else say that it holds this one.

        What all SAEs are trained on, and how alike, is held to here. The rest is looked at where it
        is used: other held-out text is measured and drawn from anew; an SAE that was trained with
        other settings, and features that were explained of another benchmark, are refused there, with
        what to delete.
        """
        own = {"saes", "held_out", "explaining", "checkpoints"}
        said = self.recipe.model_dump(mode="json", exclude=own)
        there = self.read("recipe")
        if there is None:
            self.write("recipe", said)
        elif differing := [name for name in said if there.get(name) != said[name]]:
            raise SAEError(
                f"{self.folder} holds a zoo of another recipe ({', '.join(differing)}): give "
                f"another folder, or the recipe that it was begun with, or delete it."
            )
