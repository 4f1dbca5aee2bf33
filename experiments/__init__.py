"""How good is the answer, and for how many features? Jobs, journal, scores, reports, commands."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .jobs import explain
    from .journal import Journal
    from .results import Result
    from .sessions.live import Session
    from .sessions.session import AsyncSession

#: Public name → the module that holds it. They are loaded when first asked for, because what they
#: need takes longer to import than `sagescope --help` may take.
_HOMES = {
    "AsyncSession": "sessions.session",
    "Journal": "journal",
    "Result": "results",
    "Session": "sessions.live",
    "explain": "jobs",
}

__all__ = ["AsyncSession", "Journal", "Result", "Session", "explain"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
