"""What a language model is told: the prompts, with their troubles told in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..sae.errors import PromptError


def render(name: str, folder: Path | None = None, /, **variables: Any) -> str:
    """See `prompts.render.render`. Raises PromptError for a template that cannot be filled in."""
    from jinja2 import TemplateError

    from ..prompts.render import render as filled_in

    try:
        return filled_in(name, folder, **variables)
    except TemplateError as error:
        where = f"{folder}/{name}" if folder and (folder / name).exists() else name
        raise PromptError(
            f"The template {where} cannot be filled in ({error}): correct it, or take ours."
        ) from error


def check_prompts(folder: Path | None) -> None:
    """Raise PromptError for a folder of edited templates that cannot be used."""
    from ..prompts.render import problems

    if folder is None:
        return
    if not folder.is_dir():
        raise PromptError(f"There is no folder {folder} with prompts: give one that there is.")
    found = list(problems(folder))
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise PromptError(
            f"The prompts in {folder} cannot be used ({found[0]}{more}): correct them."
        )
