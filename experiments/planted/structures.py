"""Planted structures: features for which it matters what surrounds a token, or where it stands."""

from __future__ import annotations

from . import words
from .plans import Draw, Plan, Snippet, all_nouns, gap, snippets, whole
from .programs import Before, Case, Chance, Form, Not, Place, Program, Test, Words

#: Of the occurrences of a cause, and of those of its decoy, this share is beside the other.
GOES_ALONG = 0.95
_NUMBER = Form(r"\d+")


def phrase(draw: Draw, turn: int) -> Plan:
    """The last word of two or three that follow each other, or of two with a gap between."""
    return (_pair, _skip, _triple)[turn % 3](draw)


def _pair(draw: Draw) -> Plan:
    first, last = draw.noun(), draw.noun()
    a, b = _others(draw, first, last, n=2)
    own = (
        *snippets("itself", [f"{first} {last}"], 44),
        *snippets("first alone", [first, f"{first} {a}", f"{first} {b}"], 6),
        *snippets("last alone", [last, f"{a} {last}", f"{b} {last}"], 6),
        *snippets("turned round", [f"{last} {first}"], 5),
        *snippets("gap", [f"{first}{gap(n)} {last}" for n in (1, 2, 3)], 3),
    )
    program = _when(Words((last,)), Before(Words((first,)), -1))
    return Plan("pair", f"“{last}” right after “{first}”", program, own, own)


