"""What went wrong with a call, from the exceptions of the providers' packages, in one sentence."""

from __future__ import annotations

from typing import Any

from ...sae.errors import KeyRefused, ProviderBusy, ProviderDown, ProviderError, RequestRefused
from .keys import without_keys
from .retry import seconds_until

#: Longest part of a provider's own words that is passed on, in characters.
QUOTED = 300
#: Statuses that say "later", not "never".
BUSY = (429, 503, 529)
#: Codes of a 429 that no waiting helps against.
OUT_OF_CREDIT = ("insufficient_quota", "billing_error", "credit balance")
#: How the transport's errors begin that come before anything was sent: nobody there, or no request.
UNREACHED = ("Connect", "Pool", "Proxy")
UNSENT = ("InvalidURL", "LocalProtocol", "Unicode", "UnsupportedProtocol")


def failure(error: Exception, address: str, seconds: float, key: str | None) -> ProviderError:
    """One of our errors for one of a package's (they name their exceptions alike).

    seconds: how long a reply was waited for. key: is blacked out where the provider repeats it.
    """
    response = getattr(error, "response", None)
    if response is not None:
        said = quoted(getattr(error, "body", None), key)
        after = seconds_until(response.headers.get("retry-after"))
        return _of_status(response.status_code, address, said, after)
    # Packages give transport errors as the cause of one of theirs, but not those of making a request.
    cause = type(error.__cause__ or error).__name__
    if cause.startswith(UNREACHED):
        return ProviderDown(f"{address} cannot be reached: check that it runs, and the base URL.")
    if cause.startswith(UNSENT):
        return RequestRefused(
            f"A request to {address} cannot be sent ({cause}): check the base URL and the key."
        )
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return ProviderDown(
            f"{address} did not end its reply within {seconds:g} seconds: ask a faster model, or "
            f"for less.",
            maybe_paid=True,
        )
    return ProviderDown(
        f"{address} broke off in the middle of its reply: try again.", maybe_paid=True
    )


def _of_status(status: int, address: str, said: str, after: float | None) -> ProviderError:
    words = f" ({said})" if said else ""
    if status in (401, 403):
        kind, what = KeyRefused, f"does not accept the key{words}: check it."
    elif status == 402 or (status == 429 and any(code in said for code in OUT_OF_CREDIT)):
        kind, what = KeyRefused, f"wants to be paid first{words}: see to the account's credit."
    elif status in BUSY:
        kind = ProviderBusy
        what = f"is busy (status {status}){words}: try again later, or with less at once."
    elif status >= 500 or status in (408, 409):
        kind, what = ProviderDown, f"failed (status {status}){words}: try again later."
    elif status == 404:
        kind, what = RequestRefused, f"has no such model or path{words}: check both."
    else:
        kind = RequestRefused
        what = f"refuses the request (status {status}){words}: change what it names."
    return kind(f"{address} {what}", status=status, retry_after=after)


def quoted(body: Any, key: str | None) -> str:
    """A provider's own words, made fit to be shown: short, printable and without keys."""
    while isinstance(body, dict):
        code = body.get("code")
        body = body.get("error") or body.get("message") or body.get("detail") or ""
        if isinstance(body, str) and code:
            body = f"{code}: {body}"
    text = " ".join(without_keys(str(body or ""), [key]).split())
    printable = "".join(letter if letter.isprintable() else "�" for letter in text)
    return printable if len(printable) <= QUOTED else printable[:QUOTED] + "…"
