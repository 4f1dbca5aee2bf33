"""Steering as a verb of sessions, a tool and a command, over scripted texts."""

import json

import pytest
from scripted_texts import Scripted
from typer.testing import CliRunner

from sagescope.experiments.cli import app
from sagescope.experiments.sessions.live import Session
from sagescope.experiments.sessions.pages import page
from sagescope.experiments.sessions.steered import NO_CLAIM, SteeredTexts
from sagescope.experiments.sessions.verbs import perform
from sagescope.experiments.terminal import console
from sagescope.sae.errors import SAEError, SessionError
from sagescope.sae.generation.texts import KINDS
from sagescope.sae.source import FunctionSource


def boats(text, feature):
    return [(word, 3.0 * ("boat" in word)) for word in text.split()]


@pytest.fixture
def source():
    found = FunctionSource(boats, 1, [f"the boat {n} sank twice" for n in range(300)])
    found.generation = Scripted()
    return found


def shown(view):
    out = console()
    with out.capture() as captured:
        out.print(page(view))
    return captured.get()


def test_a_line_steers(source):
    with Session.open(source, 0, seed=3) as session:
        view = perform(session, "steer The captain")
        perform(session, "steer The captain :: -4")
        perform(session, "steer 1999 was :: a year :: 0.5")
        perform(session, "steer 1999 was")
        for line in ("steer", "steer :: 4"):
            with pytest.raises(SessionError, match=r"steer PROMPT \[:: STRENGTH\]"):
                perform(session, line)
        for line in ("steer The captain :: 33", "steer The captain :: -1000000"):
            with pytest.raises(SAEError, match="from 0 to 32"):
                perform(session, line)
        before = session.overview()
    first, second, third, fourth = source.generation.orders
    assert (first.prompt, first.strength, first.remove, first.gated) == (
        "The captain", 2.0, False, False,
    )  # fmt: skip
    assert (second.strength, second.remove, second.gated, second.seed) == (4.0, True, True, 3)
    assert (third.prompt, third.strength) == ("1999 was :: a year", 0.5)
    assert (fourth.prompt, fourth.strength) == ("1999 was", 2.0)
    assert before.probes == 0
    assert view.note == NO_CLAIM
    assert SteeredTexts.model_validate_json(view.model_dump_json()) == view


def test_what_was_written_is_kept_and_not_written_twice(source, tmp_path):
    how = {"run": "mine", "journal": tmp_path / "journal.db"}
    with Session.open(source, 0, **how) as session:
        first = perform(session, "steer The captain")
        with pytest.raises(SessionError, match="nothing to undo"):
            perform(session, "undo")
    with Session.open(source, 0, **how) as session:
        assert perform(session, "steer The captain") == first
        assert len(source.generation.orders) == 1
        perform(session, "steer The captain :: 3")
    assert len(source.generation.orders) == 2


def test_every_text_and_what_the_gates_did_is_shown(source):
    with Session.open(source, 0) as session:
        opened = perform(session, "steer The captain :: -2")
        source.generation.opened = False
        closed = perform(session, "steer The pilot :: -2")
    text = " ".join(shown(opened).split())
    for kind in KINDS:
        assert kind in text
        assert kind in opened._repr_html_()
    assert "KL 0.500" in text
    assert "ELEVATED from token 8" in text
    assert "safety" in text
    assert "\x1b[2J" not in shown(opened) + opened._repr_html_()
    assert "nothing was steered" in " ".join(shown(closed).split())


def test_a_source_without_a_model_says_so(source):
    del source.generation
    with Session.open(source, 0) as session, pytest.raises(SAEError, match="no language model"):
        perform(session, "steer The captain")


def test_the_command_prints_all_or_json(source, monkeypatch):
    import contextlib

    from sagescope.experiments.cli import opening

    monkeypatch.setattr(opening, "open_source", lambda *a: contextlib.nullcontext(source))
    run = CliRunner().invoke
    found = run(app, ["steer", "0", "-p", "The captain", "--remove", "--no-gate", "--json"])
    assert found.exit_code == 0, found.output
    row = json.loads(found.stdout)
    assert (row["strength"], row["opened"], row["prompt"]) == (-2.0, None, "The captain")
    assert [one["kind"] for one in row["texts"]] == list(KINDS)
    plain = run(app, ["steer", "0", "-p", "The captain", "--tokens", "7", "--seed", "5"])
    assert plain.exit_code == 0, plain.output
    assert "difference of means" in plain.stdout
    assert (source.generation.orders[-1].tokens, source.generation.orders[-1].seed) == (7, 5)
    assert run(app, ["steer", "0"]).exit_code == 2
