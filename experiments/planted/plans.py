"""Plans: what one planted feature means, and the text that shows it, before it has a number.

A snippet is a stretch of text that goes into a frame, or a whole text of its own; it may have slots. Corpus snippets
occur in the corpus; contrast snippets, in frames that no corpus has, decide whether an explanation
is right. What a snippet does is never written down: the program says it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from . import words
from .programs import Chance, Program

#: How often the corpus has each snippet of a plan that does not say otherwise.
COPIES = 6


@dataclass(frozen=True)
class Snippet:
    """kind: what is tried ("itself", "too far", …). whole: it is a text, not part of one."""

    kind: str
    text: str
    copies: int = COPIES
    whole: bool = False


@dataclass(frozen=True)
class Plan:
    """label: the meaning in words. form: which of its class's forms it has. decoy: the word that
    goes along with the cause and is none. reserved: words that occur in its own snippets alone.
    """

    form: str
    label: str
    program: Program | Chance
    corpus: tuple[Snippet, ...] = ()
    contrast: tuple[Snippet, ...] = ()
    decoy: str | None = None
    reserved: tuple[str, ...] = ()


@dataclass
class Draw:
    """Seeded choices, from words that no other feature of the source was given yet."""

    random: random.Random
    _used: set[str] = field(default_factory=set)

    def pick(self, pool: Iterable[str], n: int) -> list[str]:
        """n words of a pool, fresh ones as long as there are any."""
        pool = list(pool)
        fresh = [word for word in pool if word not in self._used]
        chosen = self.random.sample(fresh, min(n, len(fresh)))
        rest = [word for word in pool if word not in chosen]
        chosen += self.random.sample(rest, n - len(chosen))
        self._used.update(chosen)
        return chosen

    def fresh(self, group: Iterable[str]) -> bool:
        """Whether none of a group was given yet; if so, all of it is from now on."""
        group = set(group)
        if self._used & group:
            return False
        self._used |= group
        return True

    def noun(self) -> str:
        """A noun of no topic, or of one."""
        return self.pick(all_nouns(), 1)[0]

    def one(self, pool: Iterable[str]) -> str:
        """One word of a pool."""
        return self.pick(pool, 1)[0]


def gap(n: int) -> str:
    """Slots of n filler words, each after a space; every copy of a snippet fills them anew."""
    return " {gap}" * n


def all_nouns() -> list[str]:
    """Nouns of all topics and of none."""
    return [*words.NOUNS, *(word for topic in words.TOPICS.values() for word in topic)]


def snippets(kind: str, texts: Iterable[str], copies: int = COPIES) -> Iterator[Snippet]:
    """One snippet a text."""
    return (Snippet(kind, text, copies) for text in dict.fromkeys(texts))


def whole(kind: str, texts: Iterable[str], copies: int = COPIES) -> Iterator[Snippet]:
    """Texts of their own."""
    return (Snippet(kind, text, copies, whole=True) for text in dict.fromkeys(texts))
