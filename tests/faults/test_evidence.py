"""What befalls evidence while it is collected, and after."""

import signal
import time
from pathlib import Path

import pytest
import tiny
from children import Child, fill, finished

pytestmark = pytest.mark.slow  # each process imports torch


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> tuple[str, ...]:
    """Options that name a real model, an SAE and a corpus, all tiny."""
    made = tmp_path_factory.mktemp("real")
    corpus = made / "corpus.txt"
    corpus.write_text("\n\n".join(tiny.sentences(150)))
    with pytest.MonkeyPatch.context() as patch:  # room for every text that the miner writes
        patch.setattr(tiny, "CONTEXT", 256)
        model, sae = tiny.save_model(made / "tiny"), tiny.save_sae(made / "sae", features=48)
    words = f"--subject {model} --sae {sae} --corpus {corpus} --tokens 5000"
    return (*words.split(), "--device", "cpu", "--dtype", "float32")


@pytest.fixture(scope="module")
def collected(real, tmp_path_factory) -> dict[str, bytes]:
    """The evidence that is collected where nothing happens."""
    home = tmp_path_factory.mktemp("home")
    child = Child(home, ("collect", *real), planted=False, home=home)
    assert child.end().code == 0
    return contents(home)


def contents(home: Path) -> dict[str, bytes]:
    """All files of the one store of evidence below a home."""
    files = [path for path in (home / "evidence").glob("*/*") if not path.name.startswith(".")]
    return {path.name: path.read_bytes() for path in sorted(files)}


def test_a_full_disk(real, collected, run, small_disk: Path, tell):
    (small_disk / "evidence").mkdir()
    ballast = fill(small_disk, leave=120_000)
    stopped = run("collect", *real, planted=False, home=small_disk)
    assert stopped.code == 1
    assert "Traceback" not in stopped.stderr
    whole = {name: held for name, held in contents(small_disk).items() if held == collected[name]}
    assert whole, "nothing was collected before it was full: nothing was tested"
    ballast.unlink()
    assert run("collect", *real, planted=False, home=small_disk).code == 0
    assert contents(small_disk) == collected
    tell(
        "the disk is full while evidence is collected",
        stopped.sentence,
        "nothing",
        "goes on after the last whole shard, to the same bytes",
    )


def test_no_room_for_a_file(real, collected, run, tmp_path: Path, tell):
    home = tmp_path / "home"
    largest = max(map(len, collected.values()))
    stopped = run("collect", *real, planted=False, home=home, limit=largest - 500)
    assert stopped.code == 1
    assert "Traceback" not in stopped.stderr
    assert run("collect", *real, planted=False, home=home).code == 0
    assert contents(home) == collected
    tell(
        "evidence may not grow (a quota, a limit on file sizes)",
        stopped.sentence,
        "nothing",
        "goes on after the last whole shard, to the same bytes",
    )


def test_killed_while_collecting(real, collected, start, run, tmp_path: Path, tell):
    home = tmp_path / "home"
    child = start("collect", *real, planted=False, home=home, pause=0.1)
    while len(list(home.glob("evidence/*/shard-*"))) < 2:
        assert child.is_alive, child.end()
        time.sleep(0.01)
    child.send(signal.SIGKILL)
    child.end()
    assert run("collect", *real, planted=False, home=home).code == 0
    assert contents(home) == collected
    tell(
        "SIGKILL while evidence is collected",
        "nothing from Sagescope; the shell says “Killed”",
        "nothing",
        "goes on after the last whole shard, to the same bytes",
    )


def test_a_corrupted_file(real, collected, run, kept, tmp_path: Path, tell):
    home = tmp_path / "home"
    explain = ("explain", "-f", "3", *real, "--no-score", "--json")
    first = run(*explain, planted=False, home=home).rows()
    journal = tmp_path / "sagescope.db"
    before = finished(journal)
    shard = next(home.glob("evidence/*/shard-00001.safetensors"))
    held = bytearray(shard.read_bytes())
    held[-100] ^= 1
    shard.write_bytes(held)
    refused = run(*explain, planted=False, home=home)
    assert refused.code == 1
    assert "Traceback" not in refused.stderr
    lost = kept(before, journal)
    (shard.parent / "manifest.json").unlink()
    untouched = {p.name: p.stat().st_mtime_ns for p in shard.parent.glob("shard-*") if p != shard}
    assert run(*explain, planted=False, home=home).rows() == first
    assert contents(home) == collected
    now = {p.name: p.stat().st_mtime_ns for p in shard.parent.glob("shard-*") if p != shard}
    assert now == untouched
    tell(
        "a file of the evidence is corrupted",
        refused.sentence,
        lost,
        "without the manifest, collects the damaged shard again; whole ones stay",
    )
