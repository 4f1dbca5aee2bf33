"""Running rules over token tables: each condition becomes a boolean array over all tokens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from ...sae.tokens import TokenTable
from .language import SHAPES, Clause, Condition, Match, Near, Position, Rule

_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*\s*$|\n\s*$")
_WORD_CHARACTER = re.compile(r"\w")


#: How many answers a Matcher keeps (a bit for each token each) before it forgets them all.
KEPT = 2400


class Matcher:
    """A token table with what rules ask of it; each question is answered once and kept."""

    def __init__(self, table: TokenTable):
        self.table = table
        self._kept: dict[Match | Condition, np.ndarray] = {}
        self._renamed: dict[tuple[str, Callable[[str], str]], tuple[list[str], np.ndarray]] = {}

    def predict(self, rule: Rule) -> np.ndarray:
        """float32 [n]: the rule's prediction for each token, in the SAE's units."""
        masks = [self.clause(clause) for clause in rule.clauses]
        return highest(rule.clauses, masks, len(self.table)) * np.float32(rule.unit)

    def clause(self, clause: Clause) -> np.ndarray:
        """bool [n]: where all conditions of a clause hold."""
        holds = self.condition(clause.conditions[0])
        for condition in clause.conditions[1:]:
            holds = holds & self.condition(condition)
        return holds

    def condition(self, condition: Condition) -> np.ndarray:
        """bool [n]: where a condition holds."""
        if condition.negated:
            return ~self.condition(condition.model_copy(update={"negated": False}))
        if isinstance(condition, Near) and condition.is_current:
            return self.match(condition.match)
        kept = self._kept.get(condition)
        if kept is not None:
            return self._unpacked(kept)
        holds = self._near(condition) if isinstance(condition, Near) else self._placed(condition)
        return self._keep(condition, holds)

    def match(self, match: Match) -> np.ndarray:
        """bool [n]: which tokens have a property."""
        kept = self._kept.get(match)
        if kept is not None:
            return self._unpacked(kept)
        return self._keep(match, self._matched(match))

    def held(self, clauses: Sequence[Clause]) -> tuple[np.ndarray, list[np.ndarray]]:
        """int64 [m]: the tokens on which any of the clauses holds; and of each, bool [m]: on which."""
        return held([self.clause(clause) for clause in clauses], len(self.table))

    def _matched(self, match: Match) -> np.ndarray:
        if match.kind == "word":
            return self._is_one_of({value.casefold() for value in match.values})
        if match.kind not in ("stem", "suffix"):
            return _token_hits(match, self.table.vocab)[self.table.ids]
        names, ids = self.words
        wanted = tuple(value.casefold() for value in match.values)
        is_hit = str.startswith if match.kind == "stem" else str.endswith
        hits = np.array([is_hit(name, wanted) for name in names])
        hits[0] = False  # no word
        return hits[ids]

    def _is_one_of(self, words: set[str]) -> np.ndarray:
        """bool [n]: which tokens are one of these words. Their places are looked up, not searched."""
        numbers, (order, starts) = self._spelled.numbers, self._occurrences
        holds = np.zeros(len(self.table), bool)
        for number in (numbers[word] for word in words - {""} if word in numbers):
            holds[order[starts[number] : starts[number + 1]]] = True
        return holds

    @cached_property
    def _occurrences(self) -> tuple[np.ndarray, np.ndarray]:
        """Places ordered by their word, and where each word's begin."""
        ids = self.words[1]
        return np.argsort(ids, kind="stable"), np.concatenate([[0], np.cumsum(self.seen)])

    def _placed(self, position: Position) -> np.ndarray:
        place = self.table.position if position.of == "text" else self.in_sentence
        high = np.inf if position.high is None else position.high
        return (place >= position.low) & (place <= high)

    def _keep(self, question: Match | Condition, answer: np.ndarray) -> np.ndarray:
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept[question] = np.packbits(answer)
        return answer

    def _unpacked(self, kept: np.ndarray) -> np.ndarray:
        return np.unpackbits(kept, count=len(self.table)).view(bool)

    def _near(self, near: Near) -> np.ndarray:
        here = self.match(near.match)
        if near.first is None:
            return self._since(np.flatnonzero(here), near.last, near.at_least)
        n = len(self.table)
        if (near.last - near.first + 1) * np.count_nonzero(here) <= n:
            return self._around(np.flatnonzero(here), near.first, near.last, near.at_least)
        total = np.concatenate([[0], np.cumsum(here)])
        place = np.arange(n)
        begin, end = self._bounds
        low = np.clip(place + near.first, begin, end)
        high = np.clip(place + near.last + 1, low, end)
        return total[high] - total[low] >= near.at_least

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """int64 [n], twice: where each token's window begins and ends."""
        starts, window_of = self.table.starts, self.table.window_of
        return starts[window_of], starts[window_of + 1]

    def _since(self, hits: np.ndarray, last: int, at_least: int) -> np.ndarray:
        """bool [n]: which tokens have so many of the places `hits` from their window's start on.

        These are all from the `at_least`-th of a window on, counted so that it is at offset `last`.
        """
        windows = self.table.window_of[hits]
        earlier = windows[: max(0, len(hits) - at_least + 1)]
        nth = at_least - 1 + np.flatnonzero(windows[at_least - 1 :] == earlier)
        _, first = np.unique(windows[nth], return_index=True)
        place, window = hits[nth[first]], windows[nth[first]]
        begin, end = self.table.starts[window], self.table.starts[window + 1]
        turns = np.zeros(len(self.table) + 1, np.int8)
        np.add.at(turns, np.clip(place - last, begin, end), 1)
        np.add.at(turns, end, -1)
        return np.cumsum(turns[:-1], dtype=np.int8).view(bool)

    def _around(self, hits: np.ndarray, first: int, last: int, at_least: int) -> np.ndarray:
        """bool [n]: which tokens have at least so many of the places `hits` at these offsets."""
        window_of, n = self.table.window_of, len(self.table)
        seen_from = hits[:, None] - np.arange(first, last + 1)
        within = (seen_from >= 0) & (seen_from < n)
        within[within] = (window_of[hits][:, None] == window_of[seen_from % n])[within]
        return np.bincount(seen_from[within], minlength=n) >= at_least

    def spelling(self, word: str) -> str:
        """The commonest spelling of a case-folded word in this table, or the word itself."""
        counts = self._spelled.spellings.get(word)
        return counts.most_common(1)[0][0] if counts else word

    @cached_property
    def in_sentence(self) -> np.ndarray:
        """int64 [n]: each token's place in its sentence, from 0."""
        ends = np.array([bool(_SENTENCE_END.search(t)) for t in self.table.vocab], bool)
        begins = np.zeros(len(self.table), bool)
        if len(begins):
            begins[1:] = ends[self.table.ids[:-1]]
            begins[self.table.starts[:-1][np.diff(self.table.starts) > 0]] = True
        place = np.arange(len(begins))
        return place - np.maximum.accumulate(np.where(begins, place, 0))

    @property
    def words(self) -> tuple[list[str], np.ndarray]:
        """The word up to and with each token: distinct words (case-folded), int32 [n] into them.

        A token that starts with a letter or digit and follows one that ends with one, without white
        space between, continues its word. Word 0 is the empty one: the token is no word.
        """
        return self._spelled.names, self._spelled.ids

    def renamed(
        self, of: Literal["words", "tokens"], name: Callable[[str], str]
    ) -> tuple[list[str], np.ndarray]:
        """What `name` makes of each token's word or string: distinct names, int32 [n] into them.

        Name 0 is the empty one. The answer is kept as long as the table: ask with few functions.
        """
        if (of, name) not in self._renamed:
            old, ids = self.words if of == "words" else (self.table.vocab, self.table.ids)
            names: dict[str, int] = {"": 0}
            moved = np.array([names.setdefault(name(one), len(names)) for one in old], np.int32)
            self._renamed[of, name] = list(names), moved[ids] if len(ids) else ids
        return self._renamed[of, name]

    @cached_property
    def seen(self) -> np.ndarray:
        """int64 [words]: how many tokens each of the distinct words has."""
        return np.bincount(self.words[1], minlength=len(self.words[0]))

    @cached_property
    def _spelled(self) -> _Words:
        return _words(self.table)


