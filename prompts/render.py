"""Renders the templates of this folder: what is said in words, kept apart from the code that says it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(name: str, **variables: Any) -> str:
    """The template in the file `name` of this folder, filled in, without white space at its ends.

    Raises jinja2.UndefinedError for a variable that is missing, jinja2.TemplateNotFound for an
    unknown name.
    """
    return _environment().get_template(name).render(**variables).strip()


@cache
def _environment() -> Environment:
    # Prompts are plain text for a language model: nothing is escaped.
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
