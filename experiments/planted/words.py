"""The vocabulary of planted corpora: words by what they have in common, written for this suite."""

from __future__ import annotations

from collections.abc import Mapping


def _split(words: str) -> tuple[str, ...]:
    return tuple(words.split())


#: Words of one topic each; no word is in two of them.
TOPICS: Mapping[str, tuple[str, ...]] = {
    "the sea": _split(
        "harbour sailor anchor tide reef deck captain vessel lighthouse mast whale coral wharf "
        "ferry rudder shipwreck lagoon compass"
    ),
    "cooking": _split(
        "oven recipe flour butter saucepan onion garlic dough spoon soup pepper kitchen stew "
        "vinegar pastry roast whisk apron"
    ),
    "law": _split(
        "lawyer judge verdict court jury plaintiff statute bail witness prosecutor testimony "
        "felony lawsuit clause attorney parole tribunal subpoena"
    ),
    "medicine": _split(
        "doctor nurse surgery vaccine fever clinic patient dosage symptom diagnosis ward tumour "
        "infection antibiotic bandage stethoscope therapy ambulance"
    ),
    "music": _split(
        "melody guitar violin chorus orchestra rhythm piano concert drummer lyric soprano cello "
        "trumpet sonata chord banjo quartet tempo"
    ),
    "space": _split(
        "rocket orbit satellite comet astronaut galaxy telescope nebula asteroid crater lunar "
        "cosmos spacecraft eclipse meteor supernova gravity launchpad"
    ),
    "farming": _split(
        "tractor harvest barn wheat cattle plough orchard meadow fertiliser silo shepherd hay "
        "pasture livestock irrigation scarecrow poultry acre"
    ),
    "war": _split(
        "soldier battle trench general cannon infantry siege bayonet regiment truce bombardment "
        "armour sniper garrison platoon cavalry ammunition barracks"
    ),
    "money": _split(
        "bank loan mortgage dividend investor inflation creditor deposit invoice bond auditor "
        "broker pension ledger subsidy bankruptcy interest treasury"
    ),
    "weather": _split(
        "storm thunder drizzle blizzard hail humidity breeze tornado forecast lightning fog "
        "hurricane frost downpour drought sleet monsoon thermometer"
    ),
    "school": _split(
        "pupil homework classroom teacher exam blackboard lesson curriculum textbook scholar "
        "semester lecture tutor diploma kindergarten principal essay spelling"
    ),
    "religion": _split(
        "church prayer bishop temple monk hymn altar psalm pilgrim sermon cathedral priest mosque "
        "rabbi scripture chapel baptism abbey"
    ),
    "computing": _split(
        "keyboard software compiler server database browser algorithm processor laptop debugger "
        "password router firewall spreadsheet pixel backup modem programmer"
    ),
    "sport": _split(
        "goalkeeper stadium referee tournament striker penalty athlete coach marathon sprinter "
        "scoreboard racket hurdle wrestler umpire javelin gymnast relay"
    ),
    "theatre": _split(
        "actor stage curtain audience rehearsal playwright costume applause director tragedy "
        "comedy balcony spotlight puppet monologue script dancer backdrop"
    ),
    "travel": _split(
        "luggage passport hotel airport suitcase tourist platform ticket itinerary customs hostel "
        "souvenir guidebook terminal voyage embassy backpack departure"
    ),
}  # fmt: skip

#: Nouns of no topic.
NOUNS = _split(
    "table window basket ladder pencil blanket bottle carpet mirror candle button pocket engine "
    "bridge island valley fabric statue marble feather hammer kettle lantern needle pillow ribbon "
    "saddle shovel tunnel walnut wagon bucket cabinet chimney cradle fence fountain gate hinge "
    "jacket kite lamp mitten napkin oar parcel quilt rope sponge thimble umbrella vase wheel yarn "
    "anvil barrel crystal dagger envelope fiddle glove helmet jewel knob locket magnet notebook "
    "paddle quarry rafter scarf tray urn velvet whistle axle badge clasp drawer easel flask grate "
    "hatch ink jug keg lever mallet nozzle orb pulley rack sieve tassel vault wedge zipper acorn "
    "beacon coin dome emblem fossil gadget hammock icicle jigsaw kennel lattice medal nugget"
)  # fmt: skip

ADJECTIVES = _split(
    "wooden narrow gentle hidden strange early simple bright heavy quiet broken clever dusty empty "
    "fragile golden hollow idle jagged keen lonely muddy noble orderly plain rusty silent tender "
    "upright vivid weary young ancient brittle coarse eager faint glossy humble"
)

#: Regular verbs; see `inflected`.
VERBS = _split(
    "walk paint gather listen follow open count fold repair polish deliver borrow collect examine "
    "mention notice offer answer climb copy finish guard hunt invent join kick lift measure order "
    "pack remember sort touch visit wander yell admire bake cancel decorate"
)

ADVERBS = _split(
    "slowly quietly nearly badly gently quickly rarely firmly boldly calmly neatly loudly sadly "
    "wisely mildly proudly"
)

NAMES = _split(
    "Laura Peter Martin Tanaka Ingrid Oscar Miriam Jonas Clara Victor Helena Rashid Sofia Edgar "
    "Amara Felix Naomi Bruno Greta Hassan"
)

