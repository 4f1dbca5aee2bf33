"""Views: the ways to name the tokens of a sample, by their word, string, form, stem, ending or shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np

from .forms import form
from .language import SHAPES, Match, Near
from .sample import Sample, View

STEM_LENGTHS = (4, 5, 6, 8)
SUFFIX_LENGTHS = (2, 3, 4)
#: Kinds in the order in which they are tried; where two gain alike, the earlier is taken.
KINDS = ("word", "form", "token", "stem", "suffix", "shape", "exact form")


def views(sample: Sample, kind: str) -> Iterator[View]:
    """All views of one of KINDS. "exact form" has the number of digits that a token has."""
    if kind == "word":
        yield sample.words
    elif kind == "token":
        yield sample.tokens
    elif kind == "stem":
        for length in STEM_LENGTHS:
            yield sample.renamed("stem", "words", _part(0, length))
    elif kind == "suffix":
        for length in SUFFIX_LENGTHS:
            yield sample.renamed("suffix", "words", _part(-length, None))
    elif kind == "shape":
        for name in SHAPES:
            holds = sample.condition(Near(match=Match(kind="shape", values=(name,))))
            yield View("shape", ["", name], holds.astype(np.int32))
    else:
        yield sample.renamed("regex", "tokens", _form(kind == "exact form"))


# What names tokens is made once, so that a corpus can keep what it was asked (`Matcher.renamed`).
@cache
def _form(exact: bool) -> Callable[[str], str]:
    return partial(form, exact=exact)


@cache
def _part(begin: int, end: int | None) -> Callable[[str], str]:
    """The stretch of a word from `begin` to `end`; "" of a word that is shorter."""
    length = end or -begin
    return lambda word: word[begin:end] if len(word) >= length else ""
