"""Writing texts from a rule: inputs that should fire, near misses that should not.

Everything comes from the rule and from the neutral frames; no corpus is read. `tokenize` is the
feature source's, so that a text is kept only if the rule, run on its tokens, says what it should.
room: how many tokens a text may have there, None where that does not matter; longer ones are cut first.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np

from ...sae.evidence import FIRES_AT
from .drafts import Draft, Tokenize, fitted
from .frames import (
    BARE,
    FILLERS,
    FRAMES,
    LINK_WORDS,
    LINKS,
    PLAIN_WORDS,
    SHAPE_EXAMPLES,
    SUFFIX_EXAMPLES,
)
from .language import Clause, Match, Near, Position, Rule
from .match import predict

#: Drafts made for each text asked for, before giving up.
TRIES = 6


def firing_drafts(
    rule: Rule, n: int, seed: int, tokenize: Tokenize, room: int | None = None
) -> list[Draft]:
    """At most n texts on which the rule predicts firing, each led by one of its clauses.

    Clauses take turns, the highest level first; those with a level below half are passed over
    where there is a higher one, since the texts are to fire strongly.
    """
    strong = [place for place, clause in enumerate(rule.clauses) if clause.level >= 0.5]
    places = strong or [
        place
        for place, clause in enumerate(rule.clauses)
        if clause.level >= max(c.level for c in rule.clauses) - 0.1
    ]
    drafts = fitted(_firing(rule, places, n, random.Random(seed)), tokenize, room)
    return _kept(rule, n, tokenize, drafts, fires=True)


def near_miss_drafts(
    rule: Rule, n: int, seed: int, tokenize: Tokenize, room: int | None = None
) -> list[Draft]:
    """At most n texts one edit away from firing ones, on which the rule predicts silence."""
    draw = random.Random(seed)
    places = list(range(len(rule.clauses)))
    drafts = fitted(_near_misses(rule, places, n, draw), tokenize, room)
    return _kept(rule, n, tokenize, drafts, fires=False)


def firing_texts(
    rule: Rule, n: int, seed: int, tokenize: Tokenize, room: int | None = None
) -> list[str]:
    """The texts of `firing_drafts`."""
    return [draft.text for draft in firing_drafts(rule, n, seed, tokenize, room)]


def near_miss_texts(
    rule: Rule, n: int, seed: int, tokenize: Tokenize, room: int | None = None
) -> list[str]:
    """The texts of `near_miss_drafts`."""
    return [draft.text for draft in near_miss_drafts(rule, n, seed, tokenize, room)]


def _kept(
    rule: Rule, n: int, tokenize: Tokenize, drafts: Sequence[Draft], fires: bool
) -> list[Draft]:
    """The first n distinct drafts of which the rule says what it should."""
    distinct = list({draft.text: draft for draft in drafts}.values())
    if not distinct or rule.unit <= 0:
        return []
    predicted = predict(rule, tokenize([draft.text for draft in distinct]))
    highest = np.array([values.max(initial=0.0) for values in predicted]) / rule.unit
    if fires:
        levels = np.array([rule.clauses[draft.clause].level for draft in distinct])
        good = highest >= np.minimum(levels, 1.0) * 0.99
    else:
        good = highest < FIRES_AT
    return [draft for draft, keep in zip(distinct, good, strict=True) if keep][:n]


def _firing(rule: Rule, places: Sequence[int], n: int, draw: random.Random) -> Iterator[Draft]:
    for turn in range(n * TRIES if places else 0):
        place = places[turn % len(places)]
        draft = _write(rule.clauses[place], place, draw)
        if draft:
            yield draft


def _near_misses(rule: Rule, places: Sequence[int], n: int, draw: random.Random) -> Iterator[Draft]:
    edits = (_replaced, _lookalike, _without_context, _replaced, _with_blocker)
    for turn in range(n * TRIES * 2 if places else 0):
        place = places[turn % len(places)]
        draft = edits[turn // len(places) % len(edits)](rule.clauses[place], place, draw)
        if draft:
            yield draft


# ------------------------------------------------------------ one text


def _write(
    clause: Clause,
    place: int,
    draw: random.Random,
    drop: int | None = None,
    block: bool = False,
    gap: tuple[int, int] | None = None,
) -> Draft | None:
    """A text for a clause; `drop` leaves one context out, `block` puts in what must be absent.

    gap: (condition, words): so many words between what a condition looks for and the trigger.
    """
    before, after = draw.choice(_frames(clause)).split("{}")
    context = ""
    fixed: dict[int, str] = {}  # so many tokens before the trigger: what stands there
    for number, condition in enumerate(clause.conditions):
        if isinstance(condition, Position):
            before, after = _placed(condition, before, after, draw)
            continue
        if condition.is_current:
            continue
        # Drawn whether it is used or not, so that a text and its edit differ in nothing else.
        piece = _context(condition, draw)
        if gap and number == gap[0]:
            piece = (_surface(condition.match, draw) or "") + _link(gap[1], draw)
        if number == drop:
            piece = " " + random.Random(piece).choice(PLAIN_WORDS)
        if condition.negated and not block:
            continue
        if condition.first == condition.last:
            fixed[-condition.last] = piece
        elif condition.first is None:
            before = _sentence_with(piece, draw) + " " + before
        else:
            context = piece + context
    context += "".join(fixed.get(away, " the") for away in range(max(fixed, default=0), 0, -1))
    trigger = _trigger(clause, draw)
    if trigger is None:
        return None
    if not (before + context):
        trigger = trigger.lstrip() or trigger
    return Draft(before + context, trigger, after, place)


def _frames(clause: Clause) -> Sequence[str]:
    """Frames for a clause: where something must be absent, also those that have hardly a word."""
    blocked = any(isinstance(c, Near) and c.negated and not c.is_current for c in clause.conditions)
    return (*FRAMES, *BARE) if blocked else FRAMES


def _trigger(clause: Clause, draw: random.Random) -> str | None:
    """A string for the current token: of the most specific condition on it, or a plain word."""
    order = ("token", "word", "stem", "suffix", "regex", "shape")
    matches = [
        c.match for c in clause.conditions if isinstance(c, Near) and c.is_current and not c.negated
    ]
    if not matches:
        return " " + draw.choice(PLAIN_WORDS)
    return _surface(min(matches, key=lambda match: order.index(match.kind)), draw)


def _surface(match: Match, draw: random.Random) -> str | None:
    """A string that has the property, with its leading space."""
    if match.kind == "token":
        return draw.choice(match.values)
    if match.examples:
        return " " + draw.choice(match.examples).strip()
    if match.kind == "shape":
        return draw.choice(SHAPE_EXAMPLES[draw.choice(match.values)])
    value = draw.choice(match.values)
    if match.kind == "suffix":
        words = [w for known in SUFFIX_EXAMPLES.values() for w in known if w.endswith(value)]
        return " " + draw.choice(words) if words else None
    return None if match.kind == "regex" else " " + value


def _context(near: Near, draw: random.Random) -> str:
    """What must stand before the token, and a link to it where there is room for one."""
    pieces = [_surface(near.match, draw) or "" for _ in range(near.at_least)]
    listed = " and".join(pieces)
    if near.first == near.last:
        return listed
    room = 1 if near.first is None else -near.first - 1
    return listed + draw.choice([link for link in LINKS if link.count(" ") <= room])


def _link(words: int, draw: random.Random) -> str:
    """So many plain words, each after a space."""
    start = draw.randrange(len(LINK_WORDS))
    return "".join(" " + LINK_WORDS[(start + n) % len(LINK_WORDS)] for n in range(words))


def _sentence_with(piece: str, draw: random.Random) -> str:
    return draw.choice(FRAMES).replace("{}", piece, 1)


def _placed(position: Position, before: str, after: str, draw: random.Random) -> tuple[str, str]:
    """The frame moved so that the trigger is where the condition wants it."""
    early = position.high is not None and not position.negated
    if position.of == "sentence":
        return (
            (draw.choice(FILLERS) + " ", after) if early and position.high == 0 else (before, after)
        )
    if early and position.high is not None:
        words = before.split()
        return " ".join(words[: min(position.high, position.low)]), after
    while len(before.split()) < position.low:
        before = draw.choice(FILLERS) + " " + before
    return before, after


# ------------------------------------------------------------ edits


def _edited(draft: Draft, trigger: str, edit: str) -> Draft:
    return Draft(draft.before, trigger, draft.after, draft.clause, edit, draft)


def _replaced(clause: Clause, place: int, draw: random.Random) -> Draft | None:
    """The trigger is taken out and a plain word put in its place."""
    draft = _write(clause, place, draw)
    return draft and _edited(draft, " " + draw.choice(PLAIN_WORDS), "trigger replaced")


def _lookalike(clause: Clause, place: int, draw: random.Random) -> Draft | None:
    """The trigger becomes a word that is spelled like it."""
    draft = _write(clause, place, draw)
    word = draft.trigger.strip() if draft else ""
    if draft is None or len(word) < 4 or not word.isalpha():
        return None
    forms = (
        word[: len(word) // 2 + 1] + draw.choice(("er", "al", "ish", "on")),
        draw.choice(("un", "over", "sub")) + word.lower(),
        word[0] + draw.choice("aeiou") + word[2:],
        draw.choice("bcdfglmprst") + word[1:],
    )
    return _edited(draft, _lead(draft.trigger) + draw.choice(forms), "look-alike")


def _without_context(clause: Clause, place: int, draw: random.Random) -> Draft | None:
    """One thing that must stand before the trigger does not."""
    contexts = [
        number
        for number, c in enumerate(clause.conditions)
        if isinstance(c, Near) and not c.is_current and not c.negated
    ]
    if not contexts:
        return None
    return _pair(clause, place, draw, "context removed", drop=draw.choice(contexts))


def _with_blocker(clause: Clause, place: int, draw: random.Random) -> Draft | None:
    """What must be absent is there."""
    if not any(isinstance(c, Near) and c.negated and not c.is_current for c in clause.conditions):
        return None
    return _pair(clause, place, draw, "blocker added", block=True)


def _pair(
    clause: Clause,
    place: int,
    draw: random.Random,
    edit: str,
    drop: int | None = None,
    block: bool = False,
) -> Draft | None:
    """A text written with a change, beside the same text without it."""
    state = draw.getstate()
    original = _write(clause, place, draw)
    draw.setstate(state)
    draft = _write(clause, place, draw, drop=drop, block=block)
    if draft is None or original is None:
        return None
    return Draft(draft.before, draft.trigger, draft.after, place, edit, original)


def variant_drafts(rule: Rule, n: int, seed: int) -> list[Draft]:
    """Texts whose trigger is recased, inflected, alone, or first: what the rule says, it says."""
    draw = random.Random(seed)
    drafts: list[Draft] = []
    for turn in range(n if rule.clauses else 0):
        place = turn // 4 % len(rule.clauses)
        draft = _write(rule.clauses[place], place, draw)
        if draft is None:
            continue
        word, lead = draft.trigger.strip(), _lead(draft.trigger)
        if turn % 4 == 0 and (forms := _other_cases(word)):
            drafts.append(_edited(draft, lead + draw.choice(forms), "recased"))
        elif turn % 4 == 1 and word.isalpha() and len(word) > 2:
            drafts.append(
                _edited(draft, lead + word + draw.choice(("s", "ed", "ing")), "inflected")
            )
        elif turn % 4 == 2:
            drafts.append(Draft("", word, "", place, "bare", draft))
        else:
            drafts.append(Draft("", word, draft.after, place, "moved to the start", draft))
    return drafts


def distance_drafts(rule: Rule, n: int, seed: int) -> list[Draft]:
    """At most n texts in which what must stand in a stretch before the trigger is moved.

    To the far end first, then half and three quarters of the way, then just outside: what comes
    back tells how long the stretch should be.
    """
    draw = random.Random(seed)
    drafts: list[Draft] = []
    for place, clause in enumerate(rule.clauses):
        for number, c in enumerate(clause.conditions):
            if not isinstance(c, Near) or c.is_current or c.negated or c.first is None:
                continue
            room = -c.first - 1
            gaps = dict.fromkeys((room, room // 2, 3 * room // 4, room + 1))
            for between in gaps if c.first < c.last else ():
                draft = _write(clause, place, draw, gap=(number, between))
                if draft:
                    edit = "context moved"
                    drafts.append(Draft(draft.before, draft.trigger, draft.after, place, edit))
    return drafts[:n]


def _other_cases(word: str) -> list[str]:
    """Other ways to write a word in upper and lower case: none where its script has no case."""
    forms = (word.lower(), word.title(), word.upper()) if word.isalpha() else ()
    return [form for form in forms if form != word]


def _lead(trigger: str) -> str:
    """The white space a string begins with."""
    return trigger[: len(trigger) - len(trigger.lstrip())]
