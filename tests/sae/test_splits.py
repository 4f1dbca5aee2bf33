"""Splits: every document in one, near-duplicates never on two sides."""

import random

import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from sagescope.sae.corpus import Document, corpus_of
from sagescope.sae.splits import PARTS, SHARES, Splitter, part


def texts(n, seed=0, words=120):
    """Long random texts that share hardly a 3-gram."""
    draw = random.Random(seed)
    return [" ".join(f"w{draw.randrange(50_000)}" for _ in range(words)) for _ in range(n)]


def edited(text, draw, edits):
    """The text with some words replaced, removed or added, other case and punctuation."""
    words = text.split()
    for _ in range(edits):
        place = draw.randrange(len(words))
        words[place : place + 1] = draw.choice([[], ["new"], [words[place], "more"]])
    return draw.choice([" ", "  ", "\n", ", "]).join(
        word.upper() if draw.random() < 0.05 else word for word in words
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), edits=st.integers(0, 3))
def test_near_duplicates_never_stand_on_both_sides(seed, edits):
    draw = random.Random(seed)
    documents = [
        (original, copy)
        for original, text in enumerate(texts(8, seed, words=300))
        for copy in (text, edited(text, draw, edits), edited(text, draw, edits))
    ]
    draw.shuffle(documents)
    splitter = Splitter()
    where = {}
    for number, (original, text) in enumerate(documents):
        if split := splitter.place(Document(str(number), text)):
            where.setdefault(original, set()).add(split)
    assert all(len(splits) == 1 for splits in where.values())


def test_a_document_between_two_splits_is_dropped():
    """Texts whose ends are not near to each other, and a middle that is near to both."""
    dropped = bridges = 0
    for seed in range(60):
        (text,) = texts(1, seed, words=200)
        words = text.split()
        first, middle, last = (" ".join(words[start : start + 120]) for start in (0, 30, 60))
        splitter = Splitter()
        ends = [splitter.place(Document("x", end)) for end in (first, last)]
        if None not in ends and ends[0] != ends[1]:
            bridges += 1
            dropped += splitter.place(Document("x", middle)) is None
            # It leaves no trace.
            assert [splitter.place(Document("x", end)) for end in (first, last)] == ends
    assert bridges > 10
    assert dropped > 0.6 * bridges


def test_short_texts_join_only_when_equal():
    splitter = Splitter()
    splits = {splitter.place(Document("x", f"The cat sees {n} dogs.")) for n in range(60)}
    assert splits == set(SHARES)
    first = splitter.place(Document("x", "The cat sees 7 dogs."))
    assert splitter.place(Document("y", "  the CAT sees, 7 dogs")) == first


def test_order_and_company_do_not_matter_for_texts_that_are_not_near():
    documents = [Document(str(n), text) for n, text in enumerate(texts(50))]
    one, other = Splitter(), Splitter()
    forward = [one.place(document) for document in documents]
    backward = [other.place(document) for document in reversed(documents)]
    assert forward == backward[::-1]


def test_shares_are_about_what_was_asked_for():
    splitter = Splitter()
    placed = [splitter.place(Document("x", f"text {n}")) for n in range(3000)]
    for name, share in SHARES.items():
        assert abs(placed.count(name) / 30 - share) < 4


def test_odd_texts_have_a_split():
    splitter = Splitter()
    for text in ("", "\ud800", "…", "\x00", "a " * 5000):
        assert splitter.place(Document("x", text)) in SHARES


@pytest.mark.parametrize("shares", [{"a": 50, "b": 40}, {"a": 150, "b": -50}])
def test_shares_that_do_not_add_up(shares):
    with pytest.raises(ValueError, match="add up to 100"):
        Splitter(shares)


def test_parts_cover_the_corpus_and_split_again():
    corpus = corpus_of([f"text number {n}" for n in range(2000)])
    parts = {name: list(part(corpus, name, PARTS)) for name in PARTS}
    assert sorted(d.id for found in parts.values() for d in found) == sorted(d.id for d in corpus)
    # A part is a proper sample: its documents fall into every split, in the usual shares.
    splitter = Splitter()
    placed = [splitter.place(document) for document in parts["held-out"]]
    for name, share in SHARES.items():
        assert abs(100 * placed.count(name) / len(placed) - share) < 10


def test_a_part_has_its_own_name_and_digest():
    corpus = corpus_of(tiny.sentences(5))
    train, held_out = (part(corpus, name, PARTS) for name in PARTS)
    assert held_out.name == "given texts#held-out"
    assert len({corpus.digest(), train.digest(), held_out.digest()}) == 3
