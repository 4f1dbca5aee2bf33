"""Keys: where they come from, and how they stay out of everything that is written."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ...sae.errors import KeyRefused


def key_of(variable: str) -> str | None:
    """A key from the environment, or from `.env` in the working directory.

    What `.env` says stays here: no process that is started from this one inherits it. Raises
    KeyRefused for what no header can carry, and for a `.env` that is needed and cannot be read.
    """
    key = (os.environ.get(variable) or _from_file(variable) or "").strip()
    if any(not "!" <= letter <= "~" for letter in key):
        raise KeyRefused(
            f"{variable} is no key: it holds something else than ASCII letters, digits and marks; "
            f"copy the key anew."
        )
    return key or None


def _from_file(variable: str) -> str | None:
    import dotenv

    try:
        return dotenv.dotenv_values(".env", interpolate=False).get(variable)
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise KeyRefused(
            f"The file .env here cannot be read ({why}): mend it, or set {variable} in the "
            f"environment."
        ) from None


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
