"""Text from corpora made safe to look at: what would act, or hide, is shown as a sign instead.

Corpora hold terminal escapes, reversed text, NULs and lone surrogates, by accident or by design.
"""

from __future__ import annotations

import re

#: Controls, what is invisible or turns the direction of text, surrogates and noncharacters.
#: The two joiners U+200C and U+200D are left alone: scripts need them, and they only join.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
_SIGNS = {"\n": "↵", "\t": "⇥"}


def visible(text: str) -> str:
    """`text` on one line, with a sign in place of each character that would act or hide.

    A line end is shown as ↵, a tab as ⇥, all else by its number, as in ⟨U+202E⟩.
    """
    return _HIDDEN.sub(lambda found: _SIGNS.get(found[0], f"⟨U+{ord(found[0]):04X}⟩"), text)
