"""Budgets: hard caps on what an explanation may spend, and the count of what it has spent."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields

from ..sae.errors import BudgetExhausted


@dataclass(frozen=True)
class Budget:
    """Caps for one feature; None is no cap.

    probes: texts run. rounds: turns of the loop. calls, tokens: of a language model. seconds: wall
    clock (the one cap that makes a run depend on the machine; none by default).
    """

    probes: int | None = 160
    rounds: int | None = 4
    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for cap in fields(self):
            value = getattr(self, cap.name)
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"The cap on {cap.name} must be a number from 0 on, not {value}.")


@dataclass
class Spending:
    """What one feature has spent of its budget."""

    budget: Budget
    probes: int = 0
    rounds: int = 0
    calls: int = 0
    tokens: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the start."""
        return time.monotonic() - self.started

    def left(self, what: str) -> float:
        """How much of one cap is left (infinite without a cap)."""
        cap = getattr(self.budget, what)
        return float("inf") if cap is None else max(0.0, cap - getattr(self, what))

    def check(self, what: str, amount: int = 1) -> None:
        """Raise BudgetExhausted unless `amount` more of `what`, and more time, may be spent."""
        for name, need in ((what, amount), ("seconds", 0)):
            cap = getattr(self.budget, name)
            if cap is not None and getattr(self, name) + need > cap:
                raise BudgetExhausted(
                    f"The budget of {cap} {name} is spent: raise it to let the explainer go on."
                )

    def spend(self, what: str, amount: int = 1) -> None:
        """Check, then count."""
        self.check(what, amount)
        setattr(self, what, getattr(self, what) + amount)
