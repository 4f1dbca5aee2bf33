"""The commands: `serve` as a process of its own, and others that work with `--host`."""

import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from running import until
from typer.testing import CliRunner

from sagescope.experiments.cli import app
from sagescope.experiments.jobs import explain

PYTHON = [sys.executable, "-m", "sagescope.experiments.cli"]


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAGESCOPE_JOURNAL", raising=False)
    return tmp_path


def run(*args: str, code: int = 0, **how) -> str:
    done = CliRunner().invoke(app, args, **how)
    assert done.exit_code == code, done.output
    return done.output


def test_explain_with_a_host_finds_what_it_finds_in_process(service, local):
    # No probes: those that the rule miner writes are longer than the tiny model's context.
    how = ["--explainer", "sage:no-probes", "--no-score"]
    run("explain", "-f", "3", "--host", service.url, "--run", "there", *how)
    how = {"explainer": "sage:no-probes", "score": False}
    explain(local[0], [3], run="here", journal="sagescope.db", **how)
    rows = [json.loads(run("results", name, "--json")) for name in ("there", "here")]
    for row in rows:
        row.pop("run", None)
        row.pop("spent", None)
    assert rows[0]["explanation"] == rows[1]["explanation"]


def test_a_session_with_a_host(service):
    said = run("session", "3", "--host", service.url, input="top 2\ntry the cat\nquit\n")
    assert "tiny/late/3" in said


def test_features_with_a_host(service, local):
    row = json.loads(run("features", "--host", service.url, "-f", "3", "--json"))
    assert row["fired"] == local[0].evidence.reader("explainer").split("explain").stats(3).fired


def test_what_the_service_decides_is_not_asked_for(service):
    for option in (["--corpus", "x.txt"], ["--tokens", "5"], ["--dtype", "float32"]):
        said = run("features", "--host", service.url, *option, code=2)
        assert "without --host" in said.replace("\n", " ")
    said = run("features", "--host", service.url, "--subject", "another", code=1)
    assert "serves tiny, not another" in said
    assert "start it with" in run("features", "--host", "http://127.0.0.1:1", code=1)


def test_beyond_loopback_serve_wants_a_token_before_it_loads_anything(monkeypatch):
    monkeypatch.delenv("SAGESCOPE_TOKEN", raising=False)
    assert "SAGESCOPE_TOKEN" in run("serve", "--bind", "0.0.0.0", "--port", "0", code=1)
    Path("short").write_text("short")
    assert "16 characters" in run("serve", "--token-file", "short", code=1)


def test_a_port_that_is_taken(service):
    port = service.url.rpartition(":")[2]
    assert "another --bind or --port" in run("serve", "--port", port, code=1)


def test_what_cannot_be_loaded_ends_the_server():
    said = run("serve", "--port", "0", "--subject", "./nowhere", "--sae", "x", code=1)
    assert "nowhere" in said


@pytest.mark.slow
def test_a_server_that_is_ended_finishes_what_it_accepted(made):
    saes = [word for sae in made.saes for word in ("--sae", str(sae))]
    what = ["--model", str(made.model), *saes, "--corpus", str(made.corpus), "--dtype", "float32"]
    command = [*PYTHON, "serve", "--port", "0", *what]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            url = re.search(r"http://\S+:\d+", server.stderr.readline()).group()
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                until(lambda: _alive(client) and client.get("/v1/ready").status_code == 200)
                texts = ["the cat sees a dog near the river " * 4] * 200
                with ThreadPoolExecutor(4) as pool:
                    asked = [
                        pool.submit(_ask, client, [f"{n} {m} {t}" for m, t in enumerate(texts)])
                        for n in range(4)
                    ]
                    until(lambda: "queue_requests 4.0" in client.get("/metrics").text)
                    server.send_signal(signal.SIGTERM)
                    assert [one.result() for one in asked] == [200] * 4
            assert server.wait(30) in (0, -signal.SIGTERM)
        finally:
            server.kill()


def _alive(client: httpx.Client) -> bool:
    try:
        return client.get("/v1/health").is_success
    except httpx.TransportError:
        return False


def _ask(client: httpx.Client, texts: list[str]) -> int:
    return client.post("/v1/activations", json={"texts": texts, "features": [3]}).status_code
