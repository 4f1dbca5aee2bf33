"""How much a request may ask of the service, and how long it may take.

What a single request may hold stands in the OpenAPI schema, so these are constants; what the whole
service holds is set when it is started.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...sae.encoder import TOKENS_PER_PASS

#: Of one request.
MOST_TEXTS = 256
MOST_CHARACTERS = 32_768
MOST_FEATURES = 64
MOST_LISTED = 100
BODY_BYTES = 4 << 20
#: The highest feature number or token id that is looked at, and the highest seed.
MOST = 2**31 - 1


@dataclass(frozen=True)
class Limits:
    """What the service takes on.

    queue_requests, queue_tokens: how much may wait; more is answered with 429. running_tokens: how
    much of it the host has at once. It sees several passes ahead, so that it can fill them, and not
    many more, so that clients get their turns. body_seconds: for the body of a request to arrive.
    request_seconds: for its answer.
    """

    queue_requests: int = 1024
    queue_tokens: int = 1 << 18
    running_tokens: int = 4 * TOKENS_PER_PASS
    body_bytes: int = BODY_BYTES
    body_seconds: float = 30.0
    request_seconds: float = 300.0
