"""Who may ask: this machine, from the page itself, and beyond it whoever has the token."""

import pytest
from starlette.testclient import TestClient

from sagescope.experiments.guard import Guard
from sagescope.experiments.web.app import LONGEST, create_app, serve
from sagescope.experiments.web.pages import static_files
from sagescope.experiments.web.site import Site
from sagescope.sae.errors import ServiceError

TOKEN = "a-token-that-is-long-enough"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://elsewhere.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"host": "elsewhere.example"},
    ],
)
@pytest.mark.parametrize("address", ["/runs", "/runs/first/resume", "/sessions/session/0/add"])
def test_pages_from_elsewhere_change_nothing(client: TestClient, site: Site, headers, address):
    last = site.journal.last
    answer = client.post(address, headers=headers, data={"text": "x", "name": "x", "features": "0"})
    assert answer.status_code in (403, 421)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert site.journal.last == last
    assert site.jobs is not None
    assert site.jobs.names == []


def test_another_name_for_this_machine_shows_nothing(client: TestClient):
    assert client.get("/runs", headers={"host": "elsewhere.example"}).status_code == 421


def test_nothing_may_be_read_from_elsewhere(client: TestClient):
    answer = client.get("/runs", headers={"origin": "http://elsewhere.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_reading_changes_nothing(client: TestClient):
    for address in ("/runs/first/stop", "/runs/first/resume", "/sessions/session/0/begin"):
        assert client.get(address).status_code == 405


def test_beyond_loopback_a_token_is_asked_for(site: Site):
    guard = Guard(token=TOKEN, local=False, password=True)
    with TestClient(create_app(site, guard), base_url="http://10.0.0.1") as client:
        refused = client.get("/runs")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic")
        assert client.get("/runs", auth=("anybody", "wrong")).status_code == 401
        assert client.get("/runs", auth=("anybody", TOKEN)).status_code == 200
        assert client.get("/live").status_code == 401


def test_what_is_too_long_is_not_read(client: TestClient):
    answer = client.post("/sessions/session/0/add", data={"text": "x" * (LONGEST + 1)})
    assert answer.status_code == 413


def test_static_files_are_kept_by_their_content(client: TestClient):
    for name, one in static_files().items():
        answer = client.get(f"/static/{name}?v={one.digest}")
        assert answer.content == one.content
        assert "immutable" in answer.headers["cache-control"]
    assert b"htmx" in static_files()["htmx.js"].content


def test_a_port_that_is_taken_is_a_sentence(site: Site):
    import socket

    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ServiceError, match="cannot be served on"),
    ):
        serve(site, Guard(None, True), "127.0.0.1", taken.getsockname()[1])
