"""Every page, from a real journal: what it says, and that nothing of a stranger runs in it."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest
from hostile import HOSTILE, hostile_run
from starlette.testclient import TestClient

from sagescope.experiments import Journal
from sagescope.experiments.web.app import create_app
from sagescope.experiments.web.downloads import as_csv
from sagescope.experiments.web.site import Site
from sagescope.sae.visible import visible

from .conftest import LOCAL

PAGES = [
    "/runs",
    "/runs/first",
    "/runs/first/features/1",
    "/runs/first/features/1/evidence",
    "/runs/first/features/1/neighbours",
    "/runs/first/features/1/outputs",
    "/leaderboard",
    "/compare?left=first~by sage&right=second~by sage:one-hypothesis&score=coverage",
    "/sessions/session/1",
]


class Parsed(HTMLParser):
    """A page's elements with their attributes, and its text."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/runs/first/features/99999999999999999999", 422),
        ("/data/runs/first/features/99999999999999999999.json", 422),
        ("/sessions/session/99999999999999999999", 422),
        ("/sessions/%00/1", 409),
        ("/sessions/..%5c/1/state", 409),
    ],
)
def test_no_address_is_more_than_a_sentence(client: TestClient, address: str, status: int):
    client.post("/sessions/session/1/begin")
    answer = client.get(address)
    assert answer.status_code == status
    assert 'role="alert"' in answer.text or "<h1" in answer.text


@pytest.mark.parametrize("address", PAGES)
def test_nothing_on_a_page_needs_more_than_its_policy_allows(client: TestClient, address: str):
    answer = client.get(address)
    assert answer.status_code == 200
    page = Parsed(answer.text)
    assert all(one.get("src", "").startswith("/static/") for one in page.all("script"))
    assert not page.all("style")
    names = {name for _, attributes in page.elements for name in attributes}
    assert not [name for name in names if name == "style" or name.startswith(("on", "hx-on"))]
    links = [one.get("href") or "" for tag in ("a", "link") for one in page.all(tag)]
    assert all(link.startswith(("/", "#", "?")) for link in links)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_every_link_leads_somewhere(client: TestClient):
    seen, waiting = set(), ["/runs"]
    while waiting:
        address = waiting.pop()
        if address in seen or len(seen) > 80:
            continue
        seen.add(address)
        answer = client.get(address)
        assert answer.status_code == 200, address
        if "text/html" in answer.headers["content-type"]:
            page = Parsed(answer.text)
            waiting += [str(one.get("href")) for tag in ("a", "link") for one in page.all(tag)
                        if str(one.get("href")).startswith("/")]  # fmt: skip
    assert {"/runs/second/features/2", "/data/runs/first.csv"} <= seen


def test_a_feature_tells_its_whole_story(client: TestClient):
    text = Parsed(client.get("/runs/first/features/0").text).text
    for said in ("coverage", "Recall by quantile", "token lookup", "H0", "posterior", "→ fires",
                 "as predicted", "Strongest"):  # fmt: skip
        assert said in text
    evidence = client.get("/runs/first/features/0/evidence").text
    assert len(Parsed(evidence).all("rect")) == 28
    assert "strongest 1 %" in evidence
    values = {one["value"] for one in Parsed(evidence).all("data")}
    assert values
    assert all(float(str(value)) >= 3 for value in values if float(str(value)))


def test_any_text_shows_its_activations_at_once(client: TestClient):
    before = client.get("/data/runs/first.json").text
    answer = client.post("/runs/first/features/0/try", data={"text": "the tree by the bank"})
    (shaded,) = Parsed(answer.text).all("data")
    assert shaded["value"] == "3.57142854"  # 3 + 4 / 7, as planted, in float32
    assert "Highest 3.5714285" in answer.text
    assert client.post("/runs/first/features/0/try", data={"text": " "}).text.strip() == ""
    assert client.get("/data/runs/first.json").text == before


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/runs/nobody", 404, "nobody"),
        ("/runs/first/features/4", 404, "has no feature 4"),
        ("/runs/first/features/x", 422, "feature cannot be read"),
        ("/leaderboard?sort=beauty", 404, "beauty"),
        ("/leaderboard?table=none", 404, "none"),
        ("/compare?left=a&right=b", 404, "a"),
        ("/sessions/first/0", 409, "not of sessions"),
        ("/data/runs/first.exe", 422, "form"),
        ("/static/..%2Fweb.css", 404, "no such"),
        ("/elsewhere", 404, "no such page"),
    ],
)
def test_a_sentence_for_what_is_not_there(client: TestClient, address: str, status: int, said: str):
    answer = client.get(address)
    assert answer.status_code == status
    assert said in Parsed(answer.text).text
    assert "content-security-policy" in answer.headers


