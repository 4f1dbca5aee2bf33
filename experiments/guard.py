"""Who may speak with a server of ours.

On loopback, everybody on this machine may, but no web page from elsewhere: a page can make a
browser call 127.0.0.1 under a name of the page's own (DNS rebinding), so the Host header must name
this machine. Beyond loopback a token is mandatory, which stands in SAGESCOPE_TOKEN or in a file:

    guard = Guard.of("0.0.0.0", token_file=Path("token"))
    app.add_middleware(Guarded, guard=guard)

There are no CORS headers, so no page of another origin can read an answer; what would change state
is refused to it as well.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..sae.errors import ServiceError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

#: Where the token stands that servers ask for and clients send.
TOKEN = "SAGESCOPE_TOKEN"
#: A shorter token could be found by trying.
SHORTEST = 16
#: Methods that change nothing.
SAFE = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True)
class Refused:
    """A request that is not served: the HTTP status, a sentence, and headers of the answer."""

    status: int
    sentence: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Guard:
    """What a request must bring to be served.

    token: what it must know, None for nothing. local: whether it must be addressed to this machine
    by a name of loopback. password: whether the token may also come as the password (of any user)
    of HTTP's basic authentication, which browsers ask a person for.
    """

    token: str | None
    local: bool
    password: bool = False

    @classmethod
    def of(cls, bind: str, token_file: Path | None = None, *, password: bool = False) -> Guard:
        """The guard of a server that listens at an address; the token as `read_token` finds it.

        Raises ServiceError where the address is beyond loopback and there is no token.
        """
        token, local = read_token(token_file), is_loopback(bind)
        if token is None and not local:
            raise ServiceError(
                f"{bind} can be reached from other machines: set {TOKEN} or give --token-file, "
                f"with a token of {SHORTEST} characters or more, or bind to 127.0.0.1."
            )
        return cls(token, local, password)

    def refusal(self, method: str, headers: Mapping[str, str]) -> Refused | None:
        """Why a request is not served; None where it is. headers: by lower-case name."""
        host = headers.get("host", "")
        if self.local and not is_loopback(_name(host)):
            return Refused(
                421, f"This server is for its own machine: call it 127.0.0.1, not {host[:80]!r}."
            )
        if method not in SAFE and _is_foreign(headers, host):
            return Refused(403, "Pages of another origin may change nothing here.")
        if self.token is not None and not self._knows(headers.get("authorization", "")):
            scheme = 'Basic realm="sagescope", charset="UTF-8"' if self.password else "Bearer"
            how = "Authorization: Bearer TOKEN"
            return Refused(
                401,
                f"The token is missing or wrong: send the header {how!r}.",
                (("www-authenticate", scheme),),
            )
        return None

    def _knows(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        given = given.strip()
        if self.password and scheme.lower() == "basic":
            given = _password(given)
        elif scheme.lower() != "bearer":
            given = ""
        # In the same time whatever was sent, so that nothing is learned from how long it takes.
        return hmac.compare_digest(given.encode("utf-8", "replace"), (self.token or "").encode())


class Guarded:
    """ASGI middleware: requests that the guard refuses never reach the application."""

    def __init__(self, app: ASGIApp, guard: Guard):
        self.app, self.guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or refuse with JSON: {"error": sentence}."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        # A websocket handshake opens a door in both directions, whatever its method is.
        refused = self.guard.refusal(scope.get("method", "CONNECT"), headers)
        if refused is None:
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        return await _answer(send, refused)


async def _answer(send: Send, refused: Refused) -> None:
    body = json.dumps({"error": refused.sentence}).encode()
    headers = [
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        *refused.headers,
    ]
    start: dict[str, Any] = {
        "type": "http.response.start",
        "status": refused.status,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})


def read_token(file: Path | None = None) -> str | None:
    """The token in a file, or else in SAGESCOPE_TOKEN; None where there is none.

    Raises ServiceError for a file that cannot be read, and for a token that is none.
    """
    token, place = os.environ.get(TOKEN, ""), TOKEN
    if file is not None:
        try:
            token, place = file.read_text("utf-8").strip(), str(file)
        except (OSError, ValueError) as error:
            raise ServiceError(
                f"The token file {file} cannot be read ({error}): write the token into it."
            ) from error
    if not token and file is None:
        return None
    if len(token) < SHORTEST or not re.fullmatch(r"[!-~]+", token):
        raise ServiceError(
            f"The token in {place} is none: it needs {SHORTEST} characters or more, printable ASCII "
            f"without spaces, as `openssl rand -hex 32` makes them."
        )
    return token


def is_loopback(host: str) -> bool:
    """Whether an address or name stands for this machine alone. Names are not looked up."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _name(host: str) -> str:
    """A Host header without its port."""
    return re.sub(r":\d*$", "", host) if not host.endswith("]") else host


def _is_foreign(headers: Mapping[str, str], host: str) -> bool:
    """Whether a browser says that a page of another origin sends this."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and origin.lower().partition("://")[2] != host.lower()


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
