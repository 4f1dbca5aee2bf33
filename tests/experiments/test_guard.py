"""Who may speak with a server: by address, by token, by origin."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagescope.experiments.guard import TOKEN, Guard, Guarded, is_loopback, read_token
from sagescope.sae.errors import ServiceError

SECRET = "0123456789abcdef"
OPEN = Guard(None, local=True)
CLOSED = Guard(SECRET, local=False)


@pytest.fixture(autouse=True)
def _no_token(monkeypatch):
    monkeypatch.delenv(TOKEN, raising=False)


def status(guard: Guard, method: str = "GET", **headers: str) -> int:
    refused = guard.refusal(
        method, {name.replace("_", "-"): text for name, text in headers.items()}
    )
    return refused.status if refused else 200


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.8.9.10", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_token(bind):
    assert Guard.of(bind) == Guard(None, local=True)


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.168.1.4", "example.org", ""])
def test_beyond_loopback_a_token_is_mandatory(bind, monkeypatch):
    with pytest.raises(ServiceError, match=TOKEN):
        Guard.of(bind)
    monkeypatch.setenv(TOKEN, SECRET)
    assert Guard.of(bind) == Guard(SECRET, local=False)


def test_a_token_file_goes_before_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(TOKEN, "x" * 20)
    file = tmp_path / "token"
    file.write_text(SECRET + "\n")
    assert read_token(file) == SECRET
    assert read_token() == "x" * 20


@pytest.mark.parametrize(
    "written", ["", "short", "with a space in its middle", "ünprintable-token"]
)
def test_a_token_file_with_no_token_is_refused(written, tmp_path):
    file = tmp_path / "token"
    file.write_text(written)
    with pytest.raises(ServiceError, match="16 characters"):
        read_token(file)


def test_a_token_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ServiceError, match="cannot be read"):
        read_token(tmp_path / "none")


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000", "[::1]"]
)
def test_a_local_server_answers_to_names_of_loopback(host):
    assert status(OPEN, host=host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "localhost.evil"]
)
def test_a_local_server_answers_to_no_other_name(host):
    assert status(OPEN, host=host) == 421


@given(st.text().filter(lambda text: text != SECRET))
def test_only_the_token_is_the_token(guess):
    assert status(CLOSED, authorization=f"Bearer {guess}") in (
        [401] if guess.strip() != SECRET else [200]
    )
    assert status(CLOSED, authorization=guess) == 401


def test_the_token_opens():
    assert status(CLOSED, authorization=f"Bearer {SECRET}") == 200
    assert status(CLOSED, authorization=f"bearer {SECRET}") == 200
    assert status(CLOSED) == 401


def test_a_browser_may_send_the_token_as_password():
    basic = "Basic " + base64.b64encode(f"any:{SECRET}".encode()).decode()
    assert status(Guard(SECRET, local=False, password=True), authorization=basic) == 200
    assert status(Guard(SECRET, local=False, password=True), authorization="Basic !") == 401
    assert status(CLOSED, authorization=basic) == 401
    refused = Guard(SECRET, local=False, password=True).refusal("GET", {})
    assert refused is not None
    assert refused.headers[0][1].startswith("Basic ")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"origin": "http://localhost:8000"}, 200),
        ({"origin": "http://localhost:8001"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "same-origin", "origin": "http://localhost:8000"}, 200),
    ],
)
def test_pages_of_another_origin_change_nothing(headers, expected):
    assert status(OPEN, "POST", host="localhost:8000", **headers) == expected
    assert status(OPEN, "GET", host="localhost:8000", **headers) == 200


async def test_the_middleware_refuses_before_the_application_is_reached():
    reached, sent = [], []

    async def app(scope, receive, send):
        reached.append(scope["type"])

    async def send(message):
        sent.append(message)

    guarded = Guarded(app, CLOSED)
    await guarded({"type": "lifespan"}, None, send)
    await guarded({"type": "http", "method": "GET", "headers": []}, None, send)
    await guarded({"type": "websocket", "headers": []}, None, send)
    assert reached == ["lifespan"]
    assert [sent[0]["status"], sent[2]["type"]] == [401, "websocket.close"]
    assert b"Authorization" in sent[1]["body"]
    allowed = [(b"authorization", f"Bearer {SECRET}".encode())]
    await guarded({"type": "http", "method": "GET", "headers": allowed}, None, send)
    assert reached == ["lifespan", "http"]


def test_names_are_not_looked_up():
    assert not is_loopback("localhost.localdomain")
