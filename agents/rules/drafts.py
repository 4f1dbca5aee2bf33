"""Drafts of texts, and their ends cut off where a text is longer than the SAE's context."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

Tokenize = Callable[[Sequence[str]], list[tuple[str, ...]]]

#: A word with the white space before it; of what has no spaces, 20 characters.
_WORD = re.compile(r"\s*\S{1,20}\s*$|\s*\S{1,20}")


@dataclass(frozen=True)
class Draft:
    """A text written from a clause. trigger: the string that should fire, or stands where one did.

    before, after: what is around it. clause: the number of the clause in the rule. edit, original:
    what was changed, and the draft it was changed in.
    """

    before: str
    trigger: str
    after: str
    clause: int
    edit: str = ""
    original: Draft | None = None

    @property
    def text(self) -> str:
        """The whole text."""
        return self.before + self.trigger + self.after


def room_of(source: object) -> int | None:
    """How many tokens a text may have that a source is to run, None where it does not say."""
    return getattr(source, "room", None)


def fitted(drafts: Iterable[Draft], tokenize: Tokenize, room: int | None) -> list[Draft]:
    """Drafts with words taken off where they are too long, those left out that still do not fit.

    What is around the trigger goes: first from the end of the text, then from its beginning. An
    original loses as many words as what was made of it, so that the two differ in no more than before.
    """
    found = list(drafts)
    fits: list[bool] = [room is None] * len(found)
    while room is not None and not all(fits):
        lengths = _lengths(found, tokenize)
        fits = [length <= room for length in lengths]
        kept = []
        for draft, length, good in zip(found, lengths, fits, strict=True):
            words = len(_words(draft.before)) + len(_words(draft.after))
            if not good and not words:
                continue  # the trigger alone is too long
            kept.append(
                draft if good else _shorter(draft, math.ceil(words * (length - room) / length))
            )
        found, fits = kept, fits if len(kept) == len(fits) else [False] * len(kept)
    return found


def cut(
    texts: Sequence[str], keep: Sequence[str | None], tokenize: Tokenize, room: int | None
) -> list[str | None]:
    """Each text so short that it fits, with what of it is to stay; None where that is too long.

    keep: a string of each text of which the last occurrence stays, None where its beginning does.
    """
    parts = []  # `clause` is the number of the text here
    for text, kept in zip(texts, keep, strict=True):
        before, trigger, after = text.rpartition(kept) if kept else ("", "", "")
        parts.append(
            Draft(before, trigger, after, len(parts))
            if trigger
            else Draft("", "", text, len(parts))
        )
    short: list[str | None] = [None] * len(parts)
    for draft in fitted(parts, tokenize, room):
        short[draft.clause] = draft.text or None
    return short


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _shorter(draft: Draft, words: int) -> Draft:
    """Without so many words, those after the trigger first."""
    before, after = _words(draft.before), _words(draft.after)
    left = max(0, words - len(after))
    return replace(
        draft,
        before="".join(before[left:]).lstrip() if left else draft.before,
        after="".join(after[: max(0, len(after) - words)]),
        original=draft.original and _shorter(draft.original, words),
    )


def _lengths(drafts: Sequence[Draft], tokenize: Tokenize) -> list[int]:
    """Tokens of each draft, or of its original where that has more."""
    originals = [draft.original or draft for draft in drafts]
    rows = tokenize([draft.text for draft in (*drafts, *originals)])
    sizes = [len(row) for row in rows]
    return [max(pair) for pair in zip(sizes[: len(drafts)], sizes[len(drafts) :], strict=True)]
