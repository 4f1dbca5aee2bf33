"""Runs that the page starts, stops and resumes, as processes of the command line."""

import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from sagescope.experiments.web.jobs import options_of, why_not_resumed
from sagescope.experiments.web.site import Site
from sagescope.sae.errors import JournalError

from .test_pages import Parsed


def until(reached, what: str) -> None:
    """Wait for another process; a minute is a fault, not a measure."""
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def done(site: Site, name: str) -> int:
    found = [run for run in site.journal.runs() if run.name == name]
    return len(site.progress.of(found[0]).ended) if found else 0


def begun(site: Site, name: str) -> bool:
    return any(run.name == name and run.features for run in site.journal.runs())


def test_a_run_is_begun_stopped_and_resumed(client: TestClient, site: Site):
    jobs = site.jobs
    assert jobs is not None
    form = {"name": "mine", "features": "0-4", "explainer": "sage:no-probes"}
    assert client.post("/runs", data=form).url.path == "/runs/mine" or jobs.is_running("mine")
    until(lambda: begun(site, "mine"), "the run begins")
    assert site.writer("mine") == "job"
    assert "running" in Parsed(client.get("/runs").text).text
    assert client.post("/runs/mine/resume").status_code == 409
    page = client.post("/runs/mine/stop")
    assert page.status_code == 200
    until(lambda: not jobs.is_running("mine"), "the job ends")
    assert "Resume" in Parsed(client.get("/runs/mine").text).text
    assert jobs.last_words("mine") is None
    client.post("/runs/mine/resume")
    until(lambda: not jobs.is_running("mine"), "the job ends")
    assert jobs.last_words("mine") is None
    assert done(site, "mine") == 5


def test_a_job_that_fails_says_why(client: TestClient, site: Site):
    client.post("/runs", data={"name": "bad", "features": "0-99"})
    assert site.jobs is not None
    until(lambda: not site.jobs.is_running("bad"), "the job ends")
    said = Parsed(client.get("/runs").text).text
    assert "did not begin" in said
    assert "99" in said


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"name": "a b", "features": "0"}, "name"),
        ({"name": "first", "features": "0"}, "already"),
        ({"name": "new", "features": "zero"}, "zero"),
        ({"name": "new", "features": "--journal=/tmp/x"}, "journal"),
    ],
)
def test_what_cannot_be_begun(client: TestClient, site: Site, form, said: str):
    answer = client.post("/runs", data=form)
    assert answer.status_code == 409
    assert said in Parsed(answer.text).text
    assert site.jobs is not None
    assert site.jobs.names == []


def test_a_run_of_another_process_is_stopped_where_it_was_begun(
    client: TestClient, journal_path: Path, site: Site
):
    from sagescope.experiments import Journal

    with Journal.open(journal_path) as other, other.begin("first", other.run("first").config):
        assert "Another process is writing this run" in client.get("/runs/first").text
        assert client.post("/runs/first/stop").status_code == 409
        assert client.post("/runs/first/resume").status_code == 409
    assert "Resume" in client.get("/runs/first").text


def test_a_run_goes_on_under_its_own_settings(site: Site):
    config = site.journal.run("second").config
    typed = options_of(config, [2, 0, 1])
    assert typed[:2] == ["--features", "0-2"]
    assert "sage:one-hypothesis" in typed
    assert "--max-probes=160" in typed
    assert options_of(config, [9, 1, 0, 7])[1] == "0-1,7,9"
    with pytest.raises(JournalError, match="begin it again"):
        options_of(config, [])
    for odd in ({"explainer": "session"}, {"benchmark": {}, "prompts": "x"}, {"submission": "x"}):
        assert why_not_resumed(odd)
        with pytest.raises(JournalError):
            options_of(odd, [0])
