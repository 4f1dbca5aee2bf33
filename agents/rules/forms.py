"""Forms: how tokens are written, with their letters and digits left open.

“2019-03-14”  →  \\d{4}-\\d{2}-\\d{2}, or with open lengths \\d+-\\d+-\\d+
“#harbour”    →  \\#[a-z]+
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from .sample import View

_PART = re.compile(r"[a-z]+|[A-Z]+|\d+|(?s:.)")
#: A token of more parts than this has no form that could be read.
MOST_PARTS = 12


def form_views(tokens: View) -> Iterator[View]:
    """Tokens by their form: with open numbers of digits, then with the numbers of digits they have."""
    for exact in (False, True):
        names: dict[str, int] = {"": 0}
        forms = (form(token, exact) for token in tokens.names)
        moved = np.array([names.setdefault(one, len(names)) for one in forms], np.int32)
        yield View("regex", list(names), moved[tokens.ids])


@lru_cache(maxsize=1 << 17)
def form(token: str, exact: bool) -> str:
    """A token's form as a regular expression; "" for one that is a plain word or number.

    exact: digits come in the number that the token has; then only tokens with digits have a form.
    """
    parts = _PART.findall(token.strip())
    has_digits = any(part.isdecimal() and part.isascii() for part in parts)
    is_plain = len(parts) < 2 and (not parts or parts[0].isalnum())
    if len(parts) > MOST_PARTS or (not has_digits if exact else is_plain):
        return ""
    return "".join(_open(part, exact) for part in parts)


def _open(part: str, exact: bool) -> str:
    if not part.isascii() or not part.isalnum():
        return re.escape(part)
    if part.isdecimal():
        return rf"\d{{{len(part)}}}" if exact else r"\d+"
    return "[a-z]+" if part.islower() else "[A-Z]+"