@dataclass(frozen=True)
class _Words:
    """See Matcher.words. spellings: case-folded word → how often it is spelled in which way.

    numbers: word → its place in `names`.
    """

    names: list[str]
    ids: np.ndarray
    spellings: dict[str, Counter[str]]
    numbers: dict[str, int]


def _words(table: TokenTable) -> _Words:
    names: dict[str, int] = {"": 0}
    found = np.zeros(len(table), np.int32)
    spellings: dict[str, Counter[str]] = {}
    raw = [token.strip() for token in table.vocab]
    begins = [bool(token) and bool(_WORD_CHARACTER.match(token[0])) for token in table.vocab]
    closes = [bool(token) and bool(_WORD_CHARACTER.match(token[-1])) for token in table.vocab]
    is_word = [bool(_WORD_CHARACTER.search(token)) for token in raw]
    spelled, last_window, open_word = "", -1, False
    rows = zip(table.ids.tolist(), table.window_of.tolist(), strict=True)
    for place, (token, window) in enumerate(rows):
        joins = begins[token] and open_word and window == last_window
        spelled = spelled + raw[token] if joins else raw[token]
        if is_word[token]:
            word = spelled.casefold()
            found[place] = names.setdefault(word, len(names))
            if word not in spellings:
                spellings[word] = Counter()
            spellings[word][spelled] += 1
        open_word, last_window = closes[token], window
    return _Words(list(names), found, spellings, names)


def _token_hits(match: Match, vocab: Sequence[str]) -> np.ndarray:
    """bool [vocab]: which token strings have a property."""
    if match.kind == "token":
        wanted = set(match.values)
        return np.array([token in wanted for token in vocab], bool)
    sources = [SHAPES[v] for v in match.values] if match.kind == "shape" else match.values
    patterns = [_compiled(source) for source in sources]
    hits = [any(p.fullmatch(token.strip()) for p in patterns) for token in vocab]
    return np.array(hits, bool)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def held(masks: Sequence[np.ndarray], n: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """int64 [m]: where any of the masks (bool [n]) is set; and of each, bool [m]: where there."""
    any_holds = np.zeros(n, bool)
    for mask in masks:
        any_holds |= mask
    places = np.flatnonzero(any_holds)
    return places, [mask[places] for mask in masks]


def highest(clauses: Sequence[Clause], masks: Sequence[np.ndarray], m: int) -> np.ndarray:
    """float32 [m]: the highest level of the clauses that hold, by their masks (bool [m]), else 0."""
    levels = np.zeros(m, np.float32)
    for clause, mask in sorted(zip(clauses, masks, strict=True), key=lambda pair: pair[0].level):
        levels[mask] = clause.level  # the highest comes last, and stays
    return levels


def predict(rule: Rule, texts: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """The rule's prediction for each token of each tokenised text, in the SAE's units."""
    table = TokenTable.of(texts)
    values = Matcher(table).predict(rule)
    return np.split(values, table.starts[1:-1]) if len(texts) else []
