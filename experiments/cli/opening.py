"""What commands open: a feature source, a journal, a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ...sae.errors import FeatureError, SAEError, ServiceError
from . import options

if TYPE_CHECKING:
    from ...agents.budget import Budget
    from ...sae.encoder import LatentReader
    from ...sae.model_source import ModelSource
    from ...sae.source import FeatureSource
    from ..cluster import Cluster
    from ..journal import Journal, Run
    from ..service.remote import RemoteSource


def open_source(
    subject: str,
    sae: str | None,
    corpus: str,
    tokens: int,
    device: str,
    dtype: str,
    host: str | None = None,
    progress: bool = True,
    upstream: Sequence[str] = (),
) -> ModelSource | RemoteSource:
    """The source that options name: loaded here, or that of a service."""
    from ...sae.model_source import ModelSource

    if host is None:
        return ModelSource.load(
            subject,
            sae or default_sae(),
            corpus,
            tokens,
            device=device,
            dtype=dtype,
            progress=progress,
            upstream=upstream,
        )
    from ..service.remote import RemoteSource

    chosen = {
        "--corpus": corpus != options.CORPUS,
        "--tokens": tokens != options.TOKENS,
        "--device": device != "auto",
        "--dtype": dtype != "auto",
        "--upstream": bool(upstream),
    }
    if named := [name for name, is_chosen in chosen.items() if is_chosen]:
        raise typer.BadParameter(
            f"{named[0]} goes without --host: what the service was started with is what it has"
        )
    source = RemoteSource.open(host, sae)
    if subject not in (options.SUBJECT, source.subject):
        source.close()
        raise ServiceError(f"{host} serves {source.subject}, not {subject}: leave --subject out.")
    return source


def open_readers(subject: str, saes: Sequence[str], device: str, dtype: str) -> list[LatentReader]:
    """SAEs on one subject model, which is loaded once."""
    from ...sae.encoder import LatentReader
    from ...sae.loading import load_sae
    from ...sae.subject import SubjectModel

    loaded = [load_sae(spec) for spec in saes]
    model = SubjectModel.load(subject, device=device, dtype=dtype)
    return [LatentReader(model, sae) for sae in loaded]


def cluster(
    ray: str | None,
    workers: int | None,
    cpus: float,
    gpus: float | None,
    source: tuple[str, str | None, str, int, str, str, str | None],
    upstream: Sequence[str] = (),
) -> Cluster | None:
    """Where workers are hired, None without `--ray`. source, upstream: what `open_source` takes."""
    from functools import partial

    from .options import RAY_HERE

    if ray is None:
        if workers is not None or gpus is not None:
            raise typer.BadParameter("--workers and --worker-gpus go with --ray")
        return None
    from ..cluster import Cluster

    make = partial(open_source, *source, progress=False, upstream=upstream)
    return Cluster(make, None if ray == RAY_HERE else ray, workers, cpus, gpus)


def default_sae() -> str:
    """The SAE that comes with Sagescope. Raises SAEError where none does."""
    from ...sae.loading import pretrained_names

    names = pretrained_names()
    if not names:
        raise SAEError("No SAE comes with this installation: name one.")
    return names[0]


def indices(text: str, source: FeatureSource) -> list[int]:
    from ..features import FeatureList

    try:
        return FeatureList.parse(text).check(source.n_features)
    except FeatureError as error:
        raise typer.BadParameter(str(error), param_hint="--features") from None


def hinted(explainer: str, hints: str | None) -> str:
    """The explainer's name with hints, comma-separated. Raises as `explainers.with_hints`."""
    from ...agents.explainers import with_hints

    return with_hints(explainer, names(hints) or ())


def budget(explainer: str, mind: str, **caps: float | None) -> Budget:
    """Caps for each feature: those given, the others as they suit explainer and mind.

    Raises UnknownName and MindError where these two cannot go together.
    """
    from ...agents.explainers import check, usual_budget
    from ...agents.minds.choice import Mind

    thinker = Mind(mind)
    check(explainer, thinker)
    given = {name: cap for name, cap in caps.items() if cap is not None}
    with _typed_wrongly():
        return replace(usual_budget(explainer, thinker.is_language_model), **given)


def run_budget(**caps: float | None) -> Budget:
    """Caps for a whole run."""
    from ...agents.budget import Budget

    with _typed_wrongly():
        return Budget.of_run(**caps)  # pyright: ignore[reportArgumentType]


def session_budget(**caps: float | None) -> Budget | None:
    """Caps for a session; None where none is given, so that a run keeps its own."""
    from ..sessions.ledger import UNCAPPED

    given = {name: cap for name, cap in caps.items() if cap is not None}
    with _typed_wrongly():
        return replace(UNCAPPED, **given) if given else None


@contextlib.contextmanager
def _typed_wrongly() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def open_journal(path: Path | None, create: bool = False) -> Journal:
    from ..journal import Journal, default_path

    return Journal.open(path or default_path(), create)


def web_is_installed() -> None:
    """Raise ServiceError, with what to install, where the page's own packages are missing."""
    from importlib.util import find_spec

    from ...sae.errors import ServiceError

    if missing := [name for name in ("fastapi", "python_multipart") if find_spec(name) is None]:
        raise ServiceError(f"The page needs {missing[0]}: pip install 'sagescope[web]'.")


def left_in(run: str, journal: Path | None, features: list[int], retry_failed: bool) -> list[int]:
    """Those of some features that a run has still to explain, whether or not it was ever begun."""
    from ...sae.errors import UnknownName
    from ..explained import is_to_do
    from ..journal import default_path
    from ..results import standing_events

    if (journal or default_path()).exists():
        with contextlib.suppress(UnknownName), open_run(journal, run) as begun:
            standing = standing_events(begun)
            return [f for f in features if is_to_do(standing.get(f, {}), retry_failed)]
    return features


@contextlib.contextmanager
def open_run(path: Path | None, name: str) -> Iterator[Run]:
    with open_journal(path) as journal:
        yield journal.run(name)


def names(listed: str | None) -> list[str] | None:
    """Comma-separated names, None where none are given."""
    return None if listed is None else [name.strip() for name in listed.split(",")]
