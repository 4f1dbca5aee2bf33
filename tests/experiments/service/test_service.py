"""The service as clients meet it: answers, refusals, limits, and its end."""

import asyncio
import json
import threading

import httpx
import pytest
from running import Running, until

from sagescope.experiments.guard import Guard
from sagescope.experiments.service.limits import Limits
from sagescope.experiments.service.remote import RemoteSource
from sagescope.sae.errors import ServiceError, SubjectError

SECRET = "0123456789abcdef"
ASKED = {"texts": ["the cat"], "features": [3]}


class Gated:
    """A reader that waits at a gate before each pass."""

    def __init__(self, reader, gate: threading.Event):
        self._reader, self._gate = reader, gate

    def __getattr__(self, name):
        return getattr(self._reader, name)

    def run(self, rows):
        assert self._gate.wait(60)
        return self._reader.run(rows)


@pytest.fixture
def gate():
    found = threading.Event()
    yield found
    found.set()


@pytest.fixture
def gated(made, gate):
    """A service whose model stands still until the gate opens, with room for three requests."""

    def load():
        opened = made.open()
        opened.host.reader = Gated(opened.host.reader, gate)
        return opened

    with Running(load, limits=Limits(queue_requests=3, running_tokens=16)) as running:
        yield running.wait()
        gate.set()


def test_top_features_agree_with_activations(service):
    texts = ["the cat sees a dog", "stone"]
    top = service.ask("POST", "/v1/top", json={"texts": texts, "n": 3}).json()["texts"]
    for text, one in zip(texts, top, strict=True):
        numbers = [firing["feature"] for firing in one["features"]]
        asked = {"texts": [text], "features": numbers}
        (reading,) = service.ask("POST", "/v1/activations", json=asked).json()["texts"]
        assert reading["tokens"] == one["tokens"]
        for firing, row in zip(one["features"], reading["activations"], strict=True):
            assert max(row) == firing["activation"] == row[firing["position"]] > 0


def test_exemplars_and_statistics_are_of_the_explain_split(service, remote, local):
    split = local[0].evidence.reader("explainer").split("explain")
    _ = remote.evidence
    found = service.ask("GET", "/v1/features/3").json()
    assert found["stats"]["fired"] == split.stats(3).fired
    assert found["stratum"] == local[0].evidence.stratum(3)
    shown = service.ask("GET", "/v1/features/3/exemplars", params={"n": 2}).json()["exemplars"]
    assert [one["tokens"] for one in shown] == [list(one.tokens) for one in split.top(3, 2)]
    for kind in ("spread", "silent", "near"):
        answer = service.ask("GET", f"/v1/features/3/exemplars?kind={kind}")
        assert answer.status_code == 200


