"""What to train: the settings of a training, checked before anything costs."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..corpus import load_corpus
from ..errors import SAEError, UnknownName

#: What one row of a batch is made of; see `stream`.
ROWS = ("tokens", "pairs", "in and out")

#: Names that people use for architectures that SAELens calls otherwise.
ALIASES = {"matryoshka": "matryoshka_batchtopk"}

#: Adam's learning rate where an architecture asks for none.
LR = 8e-4

#: Fields of an architecture's own settings that a training decides by itself.
DECIDED = {
    "d_in",
    "d_out",
    "d_sae",
    "k",
    "dtype",
    "device",
    "normalize_activations",
    "reshape_activations",
    "metadata",
}


@dataclass(frozen=True)
class TrainSettings:
    """What to train. tokens, batch and buffer count activation vectors; context counts tokens.

    hook_point_out: what a transcoder makes; None for SAEs. head: train on one head of a hook point
    that has heads. arch: an architecture of SAELens's registry, `architectures` included, or one of
    ALIASES. options: settings of the architecture itself, by the names of its config class.
    checkpoints: how many times to save on the way. lr is Adam's, None for the architecture's own;
    it warms up over the first 5 % of the steps and falls linearly to a tenth over the last 30 %.
    aux_until: share of the training after which dead latents are no longer revived; the auxiliary
    loss that does it costs as much as the rest of a step, and nothing is gained by it once hardly a
    latent is dead. weights: how the result is stored, float32 or bfloat16 (half the size; codes
    then differ from those in training by rounding).
    """

    subject: str = "smollm2-135m-instruct"
    hook_point: str = "blocks.19.hook_resid_post"
    hook_point_out: str | None = None
    head: int | None = None
    corpus: str = "builtin:english"
    arch: str = "topk"
    width: int = 4608
    k: int = 32
    tokens: int = 4_000_000
    context: int = 128
    batch: int = 2048
    buffer: int = 131_072
    lr: float | None = None
    aux_until: float = 0.43
    checkpoints: int = 20
    weights: str = "float32"
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise UnknownName, CorpusError or SAEError for what cannot be trained, before it costs."""
        config = self.config_class
        load_corpus(self.corpus)
        rules = {
            "width must be at least 1": self.width >= 1,
            "k must be from 1 to the width": not self.uses_k or 1 <= self.k <= self.width,
            "context must be at least 2, as one token is BOS": self.context >= 2,
            "pairs take a context of at least 3": self.rows != "pairs" or self.context >= 3,
            "batch must be at least 1": self.batch >= 1,
            "buffer must hold at least one batch": self.buffer >= self.batch,
            "tokens must make at least one batch": self.tokens >= self.batch,
            "lr must be above 0": self.lr is None or 0 < self.lr < math.inf,
            "aux_until must be from 0 to 1": 0 <= self.aux_until <= 1,
            "weights must be float32 or bfloat16": self.weights in ("float32", "bfloat16"),
            "a transcoder needs the hook point that it makes (hook_point_out)": (
                self.rows != "in and out" or self.hook_point_out is not None
            ),
            f"{self.arch} makes what it reads: hook_point_out is for transcoders": (
                self.rows == "in and out" or self.hook_point_out is None
            ),
        }
        if broken := [rule for rule, kept in rules.items() if not kept]:
            raise SAEError(f"No SAE can be trained so: {'; '.join(broken)}.")
        _checked_options(self.arch, config, self.options)

    @property
    def architecture(self) -> tuple[Any, Any]:
        """The class that is trained and its config class. Raises UnknownName."""
        from sae_lens.registry import SAE_TRAINING_CLASS_REGISTRY as KNOWN

        name = ALIASES.get(self.arch, self.arch)
        if name not in KNOWN:
            raise UnknownName("SAE architecture", self.arch, [*KNOWN, *ALIASES])
        return KNOWN[name]

    @property
    def config_class(self) -> Any:
        """The config class of the architecture."""
        return self.architecture[1]

    @property
    def uses_k(self) -> bool:
        """Whether the architecture is told how many latents fire."""
        return "k" in {field.name for field in dataclasses.fields(self.config_class)}

    @property
    def rows(self) -> str:
        """What the rows of its batches are: one of ROWS. Its config class says so."""
        return getattr(self.config_class, "rows", "tokens")

    @property
    def positive(self) -> str:
        """Of pairs: whether the earlier token is the `previous` one or a `random_earlier` one."""
        return self.options.get("positive", getattr(self.config_class, "positive", "previous"))

    @property
    def learning_rate(self) -> float:
        """lr, or the architecture's own, or LR."""
        return self.lr if self.lr is not None else getattr(self.config_class, "lr", LR)

    @property
    def in_bfloat16(self) -> bool:
        """Whether matrix products of a step may be in bfloat16 where the subject model is."""
        return getattr(self.config_class, "autocast", True)

    def checked_options(self) -> dict[str, Any]:
        """options with their types, and what an architecture cannot be without. Raises SAEError.

        Matryoshka SAEs have groups of a sixteenth, an eighth, a quarter, a half and all of the
        latents, unless they are told otherwise.
        """
        found = _checked_options(self.arch, self.config_class, self.options)
        if "matryoshka_widths" in {field.name for field in dataclasses.fields(self.config_class)}:
            shares = sorted({max(1, self.width // part) for part in (16, 8, 4, 2, 1)})
            found.setdefault("matryoshka_widths", shares)
        return found


def _checked_options(arch: str, config: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    from pydantic import TypeAdapter, ValidationError

    kinds = typing.get_type_hints(config)
    known = sorted({field.name for field in dataclasses.fields(config)} - DECIDED)
    found = {}
    for name, value in options.items():
        if name not in known:
            raise UnknownName(f"setting of {arch}", name, known)
        try:
            found[name] = TypeAdapter(kinds[name]).validate_python(value)
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise SAEError(f"{value!r} cannot be the {name} of {arch}: {why}.") from error
    return found
