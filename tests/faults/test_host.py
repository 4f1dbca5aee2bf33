"""A service that is killed in the middle of a batch."""

import signal
import socket
import time
from pathlib import Path

import httpx
import pytest
import tiny
from children import Child, finished, until_events

pytestmark = pytest.mark.slow  # each process imports torch


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> tuple[str, ...]:
    """The command that serves a tiny model, at a port that is free."""
    made = tmp_path_factory.mktemp("served")
    corpus = made / "corpus.txt"
    corpus.write_text("\n\n".join(tiny.sentences(150)))
    with pytest.MonkeyPatch.context() as patch:  # room for every text that the miner writes
        patch.setattr(tiny, "CONTEXT", 256)
        model, sae = tiny.save_model(made / "tiny"), tiny.save_sae(made / "sae", features=48)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = f"serve --port {port} --model {model} --sae {sae} --corpus {corpus} --tokens 20000"
    return (*words.split(), "--device", "cpu", "--dtype", "float32")


def until_ready(server: Child, url: str) -> None:
    while True:
        assert server.is_alive, server.end()
        try:
            if httpx.get(f"{url}/v1/ready", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)


def test_a_host_killed_in_the_middle_of_a_batch(served, start, run, kept, tell, tmp_path: Path):
    home, journal = tmp_path / "home", tmp_path / "sagescope.db"
    url = f"http://127.0.0.1:{served[2]}"
    explain = ("explain", "-f", "3-8", "--host", url, "--no-score", "--concurrency", "2", "--json")
    server = start(*served, planted=False, home=home, pause=0.05)
    until_ready(server, url)
    child = start(*explain, planted=False)
    until_events(child, journal, 1, "concluded")
    time.sleep(0.1)
    server.send(signal.SIGKILL)
    before = finished(journal)
    ended = child.end()
    assert ended.code == 1
    assert "Traceback" not in ended.stderr
    assert len(before) < 6, "all was done before it was killed: nothing was tested"
    lost = kept(before, journal)
    server = start(*served, planted=False, home=home)
    until_ready(server, url)
    again = run(*explain, planted=False).rows()
    assert again == run(*explain, "--journal", "other.db", planted=False).rows()
    assert "failed" not in {row["status"] for row in again}
    tell(
        "the host (`sagescope serve`) is killed in the middle of a batch",
        ended.sentence.replace(url, "http://…"),
        lost,
        "goes on once it is started again",
    )
