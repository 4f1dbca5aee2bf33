"""A corpus of plain made-up sentences, and sources of features with a known meaning on it."""

import random
import re

from sagescope.sae.source import FunctionSource

NAMES = ("Anna", "Peter", "Maria", "Tom", "Helen", "NASA", "Otto")
VERBS = ("opened", "painted", "governs", "sold", "watched", "carried", "governed", "counted")
THINGS = ("boat", "government", "garden", "bank", "letter", "window", "river", "governor", "clock")
PLACES = ("in May", "near the river", "on Friday", "for 12 days", "in 1998", "after 3 weeks")
EXTRAS = ("It was not good.", "It was good.", "Nobody was there.", "That cost 40 coins.", "Why?")

_TOKEN = re.compile(r"\s?\w+|\s?[^\w\s]|\s+")


def sentences(n=500, seed=0):
    """n short texts, nearly all distinct."""
    draw = random.Random(seed)
    texts = []
    for _ in range(n):
        parts = [
            f"{draw.choice(NAMES)} {draw.choice(VERBS)} the {draw.choice(THINGS)} "
            f"{draw.choice(PLACES)}."
            for _ in range(draw.randint(1, 3))
        ]
        parts.insert(draw.randrange(len(parts) + 1), draw.choice(EXTRAS))
        texts.append(" ".join(parts))
    return texts


def tokens_of(text):
    """Words with the space before them, and punctuation."""
    return _TOKEN.findall(text)


def source_of(*features, n=500, name="planted"):
    """A source whose feature i is features[i](tokens, place) -> activation."""

    def fn(text, feature):
        tokens = tokens_of(text)
        return [(token, features[feature](tokens, i)) for i, token in enumerate(tokens)]

    return FunctionSource(fn, len(features), sentences(n), name=name)


def on_words(*words, level=3.0):
    """Fires on words, whatever their case."""
    return lambda tokens, i: level * (tokens[i].strip().casefold() in words)
