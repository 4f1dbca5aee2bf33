"""A subject model with an SAE as a feature source, from specs to activations."""

import asyncio

import numpy as np
import pytest
import tiny

from sagescope.sae.errors import FeatureError
from sagescope.sae.model_source import ModelSource
from sagescope.sae.source import FeatureSource


@pytest.fixture
def source(llama, topk, tmp_path):
    texts = tmp_path / "some.txt"
    texts.write_text("\n\n".join(tiny.sentences(60)))
    with ModelSource.load(
        str(llama),
        str(topk),
        corpus=str(texts),
        tokens=2000,
        dtype="float32",
        root=tmp_path,
        progress=False,
    ) as source:
        yield source


def test_it_is_a_feature_source(source):
    assert isinstance(source, FeatureSource)
    assert (source.subject, source.sae, source.n_features) == ("tiny-llama", "tiny-topk", 96)
    assert str(source.id(7)) == "tiny-llama/tiny-topk/7"


def test_evidence_is_collected_when_asked_for(source, tmp_path):
    assert not list(tmp_path.glob("*/manifest.json"))
    assert source.evidence is source.evidence
    assert list(tmp_path.glob("*/manifest.json"))
    assert set(source.evidence.table().index) == set(range(96))


def test_the_host_agrees_with_the_evidence(source):
    """A window that begins its document gives, as a text, what it gave in the corpus."""
    split = source.evidence.reader("explainer").split("explain")
    table = split.tokens
    first = int(np.flatnonzero(np.diff(table.documents, prepend=-1))[1])
    tokens = table.window(first)
    feature = int(source.evidence.table()["fired"].idxmax())
    (found,) = asyncio.run(source.activations(feature, ["".join(tokens)]))
    if list(found.tokens) == tokens:
        wanted = split.exemplar(feature, first).activations
        np.testing.assert_allclose(found.activations, wanted, rtol=1e-3, atol=5e-4)
    else:  # the window ends inside a word
        assert found.tokens[:-2] == tuple(tokens[: len(found.tokens) - 2])


def test_tokenize_is_what_activations_speak_of(source):
    texts = ["the cat", "", "ö🙂 \ud800"]
    found = asyncio.run(source.activations(0, texts))
    assert [one.tokens for one in found] == source.tokenize(texts)


def test_unknown_feature(source):
    with pytest.raises(FeatureError):
        asyncio.run(source.activations(96, ["the cat"]))
