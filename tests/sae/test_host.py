"""The activation host: many waiters, each with its own answer."""

import asyncio
import gc
import threading

import numpy as np
import pytest
import tiny
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import FeatureError, SagescopeError, SubjectError, TextError
from sagescope.sae.host import ActivationHost
from sagescope.sae.loading import load_sae

TEXTS = [text[:80] for text in tiny.sentences(30)]


@pytest.fixture
def host(reader):
    with ActivationHost(reader) as host:
        yield host


def fires(reader, text):
    """A feature that is not silent on the text."""
    (row,) = reader.subject.tokenize([text])
    return int(reader.run([row.ids]).latents[0])


def close(found, wanted):
    assert found.tokens == wanted.tokens
    np.testing.assert_allclose(found.activations, wanted.activations, rtol=1e-3, atol=5e-4)


async def alone(reader, feature, text):
    with ActivationHost(reader) as host:
        (found,) = await host.activations(feature, [text])
    return found


class Breaking:
    """A reader that breaks on one text, and counts the rows of each pass."""

    def __init__(self, reader, on: str = "", gate: threading.Event | None = None):
        self._reader, self._gate = reader, gate
        self._on = reader.subject.tokenize([on])[0].ids if on else None
        self.rows = []

    def __getattr__(self, name):
        return getattr(self._reader, name)

    def run(self, rows):
        if self._gate:
            assert self._gate.wait(20)
        self.rows.append(rows)
        if self._on in rows:
            raise RuntimeError("the pass broke")
        return self._reader.run(rows)


async def test_tokens_and_activations(host, reader):
    text = "the cat sees a dog"
    feature = fires(reader, text)
    (found,) = await host.activations(feature, [text])
    assert "".join(found.tokens) == text
    (row,) = reader.subject.tokenize([text])
    positions, latents, values = reader.run([row.ids]).row(0)
    wanted = np.zeros(len(row.ids), np.float32)
    wanted[positions[latents == feature]] = values[latents == feature]
    assert wanted.any()
    np.testing.assert_array_equal(found.activations, wanted)


async def test_waiters_do_not_change_each_others_numbers(host, reader):
    features = [fires(reader, text) for text in TEXTS]
    together = await asyncio.gather(
        *(host.activations(f, [text]) for f, text in zip(features, TEXTS, strict=True))
    )
    assert host.passes < len(TEXTS) / 4
    for feature, text, (found,) in zip(features, TEXTS, together, strict=True):
        close(found, await alone(reader, feature, text))


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(st.text(max_size=20), max_size=12), feature=st.integers(0, 95))
def test_any_text_gets_its_answer_in_order(texts, feature, reader):
    async def ask():
        with ActivationHost(reader) as host:
            return await host.activations(feature, texts)

    for text, found in zip(texts, asyncio.run(ask()), strict=True):
        assert "".join(found.tokens) == text.encode("utf-8", "replace").decode()
        assert len(found.activations) == len(found.tokens)


async def test_odd_texts(host):
    odd = ["", " ", "\ud800", "\x00\x07\x1b", "🙂", "a" * 50, "\r\n\t", "<s>"]
    found = await host.activations(3, odd)
    assert found[0].tokens == ()
    assert found[0].maximum == 0
    assert "".join(found[2].tokens) == "?"
    assert all(len(one.tokens) == len(one.activations) for one in found)


async def test_an_empty_text_alone(reader, subject, made):
    folder = tiny.save_sae(made / "host-no-bos", metadata={"prepend_bos": False})
    for one in (reader, LatentReader(subject, load_sae(str(folder)))):
        with ActivationHost(one) as host:
            (found,) = await host.activations(3, [""])
            assert found.tokens == ()
            assert len(await host.activations(3, ["", "the cat"])) == 2


