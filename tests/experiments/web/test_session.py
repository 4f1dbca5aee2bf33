"""A session through the page: its verbs, what stands, and who else works in it."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from scripted_texts import Scripted
from starlette.testclient import TestClient

from sagescope.experiments import Journal
from sagescope.experiments.results import results_of
from sagescope.experiments.sessions.live import Session
from sagescope.experiments.web.app import create_app
from sagescope.experiments.web.open_sessions import OpenSessions
from sagescope.experiments.web.site import Site
from sagescope.sae.errors import SessionError

from .conftest import LOCAL
from .test_pages import Parsed

HERE = "/sessions/session/0"
Do = Callable[..., str]


async def until(reached: Callable[[], object]) -> None:
    """Let others go on until something is so; half a minute is a fault, not a measure."""
    for _ in range(3000):
        if reached():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came to that")


@pytest.fixture
def do(client: TestClient) -> Do:
    """Does a verb as a script of the page does; returns the text of its answer."""

    def done(verb: str, status: int = 200, **form: str) -> str:
        answer = client.post(f"{HERE}/{verb}", data=form, headers={"hx-request": "true"})
        assert answer.status_code == status, answer.text
        return Parsed(answer.text).text.strip()

    return done


def test_from_hypothesis_to_leaderboard(client: TestClient, site: Site, do: Do):
    assert "Nothing was done here yet" in client.get(HERE).text
    opened = client.post("/sessions", data={"feature": "0"}, follow_redirects=False)
    assert opened.headers["location"] == HERE
    assert client.post(f"{HERE}/begin").url.path == HERE
    assert do("add", text="fires on banks", rule="word: bank, river @ .9") == "Added: H0."
    assert (
        do("add", text="on the bank only", rule="word: bank @ .9", hypothesis="H0") == "Added: H1."
    )
    assert do("add", text="on trees") == "Added: H2."
    assert do("drop", hypothesis="2") == "Given up: H2."
    assert do("probe", text="he saw the bank .", prediction="fires", hypothesis="1").endswith("P0.")
    assert do("probe", text="he saw the tree .", prediction="silent", hypothesis="1").endswith(
        "P1."
    )
    assert "Waiting to be run" in client.get(f"{HERE}/state").text
    assert do("run") == "2 of 2 came out as predicted."
    assert do("try", text="the river and the bank").startswith("3.571")
    assert "fires) and 0 (silent)" in do("compare", left="the bank", right="the tree")
    assert do("look", kind="top")
    assert do("step").endswith(".")
    assert "Taken back: “round” by rules." in do("undo")
    assert "on the leaderboard" in do("accept", hypothesis="1")
    shown = Parsed(client.get(HERE).text).text
    for said in (
        "replaced since",
        "given up",
        "Accepted, by Ada + rules",
        "Texts looked at",
        "coverage",
    ):
        assert said in shown
    (result,) = results_of(site.journal.run("session"))
    assert result.scores["predictive_pearson"]
    board = Parsed(client.get("/leaderboard").text).text
    assert "Ada + rules" in board
    assert "Ada + rules" in client.get("/data/leaderboard.csv").text


def test_the_model_goes_on_from_a_prompt(client: TestClient, do: Do, planted, monkeypatch):
    generation = Scripted()
    monkeypatch.setattr(planted.PlantedSource, "generation", generation, raising=False)
    client.post(f"{HERE}/begin")
    shown = do("steer", text="1999 was", strength="-4")
    for said in ("Steered by -4", "difference of means", "random", "KL 0.500", "boat", "safety"):
        assert said in shown
    (order,) = generation.orders
    assert (order.prompt, order.strength, order.remove) == ("1999 was", 4.0, True)
    assert "no strength" in do("steer", 409, text="1999 was", strength="much")
    assert "from 0 to 32" in do("steer", 409, text="1999 was", strength="nan")
    assert "go on from" in do("steer", 409, text=" ")


def test_without_a_script_a_verb_leads_back(client: TestClient):
    client.post(f"{HERE}/begin")
    answer = client.post(f"{HERE}/add", data={"text": "on boats"})
    assert answer.url.path == HERE
    assert "on boats" in Parsed(answer.text).text


@pytest.mark.parametrize(
    ("verb", "form", "status", "said"),
    [
        ("add", {"text": "x", "rule": "nonsense"}, 409, "rule"),
        ("add", {"text": "x", "hypothesis": "seven"}, 409, "is no hypothesis"),
        ("drop", {}, 409, "Which hypothesis"),
        ("probe", {"text": "x", "prediction": "maybe"}, 409, "needs a prediction"),
        ("probe", {"text": "x", "prediction": "fires"}, 409, "no live hypothesis"),
        ("finish", {"rounds": "99"}, 409, "1 to 50"),
        ("compare", {"left": "x"}, 409, "two texts"),
        ("try", {"text": " "}, 409, "Type a text"),
        ("try", {"text": "x" * 5000}, 409, "too long"),
        ("look", {"kind": "odd"}, 404, "odd"),
        ("undo", {}, 409, "nothing to undo"),
        ("stop", {}, 409, "Nothing is under way"),
        ("fly", {}, 404, "fly"),
    ],
)
def test_a_sentence_for_what_cannot_be_done(client, do: Do, verb, form, status, said):
    do("begin")
    answer = client.post(f"{HERE}/{verb}", data=form, headers={"hx-request": "true"})
    assert answer.status_code == status
    assert said in Parsed(answer.text).text
    assert 'role="alert"' in answer.text


def test_a_terminal_that_is_in_the_session(site: Site, client: TestClient, do: Do, planted):
    with Session.open(
        planted.PlantedSource(), 0, run="session", journal=site.journal.path
    ) as other:
        other.add("the terminal's", rule="word: bank @ .9")
        shown = Parsed(client.get(HERE).text).text
        assert "Another process is writing this run" in shown
        assert "the terminal's" in shown
        assert "Another process" in do("add", 409, text="mine too")
    assert do("add", text="mine too") == "Added: H1."


def test_a_run_is_let_go_of_when_nobody_uses_it(site: Site, planted):
    async def use() -> None:
        await site.sessions.do("session", 0, "add", lambda one: one.add("on boats"))
        assert site.writer("session") == "session"
        site.sessions.let_go(idle=3600)
        assert site.writer("session") == "session"
        site.sessions.let_go(idle=0)

    asyncio.run(use())
    assert site.writer("session") is None
    with Session.open(
        planted.PlantedSource(), 0, run="session", journal=site.journal.path
    ) as after:
        assert [one.hypothesis.text for one in after.hypotheses().hypotheses] == ["on boats"]


async def test_what_is_under_way_can_be_stopped(planted):
    with Journal.open(None) as journal:
        sessions = OpenSessions(
            journal, lambda: planted.PlantedSource(pause=30), who="Ada", mind=None
        )
        await sessions.do("s", 0, "add", lambda one: one.add("on banks"))
        waiting = asyncio.create_task(
            sessions.do("s", 0, "try", lambda one: one.activations("the bank"))
        )
        await until(lambda: sessions.working("s", 0))
        with pytest.raises(SessionError, match="“try” is under way"):
            await sessions.do("s", 0, "add", lambda one: one.add("on trees"))
        sessions.stop("s", 0)
        with pytest.raises(SessionError, match="was stopped"):
            await waiting
        assert sessions.working("s", 0) is None
        await sessions.do("s", 0, "add", lambda one: one.add("on rivers"))
        await sessions.close()
        assert journal.run("s").events(0, ["looked"]) == []


async def test_of_two_tabs_that_begin_at_once_one_waits(planted):
    with Journal.open(None) as journal:
        source = planted.PlantedSource(pause=30)
        sessions = OpenSessions(journal, lambda: source, who="Ada", mind=None)
        tabs = [
            asyncio.create_task(sessions.do("s", 0, "try", lambda one: one.activations("the bank")))
            for _ in range(2)
        ]
        done, waiting = await asyncio.wait(tabs, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(SessionError, match="“try” is under way"):
            done.pop().result()
        sessions.stop("s", 0)
        with pytest.raises(SessionError, match="was stopped"):
            await waiting.pop()
        assert sessions.working("s", 0) is None
        await sessions.close()


async def test_who_leaves_does_not_stop_it(planted, tmp_path: Path):
    """A tab that is closed while its verb is under way: the verb ends as it would have."""
    with Journal.open(tmp_path / "own.db") as journal:
        site = Site(journal, lambda: contextlib.nullcontext(planted.PlantedSource(pause=0.2)))
        transport = httpx.ASGITransport(create_app(site, LOCAL))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            await client.post(f"{HERE}/begin")
            leaving = asyncio.create_task(client.post(f"{HERE}/try", data={"text": "the bank"}))
            await until(lambda: site.sessions.working("session", 0))
            leaving.cancel()
            await until(lambda: not site.sessions.working("session", 0))
            assert "Texts looked at" in (await client.get(f"{HERE}/state")).text
        await site.close()
