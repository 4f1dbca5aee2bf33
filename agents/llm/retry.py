"""Patience: how long a reply is waited for, and how a call is tried again."""

from __future__ import annotations

import email.utils
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...sae.errors import ProviderBusy, ProviderDown

if TYPE_CHECKING:
    import tenacity

    from ..budget import Spending


@dataclass(frozen=True)
class Patience:
    """How long a reply is waited for, in seconds.

    call: for one attempt. attempts: how many a call gets; attempts_paid: how many where the last
    one may have been paid for. total: until when the last may begin. first, longest: the wait
    between two, which doubles, with some jitter (so that a provider may be gone for two minutes);
    where the provider says when to come back, that counts instead.
    """

    call: float = 180.0
    attempts: int = 8
    attempts_paid: int = 2
    total: float = 600.0
    first: float = 1.0
    longest: float = 60.0

    def attempts_of(self, spending: Spending | None) -> tenacity.AsyncRetrying:
        """The attempts at one call: `async for attempt in …: with attempt: …`.

        Raises the last attempt's error; BudgetExhausted where less time is left than is to wait.
        """
        import tenacity

        doubling = tenacity.wait_exponential(self.first, self.longest) + tenacity.wait_random(
            0, self.first
        )

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = getattr(error, "retry_after", None)
            return doubling(state) if asked is None else asked

        late = tenacity.stop_before_delay(self.total)

        def is_last(state: tenacity.RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            most = self.attempts_paid if getattr(error, "maybe_paid", False) else self.attempts
            return state.attempt_number >= most or late(state)

        def before_sleep(state: tenacity.RetryCallState) -> None:
            if spending:
                spending.check("seconds", state.upcoming_sleep)

        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type((ProviderBusy, ProviderDown)),
            wait=wait,
            stop=is_last,
            before_sleep=before_sleep,
            reraise=True,
        )


def seconds_until(retry_after: str | None) -> float | None:
    """What a `Retry-After` header asks for, in seconds (0 or more): a number or an HTTP date."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if seconds == seconds else None
