"""Pages: the one way in which templates become HTML, so that no text from outside does harm in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..sae.visible import visible

if TYPE_CHECKING:
    from jinja2 import Environment, Template

TEMPLATES = Path(__file__).parent / "templates"


def environment() -> Environment:
    """Where templates of pages are made: every string passes `visible`, then Jinja2's escaping."""
    from jinja2 import Environment, StrictUndefined

    return Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def template(made: Environment, name: str) -> Template:
    """A template of `experiments/templates`, by its file name."""
    return made.from_string((TEMPLATES / name).read_text(encoding="utf-8"))


def _shown(value: Any) -> Any:
    """What every expression of a template goes through."""
    from markupsafe import Markup

    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
