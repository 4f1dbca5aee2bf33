"""A remote source is a source like any other: the numbers and the errors are those in process."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from sagescope.experiments.service.remote import RemoteSource
from sagescope.sae.errors import (
    FeatureError,
    SAEError,
    ServiceError,
    SubjectError,
    TextError,
    UnknownName,
)
from sagescope.sae.source import FeatureSource

TEXTS = ["the cat sees a dog", "", "\ud800 river", "🙂 stone\x00"]


def test_it_is_a_source(remote, local):
    assert isinstance(remote, FeatureSource)
    assert (remote.subject, remote.sae, remote.n_features) == ("tiny", "late", 48)
    assert remote.key == local[0].key
    assert str(remote.id(3)) == "tiny/late/3"


@settings(max_examples=25)
@given(texts=st.lists(st.text(max_size=20), max_size=6), feature=st.integers(0, 47))
def test_the_numbers_are_those_in_process(texts, feature, remote, local):
    assert remote.tokenize(texts) == local[0].tokenize(texts)
    ours = asyncio.run(remote.activations(feature, texts))
    theirs = asyncio.run(local[0].activations(feature, texts))
    for one, other in zip(ours, theirs, strict=True):
        assert one.tokens == other.tokens
        assert one.activations.dtype == np.float32
        np.testing.assert_array_equal(one.activations, other.activations)


async def test_many_texts_take_several_requests(remote, local):
    texts = [f"the cat {number}" for number in range(600)]
    ours, theirs = await remote.activations(3, texts), await local[0].activations(3, texts)
    assert [one.tokens for one in ours] == [one.tokens for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.activations, other.activations, rtol=1e-5)


async def test_the_second_sae_is_served_by_name(service, local):
    with RemoteSource.open(service.url, "early") as source:
        ours, theirs = [await one.activations(5, TEXTS) for one in (source, local[1])]
        assert source.n_features == 32
    assert any(one.activations.any() for one in ours)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.activations, other.activations)
    with pytest.raises(UnknownName, match="early"):
        RemoteSource.open(service.url, "earlier")


async def test_what_it_does_to_the_next_token(remote, local):
    for ask in (
        lambda source: source.outputs.promoted(3, 4),
        lambda source: source.outputs.steered(3, ["the cat", "a \ud800"], -2.0, 3, 1, [5, 6]),
    ):
        assert await ask(remote) == await ask(local[0])
    ours, theirs = [await one.losses.losses("the", TEXTS[:1]) for one in (remote, local[0])]
    np.testing.assert_array_equal(ours, theirs)


async def test_errors_are_those_in_process(remote, local):
    for source in (remote, local[0]):
        with pytest.raises(FeatureError, match="no feature 48"):
            await source.activations(48, TEXTS)
        with pytest.raises(FeatureError, match="no feature -1"):
            source.cover([-1])
        with pytest.raises(TextError, match="does not fit"):
            await source.activations(3, ["the cat " * 100])
        with pytest.raises(TextError, match="no token 999"):
            await source.outputs.steered(3, ["the cat"], watched=[999])
        with pytest.raises(TextError, match="to foretell"):
            await source.losses.losses("", [""])


def test_the_evidence_is_that_in_process(remote, local):
    local[0].cover(range(48))
    remote.cover(range(48))
    ours, theirs = remote.evidence, local[0].evidence
    for role, name in [("explainer", "explain"), ("selector", "select"), ("scorer", "score")]:
        mine, other = (one.reader(role).split(name) for one in (ours, theirs))
        assert mine.tokens.vocab == other.tokens.vocab
        np.testing.assert_array_equal(mine.tokens.ids, other.tokens.ids)
        np.testing.assert_array_equal(mine.tokens.documents, other.tokens.documents)
        for one, two in zip(mine.entries([7, 3]), other.entries([7, 3]), strict=True):
            np.testing.assert_array_equal(one, two)
        assert mine.stats(5) == other.stats(5)
        tables = [one.reader(role).table(name) for one in (ours, theirs)]
        assert_frame_equal(*tables)
    assert ours.stratum(3) == theirs.stratum(3)
    assert list(ours.features) == list(theirs.features)


def test_a_split_is_read_in_a_role_that_may_see_it(service, remote):
    _ = remote.evidence
    for split, role in [("score", "explainer"), ("score", "selector"), ("select", "scorer")]:
        answer = service.ask("GET", f"/v1/evidence/{split}/tokens", params={"role": role})
        assert (answer.status_code, answer.json()["kind"]) == (403, "WrongSplit")


def test_nobody_at_the_address(service):
    with pytest.raises(ServiceError, match="start it with `sagescope serve`"):
        RemoteSource.open("http://127.0.0.1:1", patience=0)
    with pytest.raises(ServiceError, match="refused"):
        RemoteSource.open(service.url + "/metrics")


@pytest.mark.parametrize(
    "url", ["127.0.0.1:80", "ftp://x", "http://", "http://me:pw@x", "http://["]
)
def test_what_is_no_address(url):
    with pytest.raises(ServiceError, match="write http://HOST:PORT"):
        RemoteSource.open(url)


def test_errors_that_come_back_are_of_these_kinds():
    from sagescope.experiments.service.connection import KINDS

    assert {SAEError, SubjectError, TextError} <= set(KINDS.values())
