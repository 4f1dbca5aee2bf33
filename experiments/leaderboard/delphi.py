"""Explanations of Delphi (EleutherAI/delphi) as submissions.

A run of Delphi writes `results/NAME/explanations/MODULE_latentINDEX.txt` for each latent (its
`Latent.__repr__`), each the JSON of the explanation: a string, or an object whose "explanation" is
one. `run_config.json` beside the folder names the model that explained, as "explainer_model".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...sae.errors import SubmissionError

if TYPE_CHECKING:
    from .submission import Submitted

_NAME = re.compile(r"(?P<module>.+)_latent(?P<index>[0-9]{1,18})\.txt", re.DOTALL)


def is_results(path: Path) -> bool:
    """Whether a folder holds explanations of Delphi."""
    return path.is_dir() and next(_files(path), None) is not None


def read(path: Path, hook_point: str | None) -> tuple[tuple[str, str], list[Submitted]]:
    """(explainer, model) and the explanations of one hook point. Raises SubmissionError."""
    from .submission import parsed

    by_module: dict[str, dict[int, Path]] = {}
    for file, module, index in _files(path):
        by_module.setdefault(module, {})[index] = file
    if hook_point is None and len(by_module) > 1:
        raise SubmissionError(
            f"{path} explains several hook points, {', '.join(sorted(by_module))}: name one with --by."
        )
    module = hook_point or next(iter(by_module))
    if module not in by_module:
        raise SubmissionError(
            f"{path} has no hook point {module!r}, only {', '.join(sorted(by_module))}."
        )
    from .submission import Submitted

    found = [
        parsed(Submitted, {"feature": index, "description": _text(file)}, file, 1)
        for index, file in sorted(by_module[module].items())
    ]
    return ("delphi", _model(path)), found


def _files(path: Path) -> Iterator[tuple[Path, str, int]]:
    """(file, module, index) of each explanation in a folder, or in its `explanations`."""
    inner = path / "explanations"
    for file in sorted((inner if inner.is_dir() else path).iterdir()):
        if named := _NAME.fullmatch(file.name):
            yield file, named["module"], int(named["index"])


def _text(file: Path) -> str:
    value = _json(file)
    text = value.get("explanation") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise SubmissionError(
            f"{file}, line 1: this is no explanation, which Delphi writes as one JSON string."
        )
    return text


def _model(path: Path) -> str:
    for folder in (path, path.parent):
        if (folder / "run_config.json").is_file():
            config = _json(folder / "run_config.json")
            return str(config.get("explainer_model", "")) if isinstance(config, dict) else ""
    return ""


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SubmissionError(f"{file}, line 1: this is no JSON ({error}).") from error
