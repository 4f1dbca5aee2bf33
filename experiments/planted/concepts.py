"""Planted concepts: features that fire on certain words, wherever they stand."""

from __future__ import annotations

from . import words
from .plans import Draw, Plan, all_nouns, snippets
from .programs import Before, Case, Form, Program, Words
from .words import inflected, lookalikes, plural

#: Levels of what is graded: predicting one level for all of them has a Pearson below .9.
GRADES = (0.28, 0.45, 1.0)


def word(draw: Draw, turn: int) -> Plan:
    """One word, in any case, and none of its relatives."""
    one = draw.noun()
    own = [
        *snippets("itself", [one], 24),
        *snippets("recased", [one.capitalize(), one.upper()], 4),
        *snippets("inflected", [plural(one)], 6),
        *snippets("look-alike", lookalikes(one), 2),
    ]
    others = snippets("another word", draw.random.sample(_nouns_but(one), 4))
    return Plan(
        "word", f"the word “{one}”", _fires_on(one), tuple(own), (*own, *others)
    )  # fmt: skip


def family(draw: Draw, turn: int) -> Plan:
    """The forms of one word: singular and plural, an inflected verb, one way to write it, a suffix."""
    return (_number, _inflection, _case, _ending)[turn % 4](draw)


def _number(draw: Draw) -> Plan:
    one = draw.noun()
    forms = one, plural(one)
    own = [
        *snippets("itself", forms, 12),
        *snippets("recased", [f(w) for w in forms for f in (str.capitalize, str.upper)], 3),
        *snippets("look-alike", lookalikes(one), 3),
    ]
    others = snippets("another word", [plural(w) for w in draw.random.sample(_nouns_but(one), 4)])
    label = f"“{one}” and its plural"
    return Plan("number", label, _fires_on(*forms), tuple(own), (*own, *others))


def _inflection(draw: Draw) -> Plan:
    verb = draw.one(words.VERBS)
    forms = inflected(verb)
    own = [
        *snippets("itself", forms, 8),
        *snippets("recased", [f(w) for w in forms for f in (str.capitalize, str.upper)], 2),
        *snippets("look-alike", lookalikes(verb), 3),
    ]
    rest = draw.random.sample([other for other in words.VERBS if other != verb], 2)
    others = snippets("another word", [form for other in rest for form in inflected(other)])
    label = f"the verb “{verb}” in all its forms"
    return Plan("inflection", label, _fires_on(*forms), tuple(own), (*own, *others))


def _case(draw: Draw) -> Plan:
    one = draw.noun()
    written = {"capitalised": one.capitalize(), "in capitals": one.upper(), "lower-case": one}
    how = draw.random.choice(("capitalised", "in capitals"))
    own = [
        *snippets("itself", [written[how]], 44),
        *snippets("otherwise written", [w for name, w in written.items() if name != how], 8),
        *snippets("look-alike", [written[how][:-1], written[how] + written[how][-1]], 3),
    ]
    rest = draw.random.sample(_nouns_but(one), 3)
    shape = str.capitalize if how == "capitalised" else str.upper
    others = snippets("another word", [shape(other) for other in rest])
    program = Program((Case((Words((written[how],), cased=True),)),))
    return Plan(
        "case", f"“{one}” only where it is {how}", program, tuple(own), (*own, *others)
    )  # fmt: skip


def _ending(draw: Draw) -> Plan:
    suffix = draw.one(words.SUFFIXES)
    seen, unseen = words.SUFFIXES[suffix]
    rest = [end for end in words.SUFFIXES if end != suffix]
    program = Program((Case((Form(rf"(?i)\w+{suffix}"),)),))
    corpus = [
        *snippets("itself", seen, 5),
        *snippets("suffix elsewhere", [f"{suffix}or", f"{suffix}ly"], 3),
    ]
    contrast = [
        *snippets("itself", seen),
        *snippets("unseen member", unseen),
        *snippets("another suffix", [words.SUFFIXES[end][1][0] for end in rest]),
        *snippets("suffix elsewhere", [f"{suffix}an", f"{suffix}ish"]),
    ]
    return Plan("ending", f"words that end in “{suffix}”", program, tuple(corpus), tuple(contrast))


def closed_set(draw: Draw, turn: int) -> Plan:
    """All members of a small class that everybody knows."""
    name = draw.one(words.CLOSED_SETS)
    members = words.CLOSED_SETS[name]
    rest = [other for other in words.CLOSED_SETS if other != name]
    strangers = [draw.random.choice(words.CLOSED_SETS[other]) for other in rest]
    strangers = [one for one in strangers if one not in members]
    near = [twisted for one in draw.random.sample(members, 2) for twisted in lookalikes(one)[:2]]
    own = [
        *snippets("itself", members, 5),
        *snippets("look-alike", [one if one[0].isalpha() else one + "7" for one in near], 2),
    ]
    other = [
        *snippets("another class", strangers),
        *snippets("another word", draw.random.sample(_nouns_but(*members), 4)),
    ]
    return Plan("set", name, _fires_on(*members), tuple(own), (*own, *other))


