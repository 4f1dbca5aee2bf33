"""A real Ray of two workers on this machine, one of them killed in the middle."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import minded
import planted
import pytest
import tiny

from sagescope.experiments import Journal, explain
from sagescope.experiments.cli.options import RAY_HERE, with_address
from sagescope.experiments.cluster import Cluster
from sagescope.experiments.loopback import LoopbackProvider
from sagescope.experiments.results import Result, results_of
from sagescope.sae.errors import ClusterError

SCRIPT = Path(__file__).with_name("clustered.py")


def workers_of(marker: str) -> list[int]:
    """The processes of Ray's workers that have this in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            if (
                title.startswith(b"ray::Worker")
                and marker.encode() in (folder / "environ").read_bytes()
            ):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def comparable(results: list[Result]) -> list[str]:
    rows = [json.loads(result.as_json()) for result in results]
    for row in rows:
        del row["cost"]["seconds"]
    return [json.dumps(row) for row in rows]


@pytest.mark.slow
def test_one_of_two_workers_is_killed_and_the_run_ends_as_in_one_process(tmp_path: Path):
    killed: list[int] = []
    env = {
        **os.environ,
        "PYTHONPATH": str(Path(planted.__file__).parent),  # workers open the source, too
        "SAGESCOPE_TEST": str(tmp_path),
        "SAGESCOPE_API_KEY": "sk-of-the-driver",
    }

    def script(call):
        if call.number == 9 and not killed:
            killed.append(min(workers_of(str(tmp_path))))
            os.kill(killed[0], signal.SIGKILL)
        return minded.answer(call)

    with LoopbackProvider(script) as server:
        mind = f"{server.url}/v1#scripted"
        ran = subprocess.run(
            [sys.executable, SCRIPT, tmp_path / "j.db", mind, "2"],
            env=env,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        assert killed
        paid = server.paid.copy()
        assert set(paid.values()) == {1}
        assert all(
            call.headers["authorization"] == "Bearer sk-of-the-driver" for call in server.calls
        )
        with Journal.open(tmp_path / "j.db") as journal:
            found = comparable(results_of(journal.run("x")))
            text = json.dumps([event.payload for event in journal.run("x").events()])
        assert "sk-of-the-driver" not in text
        server.reset(minded.answer)
        source = planted.PlantedSource()
        with Journal.open(None) as journal:
            whole = explain(source, range(5), mind=mind, journal=journal, run="x", random_weights=0)
        assert found == comparable(whole)
        assert server.paid.keys() == paid.keys()


def sagescope(*args: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sagescope.experiments.cli", *map(str, args)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_collecting_with_workers_gives_the_same_bytes(tmp_path: Path):
    model, sae = tiny.save_model(tmp_path / "model"), tiny.save_sae(tmp_path / "sae")
    text = tmp_path / "text.jsonl"
    rows = (json.dumps({"text": one}) for one in tiny.sentences(1500))
    text.write_text("\n".join(rows) + "\n")
    what = ("--subject", model, "--sae", sae, "--corpus", text, "--tokens", 200_000)
    stores = []
    for home, how in (("one", ()), ("many", ("--ray", "--workers", "2"))):
        ran = sagescope("collect", *what, *how, SAGESCOPE_HOME=str(tmp_path / home))
        assert ran.returncode == 0, ran.stderr
        (folder,) = (path for path in (tmp_path / home / "evidence").iterdir() if path.is_dir())
        stores.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert "shard-00001.safetensors" in stores[0]
    assert stores[0] == stores[1]


@pytest.mark.slow
def test_more_than_there_is_ends_in_a_sentence(tmp_path: Path):
    model, sae = tiny.save_model(tmp_path / "model"), tiny.save_sae(tmp_path / "sae")
    what = ("--subject", model, "--sae", sae, "--ray", "--workers", "2", "--worker-gpus", "64")
    ran = sagescope("collect", *what)
    assert ran.returncode == 1
    assert re.search(r"not enough for 2 workers with 1 and 64 each", ran.stderr)


# --- Without starting anything -------------------------------------------------------------------


def test_ray_may_stand_without_an_address():
    assert with_address(["-f", "1", "--ray"]) == ["-f", "1", "--ray", RAY_HERE]
    assert with_address(["--ray", "-f", "1"]) == ["--ray", RAY_HERE, "-f", "1"]
    assert with_address(["--ray", "10.0.0.1:6379"]) == ["--ray", "10.0.0.1:6379"]
    assert with_address(["--ray=auto", "-f", "1"]) == ["--ray=auto", "-f", "1"]


def test_options_of_workers_go_with_ray():
    ran = sagescope("explain", "-f", "1", "--workers", "2")
    assert ran.returncode == 2
    assert "go with --ray" in ran.stderr


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"pip install 'sagescope\[ray\]'"):
        explain(planted.PlantedSource(), [0], cluster=Cluster(planted.PlantedSource))
