"""Recipes: everything that decides a zoo's numbers, in one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...sae.errors import SAEError
from ...sae.training import TrainSettings
from ..journal import RUN_NAME
from ..leaderboard.manifest import first_fault

#: The recipe that comes with Sagescope.
OWN = Path(__file__).parent / "recipe.yaml"

#: Who explains, where a recipe does not say.
USUAL = "sage"

Count = Annotated[int, Field(ge=1)]


class _Fixed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kind(_Fixed):
    """One SAE. arch: as `sagescope train` calls it. lr: None for the architecture's own. options: of
    the architecture itself. why: a word on what was chosen, for the reader of the recipe."""

    arch: str
    lr: float | None = None
    aux_until: float = 0.43
    options: dict[str, Any] = Field(default_factory=dict)
    why: str = ""


class HeldOut(_Fixed):
    """Text that no SAE was trained on. tokens: that evidence is collected on. measured: that SAEs are
    measured on; loss_tokens: of these, for the losses."""

    corpus: str
    tokens: Count
    measured: Count
    loss_tokens: Count


class Explaining(_Fixed):
    """What is explained. features: of each SAE. seed: of the draw, and of the explainer. at_once:
    features of each SAE that are done before the next are begun. scorers: by name."""

    features: Count
    at_once: Count
    seed: int = Field(default=0, ge=0)
    explainer: str = USUAL
    scorers: tuple[str, ...]


class Recipe(_Fixed):
    """A zoo. saes: by name, the first is what the others are compared to. The rest: see TrainSettings."""

    name: str = Field(pattern=f"^{RUN_NAME.pattern}$")
    subject: str
    hook_point: str
    corpus: str
    width: Count
    k: Count
    tokens: Count
    context: Count
    batch: Count
    buffer: Count
    seed: int = 0
    checkpoints: int = Field(default=8, ge=0)
    held_out: HeldOut
    explaining: Explaining
    saes: dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")], Kind] = Field(min_length=1)

    @model_validator(mode="after")
    def _no_other(self) -> Recipe:
        if self.explaining.at_once > self.explaining.features:
            raise ValueError("at_once cannot be more than features")
        return self

    @property
    def reference(self) -> str:
        """The SAE that the others are compared to."""
        return next(iter(self.saes))

    def training(self, name: str) -> TrainSettings:
        """The settings of one SAE's training."""
        own = self.saes[name]
        shared = ("subject", "hook_point", "corpus", "width", "k", "tokens", "context", "batch")
        alike = {
            field: getattr(self, field) for field in (*shared, "buffer", "seed", "checkpoints")
        }
        return TrainSettings(
            **alike, arch=own.arch, lr=own.lr, aux_until=own.aux_until, options=dict(own.options)
        )

    def check(self) -> None:
        """Raise SagescopeError for what cannot be trained or explained, before it costs."""
        from ..scoring import chosen

        for name in self.saes:
            self.training(name).check()
        chosen(self.explaining.scorers)


def read_recipe(path: Path = OWN) -> Recipe:
    """Read a recipe. Raises SAEError, with the first thing that is wrong."""
    import yaml

    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SAEError(f"The recipe {path} cannot be read ({error.strerror}): name one.") from error
    except ValidationError as error:
        raise SAEError(f"{path} is no recipe of a zoo: {first_fault(error)}.") from error
    except (yaml.YAMLError, ValueError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise SAEError(f"The recipe {path} cannot be read: {lines[0]}.") from error