def test_the_data_behind_a_page(client: TestClient):
    (first, *_) = client.get("/data/runs/first.json").json()
    rows = list(csv.DictReader(io.StringIO(client.get("/data/runs/first.csv").text)))
    assert [row["feature"] for row in rows] == ["function/planted/0", "function/planted/1", "function/planted/2"]  # fmt: skip
    assert float(rows[0]["coverage"]) == first["scores"]["coverage"]["value"]
    story = client.get("/data/runs/first/features/0.json").json()
    probes = list(csv.DictReader(io.StringIO(client.get("/data/runs/first/features/0.csv").text)))
    assert len(probes) == len(story["probes"]) > 5
    assert probes[0]["text"] == story["probes"][0]["text"]


def test_csv_calculates_nothing():
    (cell,) = list(csv.DictReader(io.StringIO(as_csv([{"text": "=1+1"}]))))
    assert cell["text"] == "'=1+1"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_stranger_is_only_ever_text(make_site, text: str):
    site: Site = make_site(None)
    hostile_run(site.journal, text)
    with TestClient(create_app(site, LOCAL), base_url="http://127.0.0.1") as client:
        for address in ("/runs", "/runs/x", "/runs/x/features/0", "/leaderboard", "/data/runs.json",
                        "/data/runs/x.csv", "/data/runs/x/features/0.json"):  # fmt: skip
            answer = client.get(address)
            assert answer.status_code == 200, address
            if "html" in answer.headers["content-type"]:
                page = Parsed(answer.text)
                assert len(page.all("script")) == 2
                assert not page.all("img")
                names = {name for _, attributes in page.elements for name in attributes}
                assert not [name for name in names if name.startswith("on")]
        shown = Parsed(client.get("/runs/x/features/0").text).text
        squeezed = re.sub(r"\s+", " ", visible(text)).strip()
        assert squeezed in re.sub(r"\s+", " ", shown)
        assert "comes close and is blocked" in shown  # the table of rules


def test_runs_of_which_nothing_is_known(make_site):
    site: Site = make_site(None)
    with site.journal.begin("odd", {}):
        pass
    with TestClient(create_app(site, LOCAL), base_url="http://127.0.0.1") as client:
        for address in ("/runs", "/runs/odd", "/leaderboard", "/data/runs.csv"):
            assert client.get(address).status_code == 200, address


def test_a_long_run_is_shown_page_by_page(make_site):
    site: Site = make_site(None)
    with site.journal.begin("long", {"explainer": "sage", "mind": "rules", "seed": 0}) as run:
        run.write("session", {"features": list(range(120))})
    with TestClient(create_app(site, LOCAL), base_url="http://127.0.0.1") as client:
        last = Parsed(client.get("/runs/long?at=3").text)
        links = [one.get("href") for one in last.all("a")]
        assert "/runs/long/features/119" in links
        assert "/runs/long/features/99" not in links
        assert "0 of 120 features" in last.text


def test_progress_counts_what_an_undo_takes_back():
    from sagescope.experiments.web.progress import Progress

    progress, ended = Progress(), {"conclusion": {"status": "failed", "error": "no", "spent": {"calls": 2, "unpriced": 1}}, "seconds": 3.0}  # fmt: skip
    with Journal.open(None) as journal, journal.begin("one", {}) as run:
        run.write("session", {"features": [7]})
        run.write("started", {}, 7)
        assert (progress.of(run).begun, progress.of(run).dollars) == ({7}, 0.0)
        run.write("concluded", ended, 7)
        tally = progress.of(run)
        assert tally.begun == set()
        assert [*tally.failed] == [7]
        assert (tally.total("calls"), tally.dollars) == (2, None)
        run.write("undone", {"since": 3}, 7)
        assert progress.of(run).ended == {}
