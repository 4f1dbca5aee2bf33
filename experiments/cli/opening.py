"""What commands open: a feature source, a journal, a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ...sae.errors import FeatureError

if TYPE_CHECKING:
    from ...agents.budget import Budget
    from ...sae.model_source import ModelSource
    from ..journal import Journal, Run


def open_source(
    subject: str, sae: str | None, corpus: str, tokens: int, device: str, dtype: str
) -> ModelSource:
    from ...sae.errors import SAEError
    from ...sae.loading import pretrained_names
    from ...sae.model_source import ModelSource

    if sae is None:
        names = pretrained_names()
        if not names:
            raise SAEError("No SAE comes with this installation: name one with --sae.")
        sae = names[0]
    return ModelSource.load(subject, sae, corpus, tokens, device=device, dtype=dtype)


def indices(text: str, source: ModelSource) -> list[int]:
    from ..features import FeatureList

    try:
        return FeatureList.parse(text).check(source.n_features)
    except FeatureError as error:
        raise typer.BadParameter(str(error), param_hint="--features") from None


def budget(**caps: float | None) -> Budget:
    from ...agents.budget import Budget

    given = {name: cap for name, cap in caps.items() if cap is not None}
    try:
        return Budget(**given)  # pyright: ignore[reportArgumentType]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def open_journal(path: Path | None, create: bool = False) -> Journal:
    from ..journal import Journal, default_path

    return Journal.open(path or default_path(), create)


@contextlib.contextmanager
def open_run(path: Path | None, name: str) -> Iterator[Run]:
    with open_journal(path) as journal:
        yield journal.run(name)
