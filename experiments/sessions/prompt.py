"""`sagescope session`: lines that are typed, or that come from a pipe, and what they bring.

At a terminal there is a prompt with completion and history; Ctrl-C cancels what is running, Ctrl-D
leaves. From a pipe every line is done in turn. As JSON each line gives one object:
{"line": …, "view": its kind, "result": …} or {"line": …, "error": …}.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

from rich.console import Console

from ...sae.errors import SagescopeError
from ...sae.paths import cache_root
from ..terminal import console, text
from .live import Session
from .pages import help_page, page
from .verbs import VERBS, perform
from .views import Round, View

LEAVE = ("leave", "quit", "exit")


def converse(session: Session, lines: TextIO = sys.stdin, as_json: bool = False) -> bool:
    """Do what is typed until it ends. Returns whether every line of a pipe could be done."""
    typed = lines.isatty() and sys.stdout.isatty()
    out: Printer = JsonPrinter() if as_json else Printer(console(), typed)
    fine = True
    out.view("status", session.overview())
    for line in prompted(session) if typed else piped(lines):
        command = line.strip()
        if command in LEAVE:
            break
        if command:
            fine &= _do(session, command, out)
    return fine or typed


def _do(session: Session, command: str, out: Printer) -> bool:
    name, _, rest = command.partition(" ")
    try:
        if name == "help":
            out.help(command, rest.strip())
        else:
            with out.working(name):
                view = perform(session, command, lambda done: out.round(command, done))
            out.view(command, view)
    except SagescopeError as error:
        out.error(command, str(error))
        return False
    except KeyboardInterrupt:
        out.error(command, "Stopped. What was done until then is kept.")
        return False
    return True


def prompted(session: Session) -> Iterator[str]:
    """Lines that somebody types, until Ctrl-D."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory

    history = cache_root() / "session-history"
    history.parent.mkdir(parents=True, exist_ok=True)
    prompt: PromptSession[str] = PromptSession(
        history=FileHistory(str(history)),
        completer=WordCompleter([*VERBS, "help", "leave"], sentence=True),
        complete_while_typing=False,
    )
    while True:
        try:
            yield prompt.prompt(f"{session.session.feature}> ")
        except KeyboardInterrupt:
            continue  # it was meant for the line
        except EOFError:
            return


def piped(lines: Iterable[str]) -> Iterator[str]:
    """Lines from a file or a pipe, without what a "#" begins a line with."""
    if isinstance(lines, TextIO) or hasattr(lines, "reconfigure"):
        lines.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    return (line for line in lines if not line.lstrip().startswith("#"))


class Printer:
    """Prints what came of a line, for people. typed: the line itself stands there already."""

    def __init__(self, out: Console, typed: bool):
        self._out, self._typed = out, typed

    def working(self, name: str) -> contextlib.AbstractContextManager[object]:
        """Show that a verb is at work."""
        if not self._typed or (name in VERBS and VERBS[name].shows_progress):
            return contextlib.nullcontext()
        return self._out.status(text(f"{name} … (Ctrl-C stops it)"))

    def view(self, command: str, view: View) -> None:
        """What a verb returned."""
        self._echo(command)
        self._out.print(page(view))

    def round(self, command: str, done: Round) -> None:
        """One of several rounds."""
        self._echo(command)
        self._out.print(page(done))

    def help(self, command: str, name: str) -> None:
        """What can be typed."""
        self._echo(command)
        self._out.print(help_page(name))

    def error(self, command: str, sentence: str) -> None:
        """Why a line could not be done."""
        self._echo(command)
        self._out.print(text(sentence, "red"))

    def _echo(self, command: str) -> None:
        if not self._typed:
            self._out.print(text(f"> {command}", "bold"))


class JsonPrinter(Printer):
    """Prints one JSON object a line, in ASCII."""

    def __init__(self) -> None:
        super().__init__(console(), typed=False)

    def view(self, command: str, view: View) -> None:
        """See Printer."""
        self._line({"line": command, "view": type(view).__name__, "result": view.model_dump()})

    def round(self, command: str, done: Round) -> None:
        """See Printer: the end of the verb tells of all rounds."""

    def help(self, command: str, name: str) -> None:
        """See Printer."""
        wanted = [VERBS[name]] if name in VERBS else VERBS.values()
        self._line({"line": command, "view": "Help", "result": {v.usage: v.about for v in wanted}})

    def error(self, command: str, sentence: str) -> None:
        """See Printer."""
        self._line({"line": command, "error": sentence})

    def _line(self, row: dict[str, object]) -> None:
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()
