"""The journal: what is written is kept, once; what is not ours is not touched."""

import json
import multiprocessing
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagescope.experiments import journal_file
from sagescope.experiments.journal import Journal, default_path
from sagescope.sae.errors import JournalError, UnknownName

CONFIG = {"sae": "s", "seed": 0, "budget": {"probes": 5}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a folder" / "sagescope.db"


def test_what_was_written_is_read(path: Path):
    with Journal.open(path) as journal, journal.begin("demo", CONFIG) as run:
        run.write("session", {"features": [3, 1]})
        run.write_all([("probe", {"id": 0}, 3), ("probe", {"id": 1}, 1)])
    with Journal.open(path, create=False) as journal:
        run = journal.run("demo")
        assert run.config == CONFIG
        assert run.features == [3, 1]
        assert [(e.kind, e.feature, e.payload) for e in run.events()] == [
            ("session", None, {"features": [3, 1]}),
            ("probe", 3, {"id": 0}),
            ("probe", 1, {"id": 1}),
        ]
        assert [e.payload for e in run.events(1)] == [{"id": 1}]
        assert run.events(1, ["outcome"]) == []


def test_a_journal_in_memory():
    with Journal.open(None) as journal, journal.begin("demo", CONFIG) as run:
        run.write("note", "x", 1)
        assert [e.payload for e in run.events()] == ["x"]


def test_runs_stand_apart(path: Path):
    with Journal.open(path) as journal:
        for name in ("one", "two"):
            with journal.begin(name, CONFIG) as run:
                run.write("note", name, 0)
        assert [run.name for run in journal.runs()] == ["one", "two"]
        assert [e.payload for e in journal.run("two").events()] == ["two"]


def test_an_unknown_run_shows_the_near_ones(path: Path):
    with Journal.open(path) as journal, journal.begin("demo", CONFIG):
        pass
    with Journal.open(path) as journal, pytest.raises(UnknownName, match="demo"):
        journal.run("dem0")


@pytest.mark.parametrize("name", ["", "a/b", "../x", "-x", "a b", "é", "x" * 101, "a\n"])
def test_names_that_no_file_should_have(path: Path, name: str):
    refused = pytest.raises(JournalError, match="cannot be a run's name")
    with Journal.open(path) as journal, refused, journal.begin(name, CONFIG):
        pass


@given(st.text(st.characters(codec=None)), st.lists(st.floats(width=32)))
def test_any_text_and_any_float32_come_back_exactly(text: str, values: list[float]):
    sent = np.array(values, np.float32)
    with Journal.open(None) as journal, journal.begin("x", {}) as run:
        run.write("measured", {"text": text, "activations": sent.tolist()}, 0)
        (event,) = run.events()
    assert event.payload["text"] == text
    back = np.array(event.payload["activations"], np.float32)
    np.testing.assert_array_equal(back, sent)
    assert ((np.signbit(back) == np.signbit(sent)) | np.isnan(sent)).all()  # -0.0 too


def test_several_events_are_written_together_or_not_at_all(path: Path):
    with Journal.open(path) as journal, journal.begin("x", {}) as run:
        with pytest.raises(TypeError):
            run.write_all([("note", "fine", 0), ("note", {1, 2}, 0)])
        assert run.events() == []


def test_only_the_latest_attempt_counts(path: Path):
    with Journal.open(path) as journal, journal.begin("x", {}) as run:
        for kind in ("facts", "started", "probe", "started", "hypothesis"):
            run.write(kind, {}, 7)
        assert [e.kind for e in run.attempt(7)] == ["started", "hypothesis"]


# --- Configuration -------------------------------------------------------------------------------


def test_going_on_needs_the_same_configuration(path: Path):
    other = {"sae": "s", "seed": 1, "budget": {"probes": None}}
    with Journal.open(path) as journal:
        with journal.begin("x", CONFIG):
            pass
        with journal.begin("x", CONFIG):
            pass
        message = r"'x' was begun with seed 0, not 1; budget probes 5, not none\."
        with pytest.raises(JournalError, match=message), journal.begin("x", other):
            pass


def test_a_tuple_is_the_list_it_was_stored_as(path: Path):
    with Journal.open(path) as journal:
        for _ in range(2):
            with journal.begin("x", {"splits": ("explain", "score")}):
                pass


# --- One writer ----------------------------------------------------------------------------------


def test_one_process_writes_a_run(path: Path):
    with Journal.open(path) as first, Journal.open(path) as second:
        refused = pytest.raises(JournalError, match="Another process")
        with first.begin("x", CONFIG), refused, second.begin("x", CONFIG):
            pass
        with second.begin("x", CONFIG):  # it has been let go
            pass
    assert [file.name for file in path.parent.iterdir()] == ["sagescope.db"]


def test_two_runs_may_be_written_at_once(path: Path):
    with Journal.open(path) as first, Journal.open(path) as second:
        with first.begin("x", CONFIG) as one, second.begin("y", CONFIG) as two:
            for number in range(20):
                one.write("note", number, 0)
                two.write("note", number, 0)
        assert len(first.run("y").events()) == len(second.run("x").events()) == 20


def test_reading_does_not_wait_for_the_writer(path: Path):
    with Journal.open(path) as journal, journal.begin("x", CONFIG) as run:
        run.write("note", "seen", 0)
        with Journal.open(path, create=False) as other:
            assert [e.payload for e in other.run("x").events()] == ["seen"]


def test_a_run_that_was_opened_for_reading_is_not_written(path: Path):
    with Journal.open(path) as journal:
        with journal.begin("x", CONFIG) as run:
            pass
        for stale in (run, journal.run("x")):
            with pytest.raises(JournalError, match="reading only"):
                stale.write("note", "", 0)


KILLED = """
import os, signal, sys
from pathlib import Path
from sagescope.experiments.journal import Journal

with Journal.open(Path(sys.argv[1])) as journal, journal.begin("x", {"seed": 0}) as run:
    for number in range(100):
        run.write("note", number, 0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_loses_nothing_and_blocks_nobody(path: Path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)])
    assert done.returncode == -signal.SIGKILL
    with Journal.open(path) as journal, journal.begin("x", {"seed": 0}) as run:
        assert [e.payload for e in run.events()] == list(range(100))


def _begin(path: Path, number: int) -> None:
    with Journal.open(path) as journal, journal.begin(f"run{number}", {}) as run:
        run.write("note", number, 0)


def test_many_processes_may_make_the_file_at_once(path: Path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_begin, args=(path, number)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 6
    with Journal.open(path) as journal:
        assert {run.name for run in journal.runs()} == {f"run{number}" for number in range(6)}


# --- Files that are not ours, or not any more ----------------------------------------------------


def test_no_journal_there(path: Path):
    with pytest.raises(JournalError, match=r"There is no journal at .*sagescope explain"):
        Journal.open(path, create=False)
    assert not path.exists()


@pytest.mark.parametrize(
    "content", [b"some notes of mine\n" * 100, b"SQLite format 3\0" + b"x" * 5000]
)
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, content: bytes):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"notes\.txt is no journal, or a damaged one"):
        Journal.open(path)
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_journal(tmp_path: Path):
    path = tmp_path / "empty.db"
    path.touch()
    with Journal.open(path) as journal:
        assert journal.runs() == []


def test_somebody_elses_database_is_left_alone(tmp_path: Path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE events (mine TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="something else"):
        Journal.open(path)
    assert path.read_bytes() == before


def test_a_newer_journal_asks_for_an_update(path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as newer:
        newer.setattr(
            journal_file, "MIGRATIONS", [*journal_file.MIGRATIONS, lambda connection: None]
        )
        Journal.open(path).close()
    with pytest.raises(JournalError, match=r"journal version 2, .* up to 1\): update Sagescope"):
        Journal.open(path)


def test_an_older_journal_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch):
    with Journal.open(path) as journal, journal.begin("x", CONFIG) as run:
        run.write("note", "old", 0)

    def second_schema(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE runs ADD COLUMN remark TEXT")

    monkeypatch.setattr(journal_file, "MIGRATIONS", [*journal_file.MIGRATIONS, second_schema])
    for _ in range(2):  # once, and not again
        with Journal.open(path) as journal:
            assert [e.payload for e in journal.run("x").events()] == ["old"]
            journal._all("SELECT remark FROM runs")


def test_a_damaged_journal_says_so(path: Path):
    with Journal.open(path) as journal, journal.begin("x", CONFIG) as run:
        run.write_all(("note", "x" * 1000, number) for number in range(200))
    content = bytearray(path.read_bytes())
    content[8192:-4096] = bytes(len(content) - 8192 - 4096)
    path.write_bytes(content)
    with pytest.raises(JournalError, match="damaged"), Journal.open(path) as journal:
        journal.run("x").events()


def test_a_folder_and_a_path_through_a_file(tmp_path: Path):
    with pytest.raises(JournalError, match="is a folder"):
        Journal.open(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="cannot be used"):
        Journal.open(tmp_path / "file" / "sagescope.db")


def test_using_it_after_closing(path: Path):
    journal = Journal.open(path)
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.runs()


def test_the_payloads_are_json_in_ascii(path: Path):
    with Journal.open(path) as journal, journal.begin("x", {}) as run:
        run.write("note", "é\ud800\0", 0)
        ((raw,),) = journal._all("SELECT payload FROM events")
    assert raw.isascii()
    assert json.loads(raw) == "é\ud800\0"


def test_the_default_place(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SAGESCOPE_JOURNAL", raising=False)
    assert default_path() == Path("sagescope.db")
    monkeypatch.setenv("SAGESCOPE_JOURNAL", "~/mine.db")
    with Journal.open(default_path()) as journal:
        assert journal.path == Path.home() / "mine.db"


def test_a_place_below_a_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with Journal.open(Path("~/new/x.db")) as journal:
        assert journal.path == tmp_path / "home" / "new" / "x.db"
    Journal.open(Path("~/new/x.db"), create=False).close()
    for create in (True, False):
        with pytest.raises(JournalError, match="no such home folder"):
            Journal.open(Path("~nobody-of-that-name/x.db"), create)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
