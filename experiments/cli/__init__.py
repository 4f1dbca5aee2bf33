"""The command line: `sagescope COMMAND`, each command a few lines over the same verbs as in Python.

Results go to standard output, everything else to standard error. An error that was raised on
purpose is one sentence and exit code 1; a command that was typed wrongly, exit code 2; Ctrl-C, 130.
Heavy modules are imported inside the functions that need them, so that `--help` is quick.
"""

from . import (  # each registers its commands
    evidence,
    leaderboard,
    planted,
    runs,
    saes,
    serving,
    sessions,
    steering,
    web,
    zoo,
)
from .app import app, main

__all__ = [
    "app",
    "evidence",
    "leaderboard",
    "main",
    "planted",
    "runs",
    "saes",
    "serving",
    "sessions",
    "steering",
    "web",
    "zoo",
]
