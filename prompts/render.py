"""Renders the templates of this folder: what is said in words, kept apart from the code that says it."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(name: str, folder: Path | None = None, /, **variables: Any) -> str:
    """The template `name` (a path below this folder), filled in, without white space at its ends.

    folder: somebody's edited copies, by the same names; what it does not have is taken from here.
    Raises jinja2.UndefinedError for a variable that is missing, jinja2.TemplateNotFound for an
    unknown name, jinja2.TemplateSyntaxError for an edited copy that is no template.
    """
    return _environment(folder).get_template(name).render(**variables).strip()


def digest(folder: Path) -> str:
    """Identifies somebody's edited copies: SHA-256 (hex) of all templates in `folder`."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.j2")):
        found.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


@cache
def _environment(folder: Path | None) -> Environment:
    folders = [Path(__file__).parent] if folder is None else [folder, Path(__file__).parent]
    # Prompts are plain text for a language model: nothing is escaped.
    environment = Environment(
        loader=FileSystemLoader(folders, encoding="utf-8"),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["quoted"] = _quoted
    return environment


def _quoted(text: str) -> str:
    """A text as a JSON string: letters as they are, what is not printable by its code.

    Jinja's own `tojson` is made for HTML: it spells an apostrophe as six characters.
    """
    whole = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in whole)
