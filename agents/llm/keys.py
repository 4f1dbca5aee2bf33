"""Keys: where they come from, and how they stay out of everything that is written."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ...sae.errors import KeyRefused


def key_of(variable: str) -> str | None:
    """A key from the environment, or from `.env` in the working directory.

    What `.env` says stays here: no process that is started from this one inherits it.
    """
    import dotenv

    key = os.environ.get(variable) or dotenv.dotenv_values(".env", interpolate=False).get(variable)
    return key.strip() if key and key.strip() else None


def needed_key(variable: str) -> str:
    """The same. Raises KeyRefused where there is none."""
    key = key_of(variable)
    if key is None:
        raise KeyRefused(
            f"There is no key: set {variable} in the environment or in a file .env here."
        )
    return key


def without_keys(text: str, keys: Iterable[str | None]) -> str:
    """The text with every key in it blacked out."""
    for key in keys:
        if key:
            text = text.replace(key, "[key]")
    return text
