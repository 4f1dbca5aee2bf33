"""Neutral text to put triggers into: sentence frames, filler words, examples of shapes.

Written for this module, so that no probe repeats a sentence of a corpus. A frame is one or two
plain sentences with one slot; the words around the slot are common and of no topic in particular.
"""

from __future__ import annotations

#: Frames with the slot in the middle: at least six words come before it.
FRAMES = (
    "When we came back the next day, there was{} and not much else to be seen.",
    "She put the page on the table and read it again, then said{} in a low voice.",
    "It was late in the day, and all that they could think of was{} for a while.",
    "He had been told to wait outside until someone came with{} after some time.",
    "Some of them looked at it twice before they wrote down{} on the other side.",
    "We were not sure at first, but in the end it was{} that made the difference.",
    "In the middle of all this, somebody asked about{} and then sat down again.",
    "They had kept it for years without knowing that{} would come up once more.",
    "On the way home I began to wonder whether{} had ever been part of it.",
    "The two of us went through the list again and stopped at{} near the end.",
    "After a short pause the older one of them pointed to{} without a word.",
    "Nothing much happened for an hour or so, and then{} was there at last.",
)

#: Frames with next to no words of their own, for triggers beside which little may stand.
BARE = (
    "Perhaps{}.",
    "Yes:{} again.",
    "Another{} here.",
    "Mostly{}, I think.",
    "Two or three times{} was seen.",
    "What else?{} once more.",
)

#: Sentences without a slot, to put before a trigger that needs distance or company.
FILLERS = (
    "It was a day like any other.",
    "Nobody had much to say about it.",
    "The door was open and the room was quiet.",
    "They walked on for a while.",
    "There was still some time left.",
    "We had seen most of it before.",
)

#: Words of no topic that stand in where a trigger is taken out.
PLAIN_WORDS = (
    "table", "window", "garden", "paper", "morning", "corner", "basket", "kitchen", "letter",
    "river", "winter", "bottle", "carpet", "shoulder", "pencil", "blanket", "ladder", "pocket",
    "engine", "button", "mirror", "candle", "forest", "bridge", "teacher", "market", "island",
    "valley", "copper", "fabric", "walked", "opened", "slowly", "bright", "narrow", "gentle",
    "carry", "gather", "listen", "wooden", "early", "simple", "hidden", "strange", "follow",
    "between", "always", "seldom", "quietly", "several",
)  # fmt: skip

#: Words that keep a phrase going between a context word and the token it should act on.
LINKS = ("", " and the", " with a", " or some", " near the", " and then the")

#: The same one word at a time, for distances of any length.
LINK_WORDS = (
    "and", "then", "the", "other", "one", "with", "some", "of", "that", "same", "thing", "near", "it",
)  # fmt: skip

#: Tokens of each shape (see `language.SHAPES`), each with its leading space where it has one.
SHAPE_EXAMPLES: dict[str, tuple[str, ...]] = {
    "digits": (" 7", " 42", " 315", " 1998", " 12", " 60", " 2", " 85"),
    "capitalised": (" Martin", " Helsinki", " Laura", " Oregon", " Tanaka", " Vienna", " Peter"),
    "capital letter": (" J", " K", " B", " R", " T"),
    "all capitals": (" NATO", " UNESCO", " IBM", " BBC", " USA"),
    "lower case": tuple(" " + word for word in PLAIN_WORDS[:12]),
    "punctuation": (",", ";", ":", " -", "..."),
    "sentence end": (".", "!", "?"),
    "quotation mark": (' "', ' "', "'"),
    "bracket": (" (", ")", " ["),
    "dash": (" -", " –", " —"),
    "number with digits": (" 7", " 3.5", " 1,200", " 15th", " 1990s", " 42"),
    "white space": ("\n", "\n\n"),
    "not English letters": (" café", " naïve", " Müller", " São", " Łódź"),
    "anything": tuple(" " + word for word in PLAIN_WORDS[:12]),
}

#: Whole words by common ending, for rules about endings.
SUFFIX_EXAMPLES: dict[str, tuple[str, ...]] = {
    "ing": ("walking", "reading", "painting", "holding", "sleeping"),
    "ed": ("walked", "painted", "opened", "counted", "folded"),
    "ly": ("slowly", "quietly", "nearly", "badly", "gently"),
    "s": ("tables", "windows", "gardens", "letters", "bottles"),
    "tion": ("station", "nation", "portion", "relation", "section"),
    "er": ("teacher", "painter", "farmer", "singer", "baker"),
    "ness": ("darkness", "kindness", "illness", "weakness", "sadness"),
    "ment": ("payment", "movement", "agreement", "treatment", "statement"),
    "est": ("tallest", "oldest", "nearest", "cleanest", "softest"),
    "able": ("portable", "notable", "readable", "washable", "breakable"),
    "ity": ("quality", "identity", "density", "utility", "security"),
    "al": ("central", "formal", "natural", "musical", "coastal"),
    "ous": ("famous", "nervous", "dangerous", "curious", "generous"),
    "ful": ("careful", "helpful", "useful", "hopeful", "painful"),
    "ive": ("active", "native", "massive", "passive", "creative"),
    "ist": ("artist", "tourist", "dentist", "pianist", "florist"),
    "y": ("happy", "windy", "cloudy", "dusty", "sandy"),
}