async def test_too_long_a_text_says_how_many_tokens_fit(host):
    long = "the cat " * 100
    with pytest.raises(TextError, match="context of 63"):
        await host.activations(0, ["the cat", long])
    # What fits exactly runs.
    ids = host.reader.subject.tokenize([long])[0]
    exact = "".join(ids.pieces[:63])
    (found,) = await host.activations(0, [exact])
    assert len(found.tokens) == 63


@pytest.mark.parametrize("wrong", [None, 7, b"bytes"])
async def test_what_is_no_text(wrong, host):
    with pytest.raises(TextError, match="must be a string"):
        await host.activations(0, ["fine", wrong])


@pytest.mark.parametrize("feature", [-1, 96])
async def test_unknown_feature(feature, host):
    with pytest.raises(FeatureError, match="numbered from 0"):
        await host.activations(feature, ["the cat"])


async def test_a_feature_that_the_reader_leaves_out(subject, reader):
    """Never an activation of 0 for what was not computed."""
    with ActivationHost(LatentReader(subject, reader.sae, [3])) as host:
        assert len(await host.activations(3, ["the cat"])) == 1
        with pytest.raises(FeatureError, match="only some features"):
            await host.activations(4, ["the cat"])


async def test_no_texts(host):
    assert await host.activations(0, []) == []


async def test_ten_thousand_texts_at_once(host):
    texts = [f"{word} {number}" for number in range(500) for word in tiny.WORDS[:20]]
    found = await host.activations(1, texts)
    assert ["".join(one.tokens) for one in found] == texts


async def test_all_features_come_from_one_pass(host):
    for feature in range(20):
        await host.activations(feature, TEXTS[:4])
    assert host.texts_run == 4


async def test_equal_texts_run_once(host):
    await asyncio.gather(*(host.activations(f, ["the red house"] * 3) for f in range(9)))
    assert host.texts_run == 1


async def test_memory_is_bounded(reader):
    with ActivationHost(reader, remember=20_000) as host:
        await host.activations(0, TEXTS)
        assert host.remembered_bytes <= 20_000
        ran = host.texts_run
        await host.activations(0, TEXTS[-1:] + TEXTS[:1])
        assert ran < host.texts_run <= ran + 2


async def test_an_error_reaches_only_those_whose_text_was_in_the_pass(reader):
    # Another length than the rest, and more of those than fit its pass.
    odd = "".join(reader.subject.tokenize(["the cat " * 40])[0].pieces[:60])
    rest = [f"the cat {word}" for word in tiny.WORDS]
    with ActivationHost(Breaking(reader, on=odd)) as host:
        broken = asyncio.create_task(host.activations(0, [odd]))
        fine = asyncio.create_task(host.activations(0, rest * 2))
        results = await asyncio.gather(broken, fine, return_exceptions=True)
        assert isinstance(results[0], RuntimeError)
        # Those that shared the pass failed with it; asked again, they are answered.
        assert len(await host.activations(0, rest)) == len(rest)
        with pytest.raises(RuntimeError, match="the pass broke"):
            await host.activations(0, [odd])


async def test_a_cancelled_waiter_leaves(reader):
    gate = threading.Event()
    slow = Breaking(reader, gate=gate)
    with ActivationHost(slow) as host:
        running = asyncio.create_task(host.activations(0, ["the cat"]))
        await asyncio.sleep(0.05)
        leaves = asyncio.create_task(host.activations(0, ["the dog", "the cat"]))
        stays = asyncio.create_task(host.activations(0, ["the house"]))
        await asyncio.sleep(0.05)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        gate.set()
        await asyncio.gather(running, stays)
    dog = reader.subject.tokenize(["the dog"])[0].ids
    assert all(dog not in rows for rows in slow.rows)


async def test_a_timeout_is_a_cancellation(reader):
    gate = threading.Event()
    with ActivationHost(Breaking(reader, gate=gate)) as host:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(host.activations(0, ["the cat"]), 0.05)
        gate.set()
        assert len(await host.activations(0, ["the cat"])) == 1


