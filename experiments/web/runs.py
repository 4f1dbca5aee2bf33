"""Runs: the list of them, and one with its features, its progress and its costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from ...sae.errors import JournalError
from ..features import FeatureList
from ..journal import RUN_NAME, Run
from ..results import Result, result_of
from .jobs import why_not_resumed
from .pages import address, page
from .progress import Tally
from .site import Site

#: Features on one page of a run.
ON_PAGE = 50
#: Failures that are told of.
FAILURES = 10


@dataclass(frozen=True)
class Row:
    """One feature of a run. result: None while it is not done."""

    feature: int
    is_begun: bool
    result: Result | None


def router(site: Site) -> APIRouter:
    """`/runs`, `/runs/RUN`, and what begins, stops and resumes them."""
    routes = APIRouter()

    @routes.get("/runs")
    def runs(request: Request) -> Response:
        return page(request, "runs", listed(site))

    @routes.get("/runs/{name}")
    def run(request: Request, name: str, at: Annotated[int, Query(ge=1)] = 1) -> Response:
        return page(request, "run", about(site, site.journal.run(name), at))

    @routes.post("/runs")
    def begin(
        name: Annotated[str, Form()],
        features: Annotated[str, Form()],
        explainer: Annotated[str, Form()] = "sage",
        mind: Annotated[str, Form()] = "rules",
    ) -> Response:
        _start(site, name.strip(), features.strip(), explainer.strip(), mind.strip())
        return RedirectResponse(address("runs", name.strip()), 303)

    @routes.post("/runs/{name}/resume")
    def resume(name: str) -> Response:
        run = site.journal.run(name)
        if site.writer(name):
            raise JournalError(f"The run {name!r} is under way.")
        _jobs(site).resume(run, run.features)
        return RedirectResponse(address("runs", name), 303)

    @routes.post("/runs/{name}/stop")
    def stop(name: str) -> Response:
        _jobs(site).stop(name)
        return RedirectResponse(address("runs", name), 303)

    return routes


def listed(site: Site) -> dict[str, Any]:
    """What the list shows: the youngest run first."""
    runs = [
        {"run": run, "tally": site.progress.of(run), "writer": site.writer(run.name)}
        for run in reversed(site.journal.runs())
    ]
    known = {one["run"].name for one in runs}
    jobs = site.jobs
    # A job needs a while until its run is in the journal, and may end before.
    waiting = [name for name in (jobs.names if jobs else ()) if name not in known]
    return {
        "runs": runs,
        "starting": [name for name in waiting if jobs and jobs.is_running(name)],
        "broken": {name: words for name in waiting if jobs and (words := jobs.last_words(name))},
        "may_start": jobs is not None,
    }


def about(site: Site, run: Run, at: int = 1) -> dict[str, Any]:
    """What the page of a run shows. at: which page of its features."""
    tally = site.progress.of(run)
    order = [*tally.features]
    shown = order[(at - 1) * ON_PAGE : at * ON_PAGE]
    jobs = site.jobs
    return {
        "run": run,
        "tally": tally,
        "table": _rows(run, tally, shown),
        "at": at,
        "pages": max(1, -(-len(order) // ON_PAGE)),
        "failures": [*tally.failed.items()][-FAILURES:],
        "writer": site.writer(run.name),
        "last_words": jobs.last_words(run.name) if jobs else None,
        "not_resumed": why_not_resumed(run.config),
        "may_start": jobs is not None,
    }


def _rows(run: Run, tally: Tally, features: Sequence[int]) -> list[Row]:
    return [
        Row(
            feature,
            feature in tally.begun,
            result_of(run, feature) if feature in tally.ended else None,
        )
        for feature in features
    ]


def _jobs(site: Site) -> Any:
    if site.jobs is None:
        raise JournalError("This page cannot start or stop runs: use `sagescope explain`.")
    return site.jobs


def _start(site: Site, name: str, features: str, explainer: str, mind: str) -> None:
    """Begin a run. What is wrong with it beyond its form, the job itself says."""
    jobs = _jobs(site)
    if not RUN_NAME.fullmatch(name):
        raise JournalError(
            "A run's name has up to 100 letters, digits, '.', '_', '-', the first a letter or digit."
        )
    if any(run.name == name and run.features for run in site.journal.runs()):
        raise JournalError(f"There is a run {name!r} already: resume it, or give another name.")
    try:
        FeatureList.parse(features)
    except ValueError as error:
        raise JournalError(str(error)) from error
    jobs.start(name, [f"--features={features}", f"--explainer={explainer}", f"--mind={mind}"])
