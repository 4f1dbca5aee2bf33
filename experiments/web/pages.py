"""How pages are made: templates, what they fill in, and the pieces of marked text.

Every string passes `visible`, then Jinja2's escaping (see `sagescope.experiments.page`). No template
has a script, a style or a handler in it: the content policy would not let them run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader

from ..circuit_figure import circuit_figure
from ..page import TEMPLATES, environment
from ..report import figures_of
from ..sessions.views import Scale
from ..summary import (
    BANDS,
    BLIND_LINE,
    COLUMNS,
    ROWS,
    band_name,
    count,
    counts_of,
    group_line,
    money,
    scores_of,
    two_decimals,
)

HERE = Path(__file__).parent
#: How many shades of activation there are; web.css has a rule for each.
SHADES = 10


@dataclass(frozen=True)
class Piece:
    """Neighbouring tokens that are shown alike.

    space: the spaces before a token that is shaded, which are not. value: the activation, None for
    plain text. shade: 0 to SHADES. fires: it reaches the feature's threshold. predicted: the
    explanation says that it does.
    """

    text: str
    space: str = ""
    value: float | None = None
    shade: int = 0
    fires: bool = False
    predicted: bool = False


def pieces(
    pairs: Iterable[tuple[str, float]], scale: Scale, predicted: Iterable[float] | None = None
) -> list[Piece]:
    """Tokens with their activations, as they are shown. predicted: what a rule says of each."""
    marked = _marked(list(pairs), scale, predicted)
    joined: list[Piece] = []
    for plain, group in groupby(marked, lambda one: one.value is None):
        alike = list(group)
        joined += [Piece("".join(one.space + one.text for one in alike))] if plain else alike
    return joined


def _marked(
    pairs: list[tuple[str, float]], scale: Scale, predicted: Iterable[float] | None
) -> Iterator[Piece]:
    levels = [0.0] * len(pairs) if predicted is None else list(predicted)
    for (token, value), level in zip(pairs, levels, strict=True):
        word = token.lstrip(" ") or token
        expected = scale.fires(level)
        yield Piece(
            word,
            token[: len(token) - len(word)],
            value if value > 0 or expected else None,
            -(-round(1000 * scale.shade(value)) * SHADES // 1000),
            scale.fires(value),
            expected,
        )


def page(request: Request, name: str, values: Mapping[str, Any], status: int = 200) -> HTMLResponse:
    """A template as an answer."""
    html = _environment().get_template(f"{name}.html.j2").render(request=request, **values)
    # What UTF-8 cannot hold is shown by `visible` as its number, so nothing is lost here.
    return HTMLResponse(html.encode("utf-8", "replace"), status)


def asks_for_fragment(request: Request) -> bool:
    """Whether a script of ours wants a part of a page in place of a whole one."""
    return request.headers.get("hx-request") == "true"


def address(*parts: Any) -> str:
    """A path of the site from its parts."""
    return "/" + "/".join(quote(str(part), safe="") for part in parts)


@cache
def _environment() -> Environment:
    made = environment()
    made.loader = FileSystemLoader(HERE / "templates")
    made.filters.update(
        number=two_decimals,
        figure=lambda value: f"{value:.4g}",
        exact=lambda value: f"{value:.9g}",
        count=count,
        money=money,
        share=lambda value: round(100 * min(1.0, max(0.0, value)), 2),
        percent=_percent,
        seconds=_seconds,
        day=lambda created: created[:16].replace("T", " "),
    )
    made.globals.update(
        address=address,
        pieces=pieces,
        circuit_figure=circuit_figure,
        figures_of=figures_of,
        group_line=group_line,
        counts_of=counts_of,
        scores_of=scores_of,
        columns=COLUMNS,
        rows=ROWS,
        bands=[band_name(band) for band in BANDS],
        blind_line=BLIND_LINE,
        static=_static,
        zip=zip,
    )
    return made


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _seconds(value: float) -> str:
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{value:.1f} s"


# -------------------------------------------------------------------- static files


@dataclass(frozen=True)
class Static:
    """A file that pages load. digest: changes with its content."""

    content: bytes
    kind: str
    digest: str


@cache
def static_files() -> dict[str, Static]:
    """All of them, by name: no path that somebody sends is ever opened."""
    found = {
        "web.css": (HERE / "static" / "web.css", "text/css; charset=utf-8"),
        "circuit.css": (TEMPLATES / "circuit.css", "text/css; charset=utf-8"),
        "web.js": (HERE / "static" / "web.js", "text/javascript; charset=utf-8"),
        "icon.svg": (HERE / "static" / "icon.svg", "image/svg+xml"),
        "htmx.js": (_htmx(), "text/javascript; charset=utf-8"),
    }
    files = {}
    for name, (path, kind) in found.items():
        content = path.read_bytes()
        files[name] = Static(content, kind, hashlib.sha256(content).hexdigest()[:12])
    return files


def _htmx() -> Path:
    """htmx, from the package that carries it. Only its file is wanted, none of its Python."""
    from importlib.metadata import PackageNotFoundError, distribution

    from ...sae.errors import ServiceError

    try:
        package = distribution("django-js-lib-htmx")
    except PackageNotFoundError as error:
        raise ServiceError("The page needs htmx: pip install 'sagescope[web]'.") from error
    return Path(str(package.locate_file("js_lib_htmx/static/htmx/htmx.min.js")))


def _static(name: str) -> str:
    return f"/static/{name}?v={static_files()[name].digest}"
