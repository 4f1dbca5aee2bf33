import asyncio
import threading

import httpx
import pytest

from sagescope.agents.llm.client import Message
from sagescope.experiments.loopback import LoopbackProvider, Text, tokens_in

ASKED = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}


@pytest.fixture
def server():
    with LoopbackProvider(lambda call: Text("hello", delay=0.5)) as server:
        yield server


def test_it_lists_its_models(server):
    assert httpx.get(f"{server.url}/v1/models").json()["data"][0]["object"] == "model"
    assert httpx.get(f"{server.url}/v2").status_code == 404


def test_it_counts_what_it_was_asked_and_what_was_paid(server):
    for _ in range(2):
        httpx.post(f"{server.url}/v1/chat/completions", json=ASKED)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/chat/completions", json=ASKED, timeout=0.2)
    assert [call.number for call in server.calls] == [1, 2, 3]
    assert len({call.digest for call in server.calls}) == 1
    assert sum(server.paid.values()) == 2
    assert server.calls[0].messages == (Message(role="user", text="hello there"),)


async def test_it_serves_many_slow_calls_at_once(server):
    server.reset(lambda call: Text("hello", delay=2.0))
    async with httpx.AsyncClient(timeout=30) as plain:
        posted = [plain.post(f"{server.url}/v1/chat/completions", json=ASKED) for _ in range(64)]
        answers = await asyncio.gather(*posted)
    assert {answer.status_code for answer in answers} == {200}
    assert server.most_at_once == 64


def test_it_leaves_no_thread_behind():
    before = threading.active_count()
    with LoopbackProvider(lambda call: "x"):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_tokens_are_words_and_marks():
    assert tokens_in("Don't stop, it's 5!") == 10