def test_evidence_is_asked_for_before_it_is_read(service):
    answer = service.ask("GET", "/v1/features/3", params={"sae": "early"})
    assert answer.status_code == 409
    assert "/v1/cover" in answer.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{",
        b'{"texts": NaN, "features": [1]}',
        b'{"texts": ["a"], "features": [Infinity]}',
        b'{"texts": ["a"], "features": [' + b"9" * 5000 + b"]}",
        b'{"texts": ["a"], "features": [1e400]}',
        b'{"texts": ["a"], "features": [-1]}',
        b'{"texts": [null], "features": [1]}',
        b'{"texts": ["\\ud800"], "features": [1]}',
        b'{"texts": ["a"], "features": [1], "more": 1}',
        b'{"texts": [], "features": [1]}',
        b'{"texts": ["a"], "features": []}',
        b'{"texts": ["a"], "features": [1], "sae": "../../etc/passwd"}',
        b'{"texts": ["a"], "features": [1000]}',
        b"[" * 100_000,
        b"\xff\xfe",
        json.dumps({"texts": ["a" * 40_000], "features": [1]}).encode(),
        json.dumps({"texts": ["a"] * 300, "features": [1]}).encode(),
        json.dumps({"texts": ["the cat " * 200], "features": [1]}).encode(),
    ],
)
def test_a_hostile_request_gets_a_sentence(service, body):
    headers = {"content-type": "application/json"}
    answer = service.ask("POST", "/v1/activations", content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"].strip()


def test_odd_texts_have_answers(service):
    asked = {"texts": ["", "\x00", "🙂" * 5, "<s>", "\u202e"], "features": [3]}
    found = service.ask("POST", "/v1/activations", json=asked).json()["texts"]
    assert ["".join(one["tokens"]) for one in found] == asked["texts"]


def test_too_large_a_request_is_refused(made, service):
    answer = service.ask("POST", "/v1/activations", content=b"x" * (5 << 20))
    assert answer.status_code == 413


def test_other_names_and_origins_are_refused(service):
    assert service.ask("GET", "/v1/health", headers={"host": "evil.example"}).status_code == 421
    foreign = {"origin": "http://evil.example"}
    answer = service.ask("POST", "/v1/activations", json=ASKED, headers=foreign)
    assert answer.status_code == 403
    answer = service.ask("OPTIONS", "/v1/activations", headers=foreign)
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_token_opens_every_door(made, monkeypatch):
    with Running(made.open, Guard(SECRET, local=True)) as running:
        for path in ("/v1/health", "/v1/ready", "/v1/sources", "/metrics", "/v1/openapi.json"):
            assert running.ask("GET", path).status_code == 401
        with pytest.raises(ServiceError, match="SAGESCOPE_TOKEN"):
            RemoteSource.open(running.url)
        monkeypatch.setenv("SAGESCOPE_TOKEN", SECRET)
        with RemoteSource.open(running.url) as source:
            assert source.n_features == 48


def test_it_lives_before_it_is_ready(made):
    may_load = threading.Event()

    def load():
        assert may_load.wait(60)
        return made.open()

    with Running(load) as running:
        until(lambda: running.server.started)
        assert running.ask("GET", "/v1/health").json() == {"status": "alive"}
        answer = running.ask("POST", "/v1/activations", json=ASKED)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert running.ask("GET", "/v1/ready").status_code == 503
        with pytest.raises(ServiceError, match="still being loaded"):
            RemoteSource.open(running.url, patience=0)
        may_load.set()
        running.wait()


def test_what_cannot_be_loaded_is_kept(made):
    def load():
        raise SubjectError("There is no such model: name another.")

    with Running(load) as running:
        until(lambda: isinstance(running.app.state.served.failure, SubjectError))
        assert running.ask("GET", "/v1/ready").status_code == 503


async def test_a_full_queue_says_when_to_come_back(gated, gate):
    async with httpx.AsyncClient(base_url=gated.url, timeout=60, trust_env=False) as client:
        waiting = [
            asyncio.create_task(client.post("/v1/activations", json=ASKED)) for _ in range(3)
        ]
        queue = gated.app.state.queue
        await asyncio.to_thread(until, lambda: queue.requests == 3)
        answer = await client.post("/v1/activations", json=ASKED)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        gate.set()
        assert [(await one).status_code for one in waiting] == [200, 200, 200]


async def test_a_remote_source_comes_back_when_there_is_room(gated, gate):
    with RemoteSource.open(gated.url) as source:
        asked = [asyncio.create_task(source.activations(3, [f"cat {n}"])) for n in range(8)]
        queue = gated.app.state.queue
        await asyncio.to_thread(until, lambda: queue.requests == 3)
        gate.set()
        assert len(await asyncio.gather(*asked)) == 8


async def test_whoever_leaves_is_not_served(gated, gate):
    queue, host = gated.app.state.queue, gated.app.state.served.sources[0].host.host
    with RemoteSource.open(gated.url) as source:
        leaving = asyncio.create_task(source.activations(3, ["the cat", "the dog"]))
        await asyncio.to_thread(until, lambda: queue.requests == 1)
        leaving.cancel()
        await asyncio.to_thread(until, lambda: queue.requests == 0)
        assert (queue.waiting_tokens, queue.running_tokens) == (0, 0)
        gate.set()
        await source.activations(3, ["a stone"])
    assert host.texts_run <= 3  # at most what had been begun


async def test_what_takes_too_long_is_given_up(made, gate):
    def load():
        opened = made.open()
        opened.host.reader = Gated(opened.host.reader, gate)
        return opened

    with Running(load, limits=Limits(request_seconds=0.5)) as running:
        running.wait()
        answer = await asyncio.to_thread(running.ask, "POST", "/v1/activations", json=ASKED)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        gate.set()


def test_a_body_that_never_comes_is_given_up(made):
    import socket

    with Running(made.open, limits=Limits(body_seconds=0.2)) as running:
        until(lambda: running.server.started)
        with socket.create_connection(running._socket.getsockname()) as slow:
            slow.sendall(b"POST /v1/top HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_metrics_count_what_was_done(service):
    def figures() -> dict[str, float]:
        text = service.ask("GET", "/metrics").text
        rows = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in rows}

    before = figures()
    new = {"texts": ["a text that nobody has asked for"], "features": [3]}
    for _ in range(2):
        service.ask("POST", "/v1/activations", json=new)
    after = figures()
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown["sagescope_texts_total"] == grown["sagescope_cache_hits_total"] == 1
    assert grown["sagescope_tokens_total"] > 5
    assert grown["sagescope_batch_fill_count"] == grown["sagescope_passes_total"] == 1
    asked = 'endpoint="/v1/activations",status="200"'
    assert grown[f"sagescope_requests_total{{{asked}}}"] == 2
    assert grown['sagescope_request_seconds_count{endpoint="/v1/activations"}'] == 2
    for name in ("queue_requests", "queue_tokens", "cache_bytes", "device_bytes"):
        assert after[f"sagescope_{name}"] >= 0
    assert after["process_resident_memory_bytes"] > 0