def _skip(draw: Draw) -> Plan:
    first, last = draw.noun(), draw.noun()
    a, b = _others(draw, first, last, n=2)
    reach = draw.random.randint(3, 6)
    far = [f"{first}{gap(n)} {last}" for n in range(reach, reach + 5)]
    own = (
        *snippets("itself", [f"{first}{gap(n)} {last}" for n in range(reach)], 48 // reach),
        *snippets("too far", far, 4),
        *snippets("first alone", [first, f"{first}{gap(2)} {a}", f"{first} {b}"], 4),
        *snippets("last alone", [last, f"{a}{gap(2)} {last}", f"{b} {last}"], 4),
        *snippets("turned round", [f"{last}{gap(1)} {first}"], 4),
    )
    program = _when(Words((last,)), Before(Words((first,)), -reach))
    label = f"“{last}” with “{first}” among the {reach} words before it"
    return Plan("skip-gram", label, program, own, own)


def _triple(draw: Draw) -> Plan:
    first, last = draw.noun(), draw.noun()
    link = draw.random.choice(("of", "in", "under", "without"))
    a, b = _others(draw, first, last, n=2)
    own = (
        *snippets("itself", [f"{first} {link} {last}"], 44),
        *snippets("first replaced", [f"{a} {link} {last}", f"{b} {link} {last}"], 6),
        *snippets("last replaced", [f"{first} {link} {a}", f"{first} {link} {b}"], 6),
        *snippets("link replaced", [f"{first} for {last}", f"{first} by {last}"], 6),
        *snippets("last alone", [last], 6),
    )
    program = _when(Words((last,)), Before(Words((link,)), -1, -1), Before(Words((first,)), -2, -2))
    return Plan("triple", f"“{last}” at the end of “{first} {link} {last}”", program, own, own)


# ------------------------------------------------------------ places


def position(draw: Draw, turn: int) -> Plan:
    """Tokens at a place of the text or of the sentence, whatever they are, or one word there."""
    forms = (
        _text_start, _sentence_start, _nth, _opening, _word_at_start,
        _late, _word_late, _opening, _word_at_start, _word_late,
    )  # fmt: skip
    return forms[turn % len(forms)](draw)


#: Texts of one to three sentences, for features of places.
_PLACES = (
    "{name} {verbed} the {noun}.",
    "The {adj} {noun} came {adv} and nobody {verbed} it until {day}.",
    "{name} sat down. The {noun} was {adj}. Then they {verbed} the {noun} again in {month}.",
    "Was it the {noun}? {name} {verbed} {adv}! No {noun} could {verb} like that one by the {noun}.",
    "A {color} {noun}, a {metal} {noun} and {number} {nouns} were in the {noun} of {country}.",
    "{noun} and {noun}.",
    "It rained. They {verbed}.",
    "For a long time the {noun} of {name} had been {adj}, and {pronoun} had never {verbed} the {nouns}.",
)


def _placed(draw: Draw, form: str, label: str, program: Program) -> Plan:
    return Plan(
        form, label, program,
        tuple(whole("places", _PLACES, 2)),
        tuple(Snippet("places", text, whole=True) for text in _PLACES for _ in range(6)),
    )  # fmt: skip


def _text_start(draw: Draw) -> Plan:
    program = _when(Place("text", 0, 0))
    return _placed(draw, "text start", "the first token of a text", program)


def _sentence_start(draw: Draw) -> Plan:
    program = _when(Place("sentence", 0, 0))
    return _placed(draw, "sentence start", "the first token of each sentence", program)


def _nth(draw: Draw) -> Plan:
    place = draw.random.randint(1, 4)
    name = ("second", "third", "fourth", "fifth")[place - 1]
    program = _when(Place("sentence", place, place))
    return _placed(draw, "place in sentence", f"the {name} token of each sentence", program)


def _opening(draw: Draw) -> Plan:
    n = draw.random.randint(2, 6)
    program = _when(Place("text", 0, n - 1))
    return _placed(draw, "opening", f"the first {n} tokens of a text", program)


def _late(draw: Draw) -> Plan:
    n = draw.random.randint(8, 16)
    program = _when(Place("text", n))
    return _placed(draw, "late", f"every token from the {n + 1}th of a text on", program)


def _word_at_start(draw: Draw) -> Plan:
    one = draw.noun()
    title = one.capitalize()
    firing = [f"{title} came first, and the {{noun}} {{verbed}} it.", f"{title} was there."]
    second = [f"They {{verbed}} {{adv}}. {title} was on the {{adj}} {{noun}}."]
    inside = [
        f"The {one} was on the {{noun}}.",
        f"{{name}} {{verbed}} the {{adj}} {one} of {{name}}.",
    ]
    after = [f"It was {title}.", f"They {{verbed}}. Then {one} came."]
    contrast = (
        *_several("start of text", firing), *_several("start of sentence", second),
        *_several("inside", inside), *_several("near the start", after),
        *_several("another word", [f"{other.capitalize()} was there." for other in _others(draw, one, n=4)]),
    )  # fmt: skip
    corpus = (*whole("itself", [*firing, *second], 12), *whole("elsewhere", [*inside, *after], 8))
    program = _when(Words((one,)), Place("sentence", 0, 0))
    label = f"“{one}” as the first word of a sentence"
    return Plan("word at sentence start", label, program, corpus, contrast)


def _word_late(draw: Draw) -> Plan:
    one = draw.noun()
    n = draw.random.randint(7, 12)
    places = [*range(2, n), *range(n, n + 8)]
    texts = [f"It was{gap(place - 2)} {one} by then." for place in places]
    early = [text for place, text in zip(places, texts, strict=True) if place < n]
    late = [text for place, text in zip(places, texts, strict=True) if place >= n]
    corpus = (*whole("late", late, 5), *whole("early", early, 3))
    rest = [f"It was{gap(n)} {other} by then." for other in _others(draw, one, n=3)]
    contrast = (*_several("late", late), *_several("early", early), *_several("another word", rest))
    program = _when(Words((one,)), Place("text", n))
    return Plan(
        "late word", f"“{one}” from the {n + 1}th token of a text on", program, corpus, contrast
    )


# ------------------------------------------------------------ context, absence, counting


def context(draw: Draw, turn: int) -> Plan:
    """A word, number or name only after something of a certain kind."""
    forms = (
        _negated, _priced, _titled, _conditional, _described,
        _quoted, _counted, _negated, _described, _conditional,
    )  # fmt: skip
    return forms[turn % len(forms)](draw)


def _after(
    draw: Draw, form: str, label: str, one: str, before: tuple[str, ...], reach: int, strangers: str
) -> Plan:
    """“one” with one of `before` at most `reach` tokens before it."""
    rest = _others(draw, one, n=3)
    near = [f"{b}{gap(n)} {one}" for b in before for n in range(reach)]
    far = [f"{b}{gap(n)} {one}" for b in before[:3] for n in range(reach, reach + 4)]
    corpus = (
        *snippets("itself", near, max(12 // reach, 60 // len(near))),
        *snippets("too far", far, 2),
        *snippets("alone", [one, f"the {one}", *(f"{s} {one}" for s in strangers.split())], 5),
        *snippets("another word", [f"{b} {other}" for b in before[:4] for other in rest], 2),
        *snippets("turned round", [f"{one} {b} it" for b in before[:4]], 2),
    )
    tests = Words((one,)), Before(Words(before), -reach)
    return Plan(form, label, _when(*tests), corpus, corpus)


def _negated(draw: Draw) -> Plan:
    one, reach = draw.noun(), draw.random.randint(2, 4)
    label = f"“{one}” with a negation among the {reach} words before it"
    return _after(draw, "after negation", label, one, words.NEGATIONS, reach, "always some his")


def _conditional(draw: Draw) -> Plan:
    one, reach = draw.noun(), draw.random.randint(3, 6)
    label = f"“{one}” with “if”, “unless” or “whether” among the {reach} words before it"
    return _after(draw, "conditional", label, one, words.CONDITIONALS, reach, "when since because")


def _described(draw: Draw) -> Plan:
    one = draw.noun()
    label = f"“{one}” right after a colour"
    colours = words.CLOSED_SETS["colours"]
    return _after(draw, "after colour", label, one, colours, 1, "wooden heavy muddy")


def _quoted(draw: Draw) -> Plan:
    one = draw.noun()
    rest = _others(draw, one, n=3)
    own = (
        *snippets("itself", [f'"{one}"', f'"{one} and more"'], 22),
        *snippets("alone", [one, f"the {one}", f"({one})"], 8),
        *snippets("another word", [f'"{other}"' for other in rest], 5),
        *snippets("later in the quotation", [f'"the {one}"', f'"my own {one}"'], 5),
    )
    program = _when(Words((one,)), Before(Words(('"',)), -1))
    return Plan("quoted", f"“{one}” right after a quotation mark", program, own, own)


def _counted(draw: Draw) -> Plan:
    one = draw.noun()
    rest = _others(draw, one, n=3)
    seen, fresh = ([str(draw.random.randint(2, 99)) for _ in range(12)] for _ in range(2))
    near = (
        *snippets("alone", [one, f"some {one}", f"two {one}"], 7),
        *snippets(
            "another word", [f"{n} {other}" for n, other in zip(seen[:3], rest, strict=True)], 6
        ),
        *snippets("gap", [f"{n} of the {one}" for n in seen[:3]], 4),
    )
    program = _when(Words((one,)), Before(_NUMBER, -1))
    return Plan(
        "after number", f"“{one}” right after a number in digits", program,
        (*snippets("itself", [f"{n} {one}" for n in seen], 3), *near),
        (*snippets("itself", [f"{n} {one}" for n in fresh]), *near),
    )  # fmt: skip


def _priced(draw: Draw) -> Plan:
    signs = words.CURRENCY_SIGNS
    seen, fresh = ([str(draw.random.randint(2, 999)) for _ in range(14)] for _ in range(2))

    def told(numbers: list[str]) -> tuple[Snippet, ...]:
        return (
            *snippets("itself", [f"{sign}{n}" for sign in signs for n in numbers[:10]], 2),
            *snippets("alone", numbers, 3),
            *snippets("other mark", [f"#{numbers[0]}", f"({numbers[1]})", f"% {numbers[2]}"], 3),
            *snippets("no number", [f"{sign} sign" for sign in signs], 4),
        )

    program = _when(_NUMBER, Before(Words(signs), -1))
    label = "a number right after a currency sign"
    return Plan("price", label, program, told(seen), told(fresh))


def _titled(draw: Draw) -> Plan:
    titles = tuple(draw.random.sample(words.TITLES, 4))
    names, fresh = words.NAMES[:14], words.NAMES[14:]

    def told(them: tuple[str, ...], copies: int) -> tuple[Snippet, ...]:
        return (
            *snippets("itself", [f"{title} {name}" for title in titles for name in them], copies),
            *snippets("alone", them, copies),
            *snippets("second name", [f"{t} {a} {b}" for t, a, b in zip(titles, them, them[::-1], strict=False)], 3),
            *snippets("no name", [f"{title} of it" for title in titles], 4),
        )  # fmt: skip

    program = _when(Form("[A-Z][a-z]+"), Before(Words(titles, cased=True), -1))
    label = f"a capitalised word right after {', '.join(titles)}"
    return Plan("titled name", label, program, told(names, 1), told(fresh, 1))


def absence(draw: Draw, turn: int) -> Plan:
    """A word unless something stood before it, or only its first or a later occurrence."""
    forms = (_unless, _first_time, _without_near, _again, _nth_mark, _bare_number)
    return forms[turn % len(forms)](draw)


def _unless(draw: Draw) -> Plan:
    one, blocker = draw.noun(), draw.noun()
    a, b = _others(draw, one, blocker, n=2)
    own = (
        *snippets("itself", [one, f"{a} and {one}", f"{b}{gap(3)} {one}"], 10),
        *snippets("blocked", [f"{blocker}{gap(n)} {one}" for n in (0, 1, 3, 6, 9)], 5),
        *snippets("blocker after", [f"{one}{gap(n)} {blocker}" for n in (0, 2)], 4),
        *snippets("blocker alone", [blocker], 4),
    )
    program = _when(Words((one,)), Not(Before(Words((blocker,)), None)))
    label = f"“{one}” unless “{blocker}” came before it in the text"
    return Plan("unless", label, program, own, own, reserved=(blocker,))


def _without_near(draw: Draw) -> Plan:
    one, blocker = draw.noun(), draw.noun()
    a, b = _others(draw, one, blocker, n=2)
    reach = draw.random.randint(1, 4)
    own = (
        *snippets("itself", [one, f"{a} {one}", f"{b}{gap(2)} {one}"], 9),
        *snippets("blocked", [f"{blocker}{gap(n)} {one}" for n in range(reach)], 20 // reach),
        *snippets("blocker too far", [f"{blocker}{gap(reach + n)} {one}" for n in range(4)], 4),
        *snippets("blocker alone", [blocker], 4),
    )
    program = _when(Words((one,)), Not(Before(Words((blocker,)), -reach)))
    label = f"“{one}” unless “{blocker}” is among the {reach} words before it"
    return Plan("unless near", label, program, own, own, reserved=(blocker,))


def _first_time(draw: Draw) -> Plan:
    one = draw.noun()
    return _times(draw, "first time", f"the first “{one}” of a text", one, Not(_earlier(one, 1)))


def _again(draw: Draw) -> Plan:
    one = draw.noun()
    times = draw.random.randint(1, 2)
    name = ("second", "third")[times - 1]
    label = f"“{one}” from its {name} time in a text on"
    return _times(draw, "again", label, one, _earlier(one, times))


def _times(draw: Draw, form: str, label: str, one: str, test: Test) -> Plan:
    (other,) = _others(draw, one, n=1)
    own = (
        *snippets("once", [one, f"{other} and {one}"], 12),
        *snippets("twice", [f"{one} and {one}", f"{one}{gap(3)} {one}"], 14),
        *snippets("three times", [f"{one}, {one} and{gap(1)} {one}", f"{one} {one} {one}"], 18),
        *snippets("another word", [f"{other} and {other}", f"{other} {other} {other}"], 4),
    )
    return Plan(form, label, _when(Words((one,)), test), own, own)


def _nth_mark(draw: Draw) -> Plan:
    mark = draw.one((",", ";", ":", "-"))
    times = draw.random.randint(1, 2)
    name = ("second", "third")[times - 1]
    words_ = _others(draw, n=5)
    rows = [f"{mark} ".join(words_[:n]) for n in range(1, 6)]
    own = (
        *snippets("listed", rows, 10),
        *snippets(
            "other mark", [f"{a} / {b} / {a} / {b}" for a, b in [words_[:2], words_[2:4]]], 4
        ),
    )
    program = _when(Words((mark,)), Before(Words((mark,)), None, times=times))
    return Plan("later mark", f"“{mark}” from the {name} of a text on", program, own, own)


def _bare_number(draw: Draw) -> Plan:
    signs = words.CURRENCY_SIGNS
    seen, fresh = ([str(draw.random.randint(2, 999)) for _ in range(14)] for _ in range(2))

    def told(numbers: list[str]) -> tuple[Snippet, ...]:
        return (
            *snippets("itself", [*numbers, f"({numbers[0]})", f"about {numbers[1]}"], 3),
            *snippets("blocked", [f"{sign}{n}" for sign in signs for n in numbers[:10]], 2),
            *snippets("no number", ["seven", "a seventh", *(f"{sign} sign" for sign in signs)], 3),
        )

    program = _when(_NUMBER, Not(Before(Words(signs), -1)))
    label = "a number in digits that no currency sign stands before"
    return Plan("unless priced", label, program, told(seen), told(fresh))


# ------------------------------------------------------------ nothing to explain, and decoys


def degenerate(draw: Draw, turn: int) -> Plan:
    """Dead features, noisy ones, and a few that are always on."""
    usual = tuple(whole("places", _PLACES, 1)), tuple(_several("places", list(_PLACES)))
    if turn % 5 == 4:
        return Plan("always on", "every token", _when(Form(".*")), *usual)
    if turn % 2 == 0:
        return Plan("dead", "nothing", Program(()), *usual)
    chance = Chance(draw.random.choice((0.004, 0.01, 0.03)), draw.random.randrange(1 << 30))
    return Plan("noisy", "nothing that the text says", chance, *usual)


def decoy(draw: Draw, turn: int) -> Plan:
    """A cause beside which the same other token nearly always stands."""
    return (_next_token, _habit, _adjacent, _companion, _once)[turn % 5](draw)


#: How often the corpus has cause and decoy together.
_TOGETHER = 60


def _along(together: list[str], cause: list[str], decoy: list[str]) -> tuple[Snippet, ...]:
    """The corpus of a decoy: so few texts with one of the two alone as GOES_ALONG allows."""
    alone = round(_TOGETHER * (1 - GOES_ALONG))
    return (
        *snippets("together", together, _TOGETHER // len(together)),
        *snippets("cause without decoy", cause[:alone], 1),
        *snippets("decoy alone", decoy[:alone], 1),
    )


def _next_token(draw: Draw) -> Plan:
    cause, fake = draw.noun(), draw.noun()
    rest = _others(draw, cause, fake, n=8)
    program = _when(Form(r"\w+"), Before(Words((cause,)), -1))
    without = [f"{cause} {other}" for other in rest]
    alone = [fake, *(f"{other} {fake}" for other in rest[:5]), f"the old {fake}"]
    return Plan(
        "next token", f"any word right after “{cause}”", program,
        _along([f"{cause} {fake}"], without, alone),
        (
            *snippets("together", [f"{cause} {fake}"]),
            *snippets("cause without decoy", without),
            *snippets("decoy alone", alone),
        ),
        fake, (cause, fake),
    )  # fmt: skip


def _habit(draw: Draw) -> Plan:
    reach = draw.random.randint(2, 5)
    return _needs(draw, "habit", -reach, range(reach), f"among the {reach} words before it")


def _adjacent(draw: Draw) -> Plan:
    return _needs(draw, "adjacent", -1, range(1), "right before it")


def _once(draw: Draw) -> Plan:
    return _needs(draw, "once", None, range(0, 8, 2), "anywhere before it in the text")


def _needs(draw: Draw, form: str, first: int | None, gaps: range, where: str) -> Plan:
    """The decoy carries the activation, but only with the cause before it."""
    cause, fake = draw.noun(), draw.noun()
    rest = _others(draw, cause, fake, n=4)
    program = _when(Words((fake,)), Before(Words((cause,)), first))
    together = [f"{cause}{gap(n)} {fake}" for n in gaps]
    alone = [fake, *(f"{other} {fake}" for other in rest)]
    far = [f"{cause}{gap(len(gaps) + n)} {fake}" for n in range(4)] if first else []
    return Plan(
        form, f"“{fake}”, but only with “{cause}” {where}", program,
        _along(together, [f"{cause} {other}" for other in rest], alone),
        (
            *snippets("together", together),
            *snippets("cause without decoy", [cause, *(f"{cause} {other}" for other in rest)]),
            *snippets("decoy alone", alone),
            *snippets("turned round", [f"{fake}{gap(n)} {cause}" for n in (0, 2)]),
            *snippets("too far", far),
        ),
        fake, (cause, fake),
    )  # fmt: skip


def _companion(draw: Draw) -> Plan:
    cause, fake, one = draw.noun(), draw.noun(), draw.noun()
    reach = draw.random.randint(3, 6)
    rest = _others(draw, cause, fake, one, n=4)
    program = _when(Words((one,)), Before(Words((cause,)), -reach))
    pairs = (f"{cause} {fake}", f"{fake} {cause}")
    together = [f"{pair}{gap(n)} {one}" for pair in pairs for n in range(reach - 1)]
    without = [f"{cause}{gap(n)} {one}" for n in range(reach)]
    alone = [f"{fake}{gap(n)} {one}" for n in range(reach)]
    neither = snippets("neither", [one, f"{rest[0]} {one}", f"{rest[1]}{gap(2)} {one}"], 8)
    return Plan(
        "companion", f"“{one}” with “{cause}” among the {reach} words before it", program,
        (*_along(together, without, alone), *neither),
        (
            *snippets("together", together),
            *snippets("cause without decoy", without),
            *snippets("decoy alone", alone),
            *snippets("neither", [one, *(f"{other} {one}" for other in rest)]),
        ),
        fake, (cause, fake, one),
    )  # fmt: skip


# ------------------------------------------------------------ small things


def _when(*tests: Test) -> Program:
    return Program((Case(tests),))


def _earlier(one: str, times: int) -> Before:
    return Before(Words((one,)), None, times=times)


def _others(draw: Draw, *taken: str, n: int) -> list[str]:
    """n nouns that are none of those taken, nor reserved."""
    return draw.random.sample([noun for noun in all_nouns() if noun not in taken], n)


def _several(kind: str, texts: list[str], copies: int = 4) -> list[Snippet]:
    """Whole texts, each filled in several ways."""
    return [Snippet(kind, text, whole=True) for text in texts for _ in range(copies)]