#: Classes with few members, all of them known to everybody.
CLOSED_SETS: Mapping[str, tuple[str, ...]] = {
    "months": _split(
        "January February March April May June July August September October November December"
    ),
    "days of the week": _split("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
    "single digits": _split("0 1 2 3 4 5 6 7 8 9"),
    "number words": _split("one two three four five six seven eight nine ten eleven twelve"),
    "currencies": _split("dollar euro pound yen rupee peso franc krona rouble lira dinar zloty"),
    "countries": _split(
        "France Japan Brazil Kenya Norway Egypt Canada India Peru Poland Vietnam Ghana Spain Chile"
    ),
    "colours": _split("red blue green yellow purple orange black white brown pink grey violet"),
    "planets": _split("Mercury Venus Mars Jupiter Saturn Uranus Neptune"),
    "metals": _split("iron copper silver tin lead zinc nickel titanium platinum aluminium"),
    "animals": _split(
        "horse tiger rabbit eagle salmon spider goat donkey otter falcon badger lynx"
    ),
    "fruit": _split("apple banana cherry lemon mango peach pear plum grape melon apricot papaya"),
    "relatives": _split("mother father sister brother uncle aunt cousin nephew niece grandmother"),
    "compass points": _split("north south east west northeast northwest southeast southwest"),
    "seasons": _split("spring summer autumn winter"),
    "pronouns": _split("he she they him her them his their"),
    "body parts": _split("elbow knee shoulder wrist ankle chin thumb forehead heel hip"),
}

#: Suffix → words that end in it: those of the corpus first, then those kept for contrast sets.
SUFFIXES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ness": (
        _split("kindness darkness sadness weakness illness brightness fitness sweetness madness"),
        _split("emptiness boldness calmness stiffness"),
    ),
    "ment": (
        _split(
            "payment movement agreement treatment statement shipment basement pavement judgment"
        ),
        _split("amusement equipment investment retirement"),
    ),
    "tion": (
        _split("station nation portion relation section fiction motion auction caption"),
        _split("donation vacation rotation selection"),
    ),
    "able": (
        _split("portable notable readable washable breakable capable probable stable movable"),
        _split("adorable durable sociable valuable"),
    ),
    "ous": (
        _split("famous nervous dangerous curious generous jealous serious anxious envious"),
        _split("gracious glorious spacious tedious"),
    ),
    "ist": (
        _split("artist florist dentist pianist chemist novelist cyclist typist linguist"),
        _split("cellist optimist realist stylist"),
    ),
    "ship": (
        _split("friendship hardship ownership township leadership kinship worship fellowship"),
        _split("membership partnership apprenticeship censorship"),
    ),
    "ful": (
        _split("careful helpful useful hopeful painful graceful joyful peaceful skilful"),
        _split("cheerful dreadful fearful wonderful"),
    ),
    "hood": (
        _split("childhood brotherhood neighbourhood likelihood adulthood falsehood motherhood"),
        _split("knighthood parenthood statehood livelihood"),
    ),
    "ward": (
        _split("forward backward upward downward awkward toward inward homeward"),
        _split("outward skyward eastward seaward"),
    ),
}

#: Words that grow in strength.
SCALES: tuple[tuple[str, ...], ...] = (
    _split("lukewarm toasty scorching"),
    _split("chilly freezing glacial"),
    _split("decent splendid magnificent"),
    _split("annoyed angry furious"),
    _split("damp soggy drenched"),
    _split("tiny modest gigantic"),
    _split("whispered shouted screamed"),
    _split("pleased delighted ecstatic"),
    _split("peckish hungry starving"),
    _split("unlikely plausible certain"),
    _split("dim glowing dazzling"),
    _split("poor wealthy opulent"),
    _split("drowsy tired exhausted"),
    _split("uneasy scared terrified"),
    _split("bland tangy fiery"),
    _split("slow brisk breakneck"),
)
#: What makes a word after it weaker or stronger.
INTENSIFIERS = _split("slightly fairly extremely")

#: Words of grammar that conditions of context use.
NEGATIONS = ("not", "never", "no", "without")
CURRENCY_SIGNS = ("$", "€", "£")
TITLES = ("Dr", "Mr", "Mrs", "Captain", "Professor", "Lord")
CONDITIONALS = ("if", "unless", "whether")
REPORTS = ("said", "wrote", "claimed", "replied")

#: Words of nothing in particular that fill a gap.
FILL = _split(
    "old small other same late long far new next last plain good first own little whole main own"
)


def inflected(verb: str) -> tuple[str, ...]:
    """The forms of a regular verb: walk, walks, walked, walking."""
    if verb.endswith("e"):
        return verb, verb + "s", verb + "d", verb[:-1] + "ing"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb, verb[:-1] + "ies", verb[:-1] + "ied", verb + "ing"
    third = verb + ("es" if verb.endswith(("s", "sh", "ch", "x")) else "s")
    return verb, third, verb + "ed", verb + "ing"


def plural(noun: str) -> str:
    """The regular plural of a noun."""
    if noun.endswith(("s", "sh", "ch", "x")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def lookalikes(word: str) -> tuple[str, ...]:
    """Strings that are spelled like a word and are none of its forms."""
    return (
        word + "dom",
        "un" + word,
        word[:-1] + ("o" if word[-1] != "o" else "u"),
        word[: max(3, len(word) - 2)] + "ax",
        "mis" + word + "y",
    )
