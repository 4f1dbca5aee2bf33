"""Budgets: hard caps on what explanations may spend, and the count of what they have spent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from ..sae.errors import BudgetExhausted, PriceError

NO_PRICE = (
    "A cap on money needs the model's price, which is not known: add it to a price file and name "
    "that in $SAGESCOPE_PRICES, or cap tokens instead."
)


@dataclass(frozen=True)
class Budget:
    """Caps for one feature, or for a whole run; None is no cap.

    probes: texts run, those of the corpus that an explainer runs again among them; one text is one
    probe, however many passes are made to measure it. rounds: turns of the loop. calls, tokens: of a
    language model. seconds: wall clock (the one cap that makes a run depend on the machine; none by default). cost: US dollars.
    """

    probes: int | None = 160
    rounds: int | None = 4
    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    cost: float | None = None

    def __post_init__(self) -> None:
        for cap in fields(self):
            value = getattr(self, cap.name)
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"The cap on {cap.name} must be a number from 0 on, not {value}.")

    @classmethod
    def for_mind(cls, is_language_model: bool) -> Budget:
        """The caps where nobody has chosen any: a language model has eight calls."""
        return cls(rounds=3, calls=8, tokens=40_000) if is_language_model else cls()

    @classmethod
    def of_run(
        cls,
        calls: int | None = None,
        tokens: int | None = None,
        seconds: float | None = None,
        cost: float | None = None,
    ) -> Budget:
        """Caps for a whole run: no default for any of them."""
        return cls(None, None, calls, tokens, seconds, cost)


@dataclass(frozen=True)
class Charge:
    """What one call of a language model takes. cost: US dollars; None where no price is known."""

    tokens: int
    cost: float | None = 0.0
    calls: int = 1


@dataclass
class Spending:
    """What one feature has spent of its budget, or a whole run of its own.

    run: the spending of the run that the feature belongs to: what is spent here is spent there too,
    and its caps hold as well. cost: US dollars, of the calls whose price is known; unpriced: how
    many calls have none. replayed: how many calls were answered from a log: they count here, so
    that a feature that is gone on with ends as it would have, and not in the run, which pays
    nothing for them. cut_by_run: whether the run's caps refused it something, not its own.
    """

    budget: Budget
    probes: int = 0
    rounds: int = 0
    calls: int = 0
    tokens: int = 0
    started: float = field(default_factory=time.monotonic)
    cost: float = 0.0
    unpriced: int = 0
    replayed: int = 0
    run: Spending | None = None
    cut_by_run: bool = False
    _held: list[Charge] = field(default_factory=list, repr=False)
    _waiting: list[asyncio.Future[None]] = field(default_factory=list, repr=False)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the start."""
        return time.monotonic() - self.started

    def spent(self) -> dict[str, float]:
        """What was spent so far, by name."""
        names = ("calls", "tokens", "probes", "seconds", "cost", "unpriced")
        return {name: getattr(self, name) for name in names}

    def left(self, what: str) -> float:
        """How much may still be spent (infinite without a cap); what is set aside counts as left."""
        caps = ((getattr(one.budget, what), getattr(one, what)) for one in self._chain())
        return min(float("inf") if cap is None else max(0.0, cap - gone) for cap, gone in caps)

    def has_time(self) -> bool:
        """Whether the cap on seconds, if there is one, has not been reached."""
        return self.left("seconds") > 0

    def check(self, what: str, amount: float = 1) -> None:
        """Raise BudgetExhausted unless `amount` more of `what`, and more time, may be spent."""
        for one in self._chain():
            self._ask(one, what, amount)

    def spend(self, what: str, amount: int = 1) -> None:
        """Check, then count."""
        self.check(what, amount)
        self.add(what, amount)

    def add(self, what: str, amount: int) -> None:
        """Count what was spent already, whether a cap had room for it or not."""
        for one in self._chain():
            one._count(what, amount)

    async def reserve(
        self, charge: Charge, *, leaving: Charge | None = None, replayed: bool = False
    ) -> Reservation:
        """Set aside what a call is expected to take, until what it took is known.

        Where only what is set aside for other calls stands in the way, it waits until they are
        settled. leaving: what this feature's own caps must have room for beside the call. replayed:
        the call is answered from a log, for nothing. Raises BudgetExhausted where a cap has no room
        for it, PriceError where money is capped and the call has no price.
        """
        counted: list[Spending] = [self] if replayed else list(self._chain())
        while not self._has_room(counted, charge, leaving):
            await _until_settled(counted)
        for one in counted:
            one._held.append(charge)
            one.replayed += replayed
        return Reservation(charge, counted)

    def count(self, charge: Charge) -> None:
        """Count what a call took, here alone and without asking."""
        self._count("calls", charge.calls)
        self._count("tokens", charge.tokens)
        self._count("cost", charge.cost or 0.0)
        self._count("unpriced", charge.cost is None)

    # ---------------------------------------------------------------- inside

    def _chain(self) -> Iterator[Spending]:
        yield self
        if self.run:
            yield from self.run._chain()

    def _has_room(self, counted: list[Spending], charge: Charge, leaving: Charge | None) -> bool:
        """Whether nothing but other calls' reservations is in the way of a call, and they neither."""
        free = True
        for one in counted:
            needs_price = one.budget.cost is not None
            if needs_price and charge.cost is None:
                raise PriceError(NO_PRICE)
            beside = leaving if one is self else None
            for what in ("calls", "tokens", "cost"):
                need = _amount(charge, what) + (_amount(beside, what) if beside else 0)
                self._ask(one, what, need)
                held = sum(_amount(other, what) for other in one._held)
                free = free and one._fits(what, held + need)
        return free

    def _ask(self, one: Spending, what: str, amount: float) -> None:
        try:
            one._check(what, amount)
        except BudgetExhausted:
            self.cut_by_run = self.cut_by_run or one is not self
            raise

    def _check(self, what: str, amount: float) -> None:
        for name, need in ((what, amount), ("seconds", 0)):
            if not self._fits(name, need):
                cap = getattr(self.budget, name)
                shown = f"${cap:g}" if name == "cost" else f"{cap} {name}"
                raise BudgetExhausted(
                    f"The budget of {shown} has no room left: raise it to let the explainer go on."
                )

    def _fits(self, what: str, amount: float) -> bool:
        cap = getattr(self.budget, what)
        return cap is None or getattr(self, what) + amount <= cap

    def _let_go(self, charge: Charge) -> None:
        """Set a charge aside no longer, and let those who wait look again."""
        self._held.remove(charge)
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    def _count(self, what: str, amount: float) -> None:
        setattr(self, what, getattr(self, what) + amount)


@dataclass
class Reservation:
    """What one call has been set aside in some spendings. Settle or release it, once."""

    charge: Charge
    counted: list[Spending]

    def settle(self, charge: Charge) -> None:
        """Count what the call took in place of what was set aside for it."""
        for one in self.counted:
            one.count(charge)
        self.release()

    def release(self) -> None:
        """Count nothing."""
        for one in self.counted:
            one._let_go(self.charge)


async def _until_settled(spendings: list[Spending]) -> None:
    """Wait until something that was set aside in one of them is settled or released."""
    settled = asyncio.get_running_loop().create_future()
    for one in spendings:
        one._waiting.append(settled)
    try:
        await settled
    finally:
        for one in spendings:
            one._waiting.remove(settled)


def _amount(charge: Charge, what: str) -> float:
    return getattr(charge, what) or 0
