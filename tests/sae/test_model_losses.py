"""Losses of texts after a prefix, against passes made by hand."""

import asyncio

import pytest
import torch

from sagescope.sae.errors import SAEError, TextError
from sagescope.sae.model_losses import ModelLosses
from sagescope.sae.outputs import losses_of
from sagescope.sae.source import FunctionSource

TEXTS = ["the cat", "a dog runs over the old stone house", "red", "green or blue"]


def by_hand(subject, prefix, text):
    """One pass over the whole, without padding and without anything kept."""
    lead, row = (list(one.ids) for one in subject.tokenize([prefix, text]))
    ids = torch.tensor([[subject.bos_id, *lead, *row]])
    with torch.inference_mode():
        found = subject.model(ids).logits[0].float().log_softmax(-1)
    places = range(len(lead), len(lead) + len(row))
    return -sum(float(found[at, ids[0, at + 1]]) for at in places) / len(row)


@pytest.mark.parametrize("prefix", ["", "the", "she said that it was green and"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_losses_equal_single_passes(family, prefix, subject, gpt2_subject):
    model = {"llama": subject, "gpt2": gpt2_subject}[family]
    found = asyncio.run(ModelLosses(model).losses(prefix, TEXTS))
    assert found.tolist() == pytest.approx([by_hand(model, prefix, t) for t in TEXTS], rel=1e-4)


def test_more_texts_than_fit_a_pass(subject):
    losses = ModelLosses(subject)
    many = asyncio.run(losses.losses("the cat", TEXTS * 40))
    few = asyncio.run(losses.losses("the cat", TEXTS))
    assert many.tolist() == pytest.approx(few.tolist() * 40, rel=1e-4)
    assert len(asyncio.run(losses.losses("the cat", []))) == 0


@pytest.mark.parametrize("text", ["", "the " * 1000])
def test_texts_that_cannot_be_foretold(text, subject):
    with pytest.raises(TextError, match="foretell"):
        asyncio.run(ModelLosses(subject).losses("the", ["a dog", text]))


def test_a_function_has_no_losses():
    source = FunctionSource(lambda text, feature: [], 1, [], name="planted")
    with pytest.raises(SAEError, match="no language model"):
        losses_of(source)
