"""The command line's frame: errors become sentences and exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from ...sae.errors import SagescopeError


class Terminated(SystemExit):
    """SIGTERM came. Unlike KeyboardInterrupt, no prompt takes it for a line that is given up."""


class Commands(TyperGroup):
    """The group of all commands; it turns errors into sentences and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        try:
            with _heeding_sigterm():
                value = super().invoke(ctx)
            sys.stdout.flush()
            return value
        except SagescopeError as error:
            if ctx.params.get("debug"):
                raise
            raise _ended(str(error), 1) from None
        except (KeyboardInterrupt, Terminated) as stopped:
            number = signal.SIGTERM if isinstance(stopped, Terminated) else signal.SIGINT
            again = "Run the same command again to go on."
            raise _ended(f"Stopped. What was done is kept. {again}", 128 + number) from None
        except BrokenPipeError:
            # Whoever read our output has enough. Python would complain once more when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Commands,
    name="sagescope",
    help="Find out what the features of sparse autoencoders respond to, by experiments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The console script."""
    app()


@contextlib.contextmanager
def _heeding_sigterm() -> Iterator[None]:
    """End on SIGTERM as on Ctrl-C, with everything closed, unless somebody else sees to it."""

    def end(*_: object) -> NoReturn:
        raise Terminated

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _ended(message: str, code: int) -> typer.Exit:
    from ...sae.visible import visible

    typer.echo(f"sagescope: {visible(message)}", err=True)
    return typer.Exit(code)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"sagescope {version('sagescope')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole traceback of an error.")
    ] = False,
) -> None:
    pass