def test_several_event_loops_one_after_another(host):
    found = [asyncio.run(host.activations(2, [text])) for text in ("the cat", "a dog", "the cat")]
    assert host.texts_run == 2
    np.testing.assert_array_equal(found[0][0].activations, found[2][0].activations)


def test_several_threads_at_once(host):
    found = {}

    def ask(number):
        found[number] = asyncio.run(host.activations(number, TEXTS))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert host.texts_run == len(TEXTS)


async def test_closing(reader):
    gate = threading.Event()
    host = ActivationHost(Breaking(reader, gate=gate))
    running = asyncio.create_task(host.activations(0, ["the cat"]))
    await asyncio.sleep(0.05)
    waiting = asyncio.create_task(host.activations(0, ["the dog"]))
    await asyncio.sleep(0.05)
    closing = threading.Thread(target=host.close)
    closing.start()
    with pytest.raises(SagescopeError, match="was closed"):
        await waiting
    gate.set()
    assert len(await running) == 1
    closing.join()
    host.close()
    with pytest.raises(SagescopeError, match="was closed"):
        await host.activations(0, ["the cat"])


class Tokenizing:
    """A subject model that waits before it tokenises, and may break then."""

    def __init__(self, subject, error):
        self._subject, self._error = subject, error
        self.began, self.gate = threading.Event(), threading.Event()

    def tokenize(self, texts):
        self.began.set()
        assert self.gate.wait(20)
        if self._error:
            raise self._error
        return self._subject.tokenize(texts)


@pytest.mark.parametrize("error", [None, RuntimeError("broke")])
@pytest.mark.parametrize("text", ["the cat", "the cat " * 100])
async def test_closing_while_the_worker_holds_a_text(text, error, reader):
    """It is refused once; the worker does not try to answer it again, and ends as it should."""
    slow = Breaking(reader)
    slow.subject = subject = Tokenizing(reader.subject, error)
    host = ActivationHost(slow)
    waiting = asyncio.create_task(host.activations(0, [text]))
    assert await asyncio.to_thread(subject.began.wait, 20)
    closing = threading.Thread(target=host.close)
    closing.start()
    with pytest.raises(SagescopeError, match="was closed"):
        await waiting
    subject.gate.set()
    await asyncio.to_thread(closing.join)
    assert not slow.rows


def test_closing_an_unused_host(reader):
    before = threading.active_count()
    ActivationHost(reader).close()
    assert threading.active_count() == before
    gc.collect()


def test_an_sae_that_reads_whole_texts(made, subject):
    sae = load_sae(str(tiny.save_sae(made / "temporal-host", "temporal")))
    reader = LatentReader(subject, sae)
    feature = fires(reader, "the cat")

    async def ask():
        with ActivationHost(reader) as host:
            return await host.activations(feature, ["the cat", *TEXTS])

    found = asyncio.run(ask())
    close(found[0], asyncio.run(alone(reader, feature, "the cat")))


class Cramped:
    """A reader whose device has memory for so many rows at once."""

    def __init__(self, reader, rows: int):
        self._reader, self._rows = reader, rows

    def __getattr__(self, name):
        return getattr(self._reader, name)

    def run(self, rows):
        if len(rows) > self._rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self._reader.run(rows)


async def test_a_pass_that_does_not_fit_the_memory_is_halved(reader):
    feature = fires(reader, TEXTS[0])
    with ActivationHost(Cramped(reader, 3)) as host:
        before = host.tokens_per_pass
        found = await host.activations(feature, TEXTS)
        assert host.tokens_per_pass < before
        halved = host.passes
        await host.activations(feature, [f"{text} cat" for text in TEXTS])
        assert host.passes - halved >= len(TEXTS) / 3
    for text, one in zip(TEXTS, found, strict=True):
        close(one, await alone(reader, feature, text))


async def test_a_text_that_does_not_fit_the_memory_alone_says_so(reader):
    with (
        ActivationHost(Cramped(reader, 0)) as host,
        pytest.raises(SubjectError, match="does not fit the memory of cpu"),
    ):
        await host.activations(3, TEXTS)