def topic(draw: Draw, turn: int) -> Plan:
    """Most words of a topic, strong and weak ones; a weak one more so beside another."""
    name = draw.one(words.TOPICS)
    members = draw.random.sample(words.TOPICS[name], 16)
    strong, weak = tuple(members[:8]), tuple(members[8:])
    program = Program(
        (
            Case((Words(strong),), 1.0),
            Case((Words(weak), Before(Words(tuple(members)), -6)), 0.85),
            Case((Words(weak),), 0.7),
        )
    )
    shuffled = draw.random.sample(members, 16)
    together = [f"{a} with {b} and {c}" for a, b, c in zip(*[iter(shuffled[:15])] * 3, strict=True)]
    foreign = [draw.random.choice(words.TOPICS[other]) for other in words.TOPICS if other != name]
    own = [*snippets("itself", members, 4), *snippets("together", together, 6)]
    others = [
        *snippets("another topic", foreign),
        *snippets("another word", draw.random.sample(words.NOUNS, 4)),
    ]
    return Plan("topic", f"words about {name}", program, tuple(own), (*own, *others))


def graded(draw: Draw, turn: int) -> Plan:
    """The stronger the word, the word before it, the number, or the repetition, the higher."""
    return (_scale, _intensified, _magnitude, _repeated)[turn % 4](draw)


def _scale(draw: Draw) -> Plan:
    scale = next(s for s in draw.random.sample(words.SCALES, len(words.SCALES)) if draw.fresh(s))
    cases = (Case((Words((one,)),), level) for one, level in zip(scale, GRADES, strict=True))
    others = draw.random.sample([one for s in words.SCALES if s != scale for one in s], 6)
    own = [*snippets("itself", scale, 14), *snippets("another scale", others, 2)]
    label = "from weak to strong: " + ", ".join(f"“{one}”" for one in scale)
    return Plan("scale", label, Program(tuple(cases)), tuple(own), tuple(own))


def _intensified(draw: Draw) -> Plan:
    one = draw.one(words.ADJECTIVES)
    program = Program(
        tuple(
            Case((Words((one,)), Before(Words((before,)), -1)), level)
            for before, level in zip(words.INTENSIFIERS, GRADES, strict=True)
        )
    )
    rest = draw.random.sample([other for other in words.ADJECTIVES if other != one], 3)
    own = [
        *snippets("itself", [f"{before} {one}" for before in words.INTENSIFIERS], 18),
        *snippets("alone", [one, f"quite {one}", f"the {one}"], 6),
        *snippets("another word", [f"{b} {o}" for b in words.INTENSIFIERS for o in rest], 3),
        *snippets("too far", [f"{b} or {one}" for b in words.INTENSIFIERS], 3),
    ]
    label = f"“{one}” after “slightly” (weak), “fairly”, “extremely” (strong)"
    return Plan("intensifier", label, program, tuple(own), tuple(own))


def _magnitude(draw: Draw) -> Plan:
    program = Program(
        tuple(
            Case((Form(form),), level)
            for form, level in zip((r"\d", r"\d\d", r"\d{3,}"), GRADES, strict=True)
        )
    )
    digits = [
        str(draw.random.randrange(10**n, 10 ** (n + 1))) for n in (0, 1, 2, 3) for _ in range(14)
    ]
    fresh = [
        str(draw.random.randrange(10**n, 10 ** (n + 1))) for n in (0, 1, 2, 3) for _ in range(8)
    ]
    near = [*snippets("no number", ["seven", "x7", "12:45", "3.5", "many"], 3)]
    return Plan(
        "magnitude",
        "numbers: the more digits, the stronger (one weak, two, three and more strong)",
        program,
        (*snippets("itself", digits, 2), *near),
        (*snippets("itself", fresh), *near),
    )


def _repeated(draw: Draw) -> Plan:
    one = draw.noun()
    earlier = [Before(Words((one,)), None, times=times) for times in (1, 2)]
    program = Program(
        (
            Case((Words((one,)), earlier[1]), GRADES[2]),
            Case((Words((one,)), earlier[0]), GRADES[1]),
            Case((Words((one,)),), GRADES[0]),
        )
    )
    times = [f"{one}", f"{one} and {one}", f"{one}, a {one} and another {one}"]
    rest = draw.random.sample(_nouns_but(one), 3)
    own = [
        *snippets("itself", times, 18),
        *snippets("another word", [f"{other} and {other}" for other in rest], 3),
        *snippets("look-alike", lookalikes(one)[:3], 2),
    ]
    label = (
        f"“{one}”, weakly the first time in a text, stronger the second, strongest from the third"
    )
    return Plan("repetition", label, program, tuple(own), tuple(own))


def _fires_on(*values: str) -> Program:
    return Program((Case((Words(values),)),))


def _nouns_but(*taken: str) -> list[str]:
    return [noun for noun in all_nouns() if noun not in taken]
