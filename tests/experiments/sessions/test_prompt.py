"""`sagescope session` as a program: through a real pseudo-terminal, and through pipes."""

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagescope.experiments import Journal
from sagescope.experiments.results import results_of

#: The command line with the planted source behind it; its first argument is the pause.
PROGRAM = """
import contextlib, sys
sys.path.insert(0, sys.argv.pop(1))
import planted
from sagescope.experiments import cli
source = planted.PlantedSource(float(sys.argv.pop(1)))
cli.opening.open_source = lambda *spec: contextlib.nullcontext(source)
cli.main()
"""
#: What a terminal does with a line rather than show: styles, cursor movements, titles.
CONTROL = re.compile(r"\x1b(?:\[[0-9;?]*[a-zA-Z]|\][^\x07]*\x07|[()][A-Z0-9]|[=>])")

#: What the terminal is told when a prompt begins: that pasted text is to be marked as such.
PROMPT = b"\x1b[?2004h"


def command(pause: float, *args: str) -> list[str]:
    here = str(Path(__file__).parents[1])
    return [sys.executable, "-c", PROGRAM, here, str(pause), "session", *args]


class Terminal:
    """A program in a pseudo-terminal. said: what it printed so far, without control sequences."""

    def __init__(self, pause: float, *args: str):
        self.master, slave = pty.openpty()
        env = {**os.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
        env |= {"COLUMNS": "120", "LINES": "40"}
        self.child = subprocess.Popen(
            command(pause, *args), preexec_fn=lambda: os.login_tty(slave), env=env
        )
        os.close(slave)
        self.raw, self.read, self.prompts = b"", 0, 0

    @property
    def said(self) -> str:
        return CONTROL.sub("", self.raw.decode("utf-8", "replace"))

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def line(self, text: str) -> str:
        """Type a line at the prompt; returns what was printed up to the next one."""
        self.type(f"{text}\r")
        return self.prompt()

    def prompt(self) -> str:
        """Wait for the next prompt; returns what was printed up to it."""
        self.prompts += 1
        return self._until(lambda: b"0>" in b"".join(self.raw.split(PROMPT)[self.prompts :]))

    def wait(self, words: str) -> str:
        """Wait for words; returns all that is new."""
        return self._until(lambda: words in self.said[self.read :])

    def _until(self, done: Callable[[], bool]) -> str:
        ends = time.monotonic() + 60
        while not done():
            assert time.monotonic() < ends, self.said
            self._more()
        new, self.read = self.said[self.read :], len(self.said)
        return new

    def _more(self) -> None:
        if select.select([self.master], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):  # the other end is gone
                self.raw += os.read(self.master, 65536)

    def end(self) -> int:
        while self.child.poll() is None:
            self._more()
        os.close(self.master)
        return self.child.returncode


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAGESCOPE_JOURNAL", raising=False)
    return tmp_path


def results(run: str = "session") -> list[Any]:
    with Journal.open(Path("sagescope.db")) as journal:
        return results_of(journal.run(run))


@pytest.fixture
def opened():
    """Opens terminals, and ends what still runs in them."""
    terminals: list[Terminal] = []

    def open_one(pause: float = 0.0) -> Terminal:
        terminals.append(Terminal(pause, "0"))
        return terminals[-1]

    yield open_one
    for terminal in terminals:
        if terminal.child.poll() is None:
            terminal.child.kill()
            terminal.end()


# --- In a terminal -------------------------------------------------------------------------------


def test_a_whole_session(opened):
    terminal = opened()
    assert "lexical" in terminal.prompt()
    assert " bank" in terminal.line("top 2")
    assert b"\x1b[1;30;48;5;" in terminal.raw, "active tokens are shaded"
    assert "typed" in terminal.line("try the bank by the river")
    assert "bank" in terminal.line("compare the bank | the tree")
    assert "H0 untested" in terminal.line("add fires on banks :: word: bank @ .9")
    assert "not run yet" in terminal.line("probe fires he saw the bank.")
    assert "not run yet" in terminal.line("probe 0 silent it's a \"tree\", isn't it")
    ran = terminal.line("run")
    assert ran.count("✓") == 2
    assert "fired 1/1, silent 1/1 as predicted" in terminal.line("hypotheses")
    assert "Unknown verb 'hypotesis'. Nearest: hypotheses" in terminal.line("hypotesis")
    assert "Type it as: compare TEXT | TEXT" in terminal.line("compare one")
    assert "by human" in terminal.line("accept 0")
    assert "Taken back: accept, by human." in terminal.line("undo")
    assert "by human" in terminal.line("accept it fires on banks :: word: bank @ .9")
    terminal.type("\x04")
    assert terminal.end() == 0
    (result,) = results()
    assert (result.explainer, result.explanation.description) == ("human", "it fires on banks")
    assert result.scores["predictive_pearson"].value > 0.8


def test_ctrl_c_stops_what_runs_and_the_session_goes_on(opened):
    terminal = opened(3600)
    terminal.prompt()
    terminal.line("add fires on banks")
    terminal.line("probe fires he saw the bank.")
    terminal.type("run\r")
    terminal.wait("Ctrl-C stops it")
    terminal.type("\x03")
    assert "Stopped. What was done until then is kept." in terminal.prompt()
    terminal.type("half a line\x03")
    terminal.prompt()
    assert "1 of them not run yet" in terminal.line("status")
    terminal.type("leave\r")
    assert terminal.end() == 0
    again = opened()
    again.prompt()
    assert "✓" in again.line("run")
    again.type("\x04")
    assert again.end() == 0


def test_lines_are_completed_and_remembered(opened):
    terminal = opened()
    terminal.prompt()
    terminal.type("hypo\t")
    terminal.wait("hypotheses")
    assert "No hypotheses." in terminal.line("")
    terminal.type("\x1b[A")
    terminal.wait("hypotheses")
    assert "No hypotheses." in terminal.line("")
    terminal.type("\x04")
    assert terminal.end() == 0


def test_killed_and_come_back(opened):
    terminal = opened(3600)
    terminal.prompt()
    terminal.line("add fires on banks")
    terminal.line("probe fires he saw the bank.")
    terminal.type("run\r")
    terminal.wait("Ctrl-C stops it")
    terminal.child.kill()
    assert terminal.end() == -9
    again = opened()
    assert "1 hypotheses, 1 probes, 1 of them not run yet" in again.prompt()
    assert "✓" in again.line("run")
    again.type("\x04")
    assert again.end() == 0


# --- Through pipes -------------------------------------------------------------------------------


def piped(script: str, *args: str, code: int = 0) -> str:
    done = subprocess.run(
        command(0, "0", *args), input=script.encode(), capture_output=True, timeout=120
    )
    assert done.returncode == code, done.stderr
    assert done.stderr == b""
    return done.stdout.decode()


def test_commands_from_a_pipe():
    out = piped("# a remark\n\ntry the bank\npropose\nstep\naccept\nhelp probe\n")
    assert "> try the bank" in out
    assert "the «bank»" in out
    assert "by human + rules" in out
    assert "probe [N] fires|silent TEXT" in out
    assert "\x1b" not in out
    (result,) = results()
    assert (result.explainer, result.mind) == ("human + rules", "rules")


def test_one_object_a_line():
    out = piped("try the bank\nfly\nstep\naccept 0\nhelp\n", "--json", "--run", "r", code=1)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["line"] for row in rows] == [
        "status",
        "try the bank",
        "fly",
        "step",
        "accept 0",
        "help",
    ]
    assert "Unknown verb" in rows[2]["error"]
    kinds = [row.get("view") for row in rows]
    assert kinds == ["Overview", "Readings", None, "Round", "Accepted", "Help"]
    assert rows[1]["result"]["readings"][0]["tokens"] == ["the", " bank"]
    assert rows[4]["result"]["explainer"] == "human + rules"
    assert results("r")[0].explainer == "human + rules"


def test_text_that_is_no_text():
    out = subprocess.run(
        command(0, "0"),
        input=b"try the \xff\x1b]0;evil\x07 bank\n",
        capture_output=True,
        timeout=120,
    ).stdout.decode()
    assert "\x1b" not in out
    assert "«bank»" in out


def test_other_settings_are_refused():
    piped("", "--seed", "3", "--max-probes", "9")
    assert "mind rules" in piped("")
    done = subprocess.run(
        command(0, "0", "--seed", "4"), input=b"", capture_output=True, timeout=120
    )
    assert done.returncode == 1
    assert b"was begun with seed 3, not 4" in done.stderr
