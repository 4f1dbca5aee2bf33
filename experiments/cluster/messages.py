"""What driver and workers say to each other. All of it is pickled by Ray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...agents.budget import Budget, Charge
from ...agents.llm.client import Reply, Request
from ...agents.llm.prices import Price
from ...sae.source import FeatureSource

if TYPE_CHECKING:
    from ..jobs import Job

#: One event of a journal that is to be written: kind, payload, feature.
Entry = tuple[str, Any, int | None]
#: What a Spending has counted of calls, by the names of its fields.
Counts = dict[str, float]
#: Those names.
COUNTED = ("calls", "tokens", "cost", "unpriced", "replayed")


def nothing() -> Counts:
    """What a new Spending has counted."""
    return dict.fromkeys(COUNTED, 0)


@dataclass(frozen=True)
class Card:
    """What a worker knows of a language model. price: None where none is known."""

    provider: str
    model: str
    address: str
    price: Price | None


@dataclass(frozen=True)
class Brief:
    """What a worker is hired for. run, config: the run's. cards: by the name users type."""

    job: Job
    make: Callable[[], FeatureSource]
    run: str
    config: dict[str, Any]
    cards: dict[str, Card]


@dataclass(frozen=True)
class Assignment:
    """One feature to take through one stage.

    number: what the driver calls it. events: the feature's, as far as the stage needs them. spent,
    seconds: of the run, so far. other: the feature whose explanation is a control, with what was
    concluded of it.
    """

    number: int
    stage: Literal["explain", "score"]
    feature: int
    events: list[Entry]
    spent: Counts
    seconds: float
    other: tuple[int, dict[str, Any]] | None = None


# -------------------------------------------------------------------- from a worker


@dataclass(frozen=True)
class Wrote:
    """Events to be written."""

    number: int
    events: list[Entry]


@dataclass(frozen=True)
class Account:
    """A worker's Spending, as the driver needs it to count a call there.

    token: tells it from others of the assignment. more: what was counted in the worker since it was
    last told.
    """

    token: int
    budget: Budget
    seconds: float
    more: Counts


@dataclass(frozen=True)
class Asked:
    """A call to be made. call: what the answer names. spec: the language model's."""

    number: int
    call: int
    spec: str
    request: Request
    account: Account | None
    leaving: Charge | None


@dataclass(frozen=True)
class Ended:
    """The assignment is done. error: a traceback, where it broke off."""

    number: int
    error: str | None = None


Message = Wrote | Asked | Ended


# -------------------------------------------------------------------- to a worker


@dataclass(frozen=True)
class Answer:
    """What came of a call: a reply, or an error to be raised.

    more: what the driver counted in the account since the last answer. run: what the run has spent.
    """

    call: int
    reply: Reply | None
    error: Exception | None
    more: Counts
    run: Counts
    cut_by_run: bool = False
