"""Forms: how tokens are written, with their letters and digits left open.

“2019-03-14”  →  \\d{4}-\\d{2}-\\d{2}, or with open lengths \\d+-\\d+-\\d+
“#harbour”    →  \\#[a-z]+
"""

from __future__ import annotations

import re
from functools import lru_cache

_PART = re.compile(r"[a-z]+|[A-Z]+|\d+|(?s:.)")
#: A token of more parts than this has no form that could be read.
MOST_PARTS = 12


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
