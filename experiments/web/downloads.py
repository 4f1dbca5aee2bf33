"""The data behind each page, as JSON or CSV, under the page's address with an ending."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from fastapi import APIRouter, Request, Response

from ...sae.errors import UnknownName
from ..results import Result, results_of
from ..transcript import Transcript, transcript_of
from . import leaderboard
from .site import Site

Form = Literal["json", "csv"]
#: What spreadsheets take for a formula at the start of a cell.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def router(site: Site) -> APIRouter:
    """`/data/…`: runs, one run, one feature, tables and comparisons."""
    routes = APIRouter(prefix="/data")

    @routes.get("/runs.{form}")
    def runs(form: Form) -> Response:
        rows = []
        for run in site.journal.runs():
            tally = site.progress.of(run)
            rows.append(
                {
                    "run": run.name,
                    "created": run.created,
                    "features": len(tally.features),
                    "done": len(tally.ended),
                    "failed": len(tally.failed),
                    "calls": tally.total("calls"),
                    "tokens": tally.total("tokens"),
                    "probes": tally.total("probes"),
                    "seconds": tally.total("seconds"),
                    "dollars": tally.dollars,
                    **{
                        name: run.config.get(name)
                        for name in ("subject", "sae", "explainer", "mind")
                    },
                }
            )
        return _answer("runs", form, rows, rows)

    @routes.get("/runs/{name}.{form}")
    def run(name: str, form: Form) -> Response:
        found = results_of(site.journal.run(name))
        return _answer(
            name, form, [one.model_dump() for one in found], [_row(one) for one in found]
        )

    @routes.get("/runs/{name}/features/{feature}.{form}")
    def feature(name: str, feature: int, form: Form) -> Response:
        story = transcript_of(site.journal.run(name), feature)
        return _answer(f"{name}-{feature}", form, story.as_json(), _probes(story))

    @routes.get("/leaderboard.{form}")
    def table(request: Request, form: Form) -> Response:
        shown = leaderboard.shown(site, leaderboard.Asked.of(request.query_params), whole=True)
        return _answer("leaderboard", form, shown.as_json(), shown.as_rows())

    @routes.get("/compare.{form}")
    def compared(request: Request, form: Form) -> Response:
        query = request.query_params
        found = leaderboard.compared(
            site, query.get("left", ""), query.get("right", ""), query.get("score", "")
        )
        return _answer("compare", form, found.as_json(), found.rows)

    return routes


def _answer(name: str, form: str, whole: Any, rows: Iterable[Mapping[str, Any]]) -> Response:
    if form == "json":
        text, kind = json.dumps(whole, indent=1, allow_nan=False) + "\n", "application/json"
    elif form == "csv":
        text, kind = as_csv(rows), "text/csv; charset=utf-8"
    else:
        raise UnknownName("format", form, ("json", "csv"))
    called = "".join(one if one.isalnum() or one in "._-" else "_" for one in name)
    headers = {"content-disposition": f'attachment; filename="sagescope-{called}.{form}"'}
    return Response(text.encode("utf-8", "replace"), media_type=kind, headers=headers)


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV. A cell that a spreadsheet would calculate gets an apostrophe before it."""
    rows = list(rows)
    names = [*dict.fromkeys(name for row in rows for name in row)]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in names])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return "" if value is None else value


def _row(result: Result) -> dict[str, Any]:
    row: dict[str, Any] = {
        "feature": result.feature,
        "stratum": result.stratum,
        "status": result.status,
        "explainer": result.explainer,
        "mind": result.mind,
        "labels": "; ".join(result.explanation.labels),
        "description": result.explanation.description,
        "verdict": result.explanation.verdict,
        "error": result.error,
        **{name: getattr(result.cost, name) for name in type(result.cost).model_fields},
    }
    for name, score in result.scores.items():
        row |= {name: score and score.value, f"{name}_low": score and score.low}
        row |= {f"{name}_high": score and score.high}
    return row


def _probes(story: Transcript) -> list[dict[str, Any]]:
    return [
        {
            "probe": one.probe.id,
            "hypothesis": one.probe.hypothesis,
            "purpose": one.probe.purpose,
            "text": one.probe.text,
            "predicted": "fires" if one.probe.fires else "silent",
            "measured": None if one.outcome is None else "fires" if one.outcome.fired else "silent",
            "maximum": one.outcome and one.outcome.maximum,
            "agreed": one.outcome and one.outcome.agreed,
        }
        for one in story.trials
    ]
