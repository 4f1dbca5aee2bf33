"""Renders the templates of this folder: what is said in words, kept apart from the code that says it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateError,
    TemplateSyntaxError,
    meta,
)


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


def problems(folder: Path) -> Iterator[str]:
    """What is wrong with somebody's edited copies, before any is filled in: a line for each.

    Templates that are none, and variables that no template of the same subfolder of ours is given.
    """
    environment, ours = _environment(folder), _environment(None)
    for path in sorted(folder.rglob("*.j2")):
        name = path.relative_to(folder).as_posix()
        try:
            environment.get_template(name)
            asked = _variables(environment, name)
        except TemplateSyntaxError as error:
            yield f"{error.name or name}, line {error.lineno}: {error.message}"
        except (TemplateError, UnicodeDecodeError, OSError) as error:
            yield f"{name}: {error}"
        else:
            beside = [one for one in ours.list_templates() if _folder(one) == _folder(name)]
            given = {"replayed"}.union(*(_variables(ours, one) for one in beside))
            yield from (f"{name}: there is no {one!r}" for one in sorted(asked - given) if beside)


def _variables(environment: Environment, name: str) -> set[str]:
    """What a template needs to be given."""
    assert environment.loader is not None
    source, _, _ = environment.loader.get_source(environment, name)
    return meta.find_undeclared_variables(environment.parse(source, name))


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


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
