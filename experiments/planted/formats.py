"""Planted formats: tokens of one written form, and marks of punctuation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from . import words
from .plans import Draw, Plan, snippets
from .programs import Case, Form, Program


def _word(draw: Random) -> str:
    return draw.choice(words.NOUNS)


def _digits(draw: Random, n: int) -> str:
    return str(draw.randrange(10 ** (n - 1), 10**n))


#: Name → what a whole token of the form is, and how one is made.
FORMATS: Mapping[str, tuple[str, Callable[[Random], str]]] = {
    "web addresses": (r"https?://.+", lambda d: f"https://{_word(d)}.org/{_word(d)}"),
    "e-mail addresses": (r"[\w.]+@\w+\.\w+", lambda d: f"{_word(d)}@{_word(d)}.net"),
    "dates like 2019-03-14": (
        r"\d{4}-\d\d-\d\d",
        lambda d: f"{d.randint(1900, 2030)}-{d.randint(1, 12):02}-{d.randint(1, 28):02}",
    ),
    "dates like 14/03/2019": (
        r"\d\d/\d\d/\d{4}",
        lambda d: f"{d.randint(1, 28):02}/{d.randint(1, 12):02}/{d.randint(1900, 2030)}",
    ),
    "clock times": (r"\d{1,2}:\d\d", lambda d: f"{d.randint(0, 23)}:{d.randint(0, 59):02}"),
    "function calls": (r"\w+\(\)", lambda d: f"{_word(d)}_{_word(d)}()"),
    "names with underscores": (r"[a-z]+_[a-z]+", lambda d: f"{_word(d)}_{_word(d)}"),
    "camel-case names": (r"[a-z]+[A-Z]\w*", lambda d: _word(d) + _word(d).capitalize()),
    "hashtags": (r"#\w+", lambda d: "#" + _word(d)),
    "file names": (r"\w+\.(txt|py|csv)", lambda d: _word(d) + d.choice((".txt", ".py", ".csv"))),
    "four-digit numbers": (r"\d{4}", lambda d: _digits(d, 4)),
    "decimal numbers": (r"\d+\.\d+", lambda d: f"{d.randint(0, 99)}.{d.randint(1, 99)}"),
    "words in capitals": (r"[A-Z]{2,}", lambda d: _word(d).upper()),
    "hyphenated words": (r"[a-z]+-[a-z]+", lambda d: f"{_word(d)}-{_word(d)}"),
    "ordinals in digits": (r"\d+th", lambda d: f"{d.randint(4, 20)}th"),
    "numbers with thousands": (
        r"\d{1,3}(,\d{3})+",
        lambda d: f"{d.randint(1, 99)},{d.randint(100, 999)}",
    ),
    "question marks": (r"\?", lambda d: f"{_word(d)}?"),
    "exclamation marks": (r"!", lambda d: f"{_word(d)}!"),
    "semicolons": (r";", lambda d: f"{_word(d)}; {_word(d)}"),
    "opening brackets": (r"\(", lambda d: f"({_word(d)})"),
    "quotation marks": (r'"', lambda d: f'"{_word(d)}"'),
    "percent signs": (r"%", lambda d: f"{d.randint(1, 99)}%"),
}


def written(draw: Draw, turn: int) -> Plan:
    """Tokens of one form: addresses, dates, code, numbers, marks."""
    name = draw.one(FORMATS)
    pattern, make = FORMATS[name]
    rest = [other for key, (_, other) in FORMATS.items() if key != name]

    def told(each: int) -> tuple[list[str], list[str]]:
        one = draw.random
        return [make(one) for _ in range(each)], [other(one) for other in rest]

    (seen, strange), (fresh, stranger) = told(40), told(16)
    plain = draw.random.sample(words.NOUNS, 5)
    return Plan(
        "mark" if len(pattern) < 3 else "form",
        name,
        Program((Case((Form(pattern),)),)),
        (*snippets("itself", seen, 1), *snippets("another form", strange, 1)),
        (
            *snippets("itself", fresh),
            *snippets("another form", stranger),
            *snippets("plain word", plain),
        ),
    )
