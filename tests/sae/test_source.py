"""Feature sources made from functions."""

import asyncio
import json

import pytest

from sagescope.sae.errors import CorpusError, FeatureError, TextError
from sagescope.sae.source import FeatureSource, FunctionSource, with_spaces

TEXTS = [f"the cat number {n} sat near a dog" for n in range(150)]


def fires_on_cat(text, feature):
    return [(word, 2.0 if word == "cat" else 0.0) for word in text.split()]


def ask(source, feature, texts):
    return asyncio.run(source.activations(feature, texts))


def test_a_function_is_a_feature_source():
    source = FunctionSource(fires_on_cat, 1, TEXTS)
    assert isinstance(source, FeatureSource)
    (found,) = ask(source, 0, ["a cat sat"])
    assert found.tokens == ("a", " cat", " sat")
    assert found.activations.tolist() == [0, 2, 0]
    assert source.tokenize(["a cat"]) == [("a", " cat")]


def test_its_evidence_covers_the_corpus():
    evidence = FunctionSource(fires_on_cat, 1, TEXTS).evidence
    windows = sum(len(split.tokens.starts) - 1 for split in evidence.splits.values())
    assert windows == len(TEXTS)
    assert evidence.reader("explainer").split("explain").stats(0).maximum == 2


def test_too_few_texts():
    with pytest.raises(CorpusError, match="leaves the split"):
        _ = FunctionSource(fires_on_cat, 1, TEXTS[:1]).evidence


def test_its_key_is_what_its_numbers_depend_on():
    def key(n=2, texts=TEXTS, name="mine"):
        return json.dumps(FunctionSource(fires_on_cat, n, texts, name).key)

    assert key() == key()
    assert len({key(), key(n=3), key(texts=TEXTS[1:]), key(texts=TEXTS[::-1]), key(name="x")}) == 5


@pytest.mark.parametrize("cut", [str.split, list])
def test_other_tokens_for_another_feature(cut):
    def fn(text, feature):
        return [(token, 1.0) for token in (text.upper().split() if not feature else cut(text))]

    evidence = FunctionSource(fn, 2, TEXTS).evidence
    split = evidence.reader("explainer").split("explain")
    assert split.activations(0).all()
    with pytest.raises(TextError, match=r"'the cat .* for feature 1 than"):
        split.activations(1)


def test_errors_of_the_function_name_feature_and_text():
    def fails(text, feature):
        raise KeyError("oh")

    with pytest.raises(TextError, match=r"feature 0 on 'a cat': KeyError"):
        ask(FunctionSource(fails, 1, TEXTS), 0, ["a cat"])
    nan = FunctionSource(lambda text, feature: [(text, float("nan"))], 1, TEXTS)
    with pytest.raises(TextError, match="not finite"):
        ask(nan, 0, ["a cat"])
    with pytest.raises(FeatureError):
        ask(FunctionSource(fires_on_cat, 1, TEXTS), 1, ["a cat"])


@pytest.mark.parametrize(
    ("text", "tokens", "wanted"),
    [
        ("a  b\n", ["a", "b"], ["a", "  b"]),
        ("The cat", ["the", "cat"], ["the", "cat"]),
        ("cat cat", ["cat", "cat"], ["cat", " cat"]),
        ("x", ["", "x"], ["", "x"]),
    ],
)
def test_white_space_goes_to_the_token_behind_it(text, tokens, wanted):
    assert with_spaces(text, tokens) == wanted
