"""Frames and texts: the sentences of planted corpora, and those that contrast sets alone have."""

from __future__ import annotations

import random
from collections.abc import Sequence

from . import words
from .plans import Plan, Snippet, all_nouns
from .words import inflected, plural

#: Sentences of the corpus. {} is the slot of a snippet; the others are filled from the vocabulary.
FRAMES = (
    "The {adj} {noun} was near the {noun} when {name} came back for the {} and {verbed} it.",
    "{name} {verbed} the {noun} and the {} before {pronoun} went to {country}.",
    "In {month} the {color} {noun} stood beside {} for a while.",
    "After the {noun} came the {}, and {name} was {strong} about it.",
    "{pronoun_} had {number} {nouns} and a {}, which {name} kept {verbing}.",
    "On {day} the {relative} of {name} saw {} by the {adj} {noun}.",
    "There was {} in the {noun}, {adv} {verbed} by the {animal}.",
    "Some {nouns} {verb} {adv} while {name} thinks of {} and of {suffix} things.",
    "The {fruit} and the {metal} {noun} were for {}; the {adj} ones were not.",
    "They {verbed} {} twice, then the {noun} of {country} once more.",
    "Of all the {nouns}, {} was what {name} {verbed} {direction} of the {noun} in {season}.",
    "It took {digit} {nouns} to get {} to the {adj} {relative}.",
    "{} came first, and the {noun} {verbed} it {adv}.",
    "{} was on the {adj} {noun} that {name} had {verbed}.",
    "A {body} and a {noun} of {planet} went with {}.",
    "{name} paid {digit} {currency} for the {noun} and got {}.",
)
#: Sentences of the corpus without a snippet.
PLAIN = (
    "The {adj} {noun} {verbed} {adv} near the {noun}.",
    "{name} had a {color} {noun} and {number} {nouns}.",
    "In {month} they {verbed} the {noun} of {country}.",
    "Nobody saw the {suffix} {noun} on {day}.",
    "{pronoun_} was {strong} because the {noun} {verbs} {adv}.",
    "Was the {metal} {noun} there, or only the {fruit}?",
    "The {relative} of {name} kept {verbing} the {nouns}!",
    "A {planet} {noun}, a {adj} {animal} and a {body} were all there was.",
    "{name} went {direction} in {season} with {digit} {nouns}.",
    "{number} {currency} bought {noun} and {noun}, {adj} and {strong}.",
)
#: Where contrast snippets stand: at the start, inside, at the end, in a second sentence.
HELD_OUT = (
    "{} could be heard from there all evening.",
    "What we talked about most was {} after all.",
    "Everyone else in this place had forgotten about {}.",
    "That is all. Then came {} as you know.",
    "Here and there, mostly in passing, we would hear {} or something like it again.",
    "Yes! {} it is.",
    "Why would anyone need {}",
)

_CLOSED_SLOTS = {
    "month": "months", "day": "days of the week", "digit": "single digits",
    "number": "number words", "currency": "currencies", "country": "countries",
    "color": "colours", "planet": "planets", "metal": "metals", "animal": "animals",
    "fruit": "fruit", "relative": "relatives", "direction": "compass points", "season": "seasons",
    "pronoun": "pronouns", "body": "body parts",
}  # fmt: skip


class Filler:
    """Fills the slots of frames, each from its part of the vocabulary."""

    def __init__(self, draw: random.Random, but: Sequence[str] = ()):
        """but: words that never fill a slot."""
        self._draw = draw
        inflections = [inflected(verb) for verb in words.VERBS]
        pools: dict[str, Sequence[str]] = {
            "noun": all_nouns(),
            "nouns": [plural(noun) for noun in all_nouns()],
            "adj": words.ADJECTIVES,
            "adv": words.ADVERBS,
            "name": words.NAMES,
            "verb": [forms[0] for forms in inflections],
            "verbs": [forms[1] for forms in inflections],
            "verbed": [forms[2] for forms in inflections],
            "verbing": [forms[3] for forms in inflections],
            "suffix": [word for seen, _ in words.SUFFIXES.values() for word in seen],
            "gap": words.FILL,
            "strong": [word for scale in words.SCALES for word in scale],
            **{slot: words.CLOSED_SETS[name] for slot, name in _CLOSED_SLOTS.items()},
        }
        pools["pronoun_"] = [word.capitalize() for word in pools["pronoun"]]
        forbidden = set(but)
        self._pools = {
            slot: [word for word in pool if word.casefold() not in forbidden]
            for slot, pool in pools.items()
        }

    def fill(self, frame: str, snippet: str = "") -> str:
        """The frame with the snippet in it and all slots filled, its first letter in upper case."""
        out, rest = [], frame.replace("{}", snippet)
        while "{" in rest:
            before, _, rest = rest.partition("{")
            slot, _, rest = rest.partition("}")
            out += [before, self._draw.choice(self._pools[slot])]
        text = "".join([*out, rest])
        return text if frame.startswith("{}") else text[0].upper() + text[1:]


def corpus_texts(plans: Sequence[Plan], seed: int | str, plain: int) -> list[str]:
    """The corpus of a source: every corpus snippet in frames, and `plain` sentences besides.

    Sentences are shuffled and joined into texts of one to three; snippets that are whole texts stay
    what they are.
    """
    draw = random.Random(f"corpus {seed}")
    reserved = [word for plan in plans for word in plan.reserved]
    filler = Filler(draw, reserved)
    sentences = [filler.fill(draw.choice(PLAIN)) for _ in range(plain)]
    texts = []
    for snippet in (one for plan in plans for one in plan.corpus):
        for _ in range(snippet.copies):
            if snippet.whole:
                texts.append(filler.fill(snippet.text))
            else:
                sentences.append(filler.fill(draw.choice(FRAMES), snippet.text))
    draw.shuffle(sentences)
    while sentences:
        texts.append(
            " ".join(sentences.pop() for _ in range(min(len(sentences), draw.choice((1, 1, 2, 3)))))
        )
    draw.shuffle(texts)
    return texts


def contrast_texts(snippets: Sequence[Snippet], seed: int) -> list[tuple[str, str]]:
    """(kind, text): every contrast snippet in every held-out frame."""
    filler = Filler(random.Random(f"contrast {seed}"))
    return [
        (snippet.kind, filler.fill(frame, snippet.text))
        for snippet in snippets
        for frame in ((snippet.text,) if snippet.whole else HELD_OUT)
    ]
