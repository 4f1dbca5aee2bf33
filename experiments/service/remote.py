"""A feature source whose model runs elsewhere: what `--host http://…` opens.

    with RemoteSource.open("http://127.0.0.1:8123") as source:
        results = explain(source, [7, 12])

It gives the numbers that the same source gives in process, and raises the same errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from ...sae.errors import ServiceError, TextError, UnknownName
from ...sae.outputs import Promoted, Steering
from ...sae.source import FeatureId, check_feature
from ...sae.tokens import TokenActivations
from . import wire
from .connection import PATIENCE, Connection
from .limits import MOST_CHARACTERS, MOST_TEXTS
from .remote_evidence import RemoteEvidence

Answer = TypeVar("Answer", bound=BaseModel)

_STEERING, _PROMOTED = TypeAdapter(Steering), TypeAdapter(Promoted)
#: Requests of one question that are under way at a time.
AT_ONCE = 4
#: Bytes of text in one request: some 16 thousand tokens, which even a slow service answers in time.
PART_BYTES = 1 << 16


class RemoteSource:
    """The features of an SAE that a service serves (see `FeatureSource`). Close it."""

    def __init__(self, connection: Connection, about: wire.About):
        self._connection = connection
        self.ask, self.ask_async = connection.ask, connection.ask_async
        self.subject, self.sae, self.n_features = about.subject, about.sae, about.n_features
        self.key: dict[str, Any] | None = about.key
        self.room = about.room
        self.outputs = RemoteOutputs(self)
        self.losses = RemoteLosses(self)
        self._evidence: RemoteEvidence | None = None

    @classmethod
    def open(cls, url: str, sae: str | None = None, patience: float = PATIENCE) -> RemoteSource:
        """Connect to the service at a URL. sae: by name, the first by default.

        patience: how long, in seconds, to wait until there is room in its queue, or its model is
        loaded. Raises ServiceError where nobody serves there, UnknownName for another SAE's name.
        """
        connection = Connection(url, patience)
        try:
            found = parsed(wire.Sources, connection.ask("GET", "/v1/sources").content)
            named = {about.sae: about for about in found.sources}
            if sae is not None and sae not in named:
                raise UnknownName(f"SAE of {connection.url}", sae, named)
            return cls(connection, found.sources[0] if sae is None else named[sae])
        except BaseException:
            connection.close()
            raise

    def __enter__(self) -> RemoteSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the service."""
        self._connection.close()

    @property
    def evidence(self) -> RemoteEvidence:
        """What the features did on the corpus, by split. Read from the service as it is needed."""
        if self._evidence is None:
            self.cover([])
        assert self._evidence is not None
        return self._evidence

    def cover(self, features: Sequence[int]) -> None:
        """See FeatureSource: the service gathers them, if it has not."""
        for feature in features:
            check_feature(feature, self.n_features)
        if self._evidence is not None and set(features) <= set(self._evidence.features):
            return
        whole = len(set(features)) == self.n_features
        asked = {"features": None if whole else list(map(int, features)), "sae": self.sae}
        while not parsed(wire.Covered, self.ask("POST", "/v1/cover", asked).content).done:
            pass  # each time, the service waits a while before it says so
        self._evidence = RemoteEvidence(self)

    def tokenize(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """The token strings of each text."""
        found: list[tuple[str, ...]] = []
        for some in in_parts(texts):
            asked = {"texts": some, "sae": self.sae}
            answer = parsed(wire.Tokenized, self.ask("POST", "/v1/tokens", asked).content)
            found.extend(map(tuple, answer.tokens))
        return found

    async def activations(self, feature: int, texts: Sequence[str]) -> list[TokenActivations]:
        """The feature's activation on each token of each text. Errors: see FeatureSource."""
        check_feature(feature, self.n_features)
        gate = asyncio.Semaphore(AT_ONCE)

        async def read(some: list[str]) -> list[TokenActivations]:
            asked = {"texts": some, "features": [int(feature)], "sae": self.sae}
            async with gate:
                answer = await self.ask_async("POST", "/v1/activations", asked)
            return [_reading(one) for one in parsed(wire.Readings, answer.content).texts]

        parts = await asyncio.gather(*(read(some) for some in in_parts(texts)))
        return [one for part in parts for one in part]

    def id(self, feature: int) -> FeatureId:
        """The name of one of its features."""
        return FeatureId(self.subject, self.sae, feature)


class RemoteOutputs:
    """What features do to the model's next token (see `Outputs`)."""

    def __init__(self, source: RemoteSource):
        self._source = source

    async def promoted(self, feature: int, n: int = 10) -> Promoted:
        """See Outputs."""
        check_feature(feature, self._source.n_features)
        path = f"/v1/features/{int(feature)}/promoted"
        answer = await self._source.ask_async("GET", path, n=n, sae=self._source.sae)
        return _PROMOTED.validate_json(answer.content)

    async def steered(
        self,
        feature: int,
        prompts: Sequence[str],
        strength: float = 1.0,
        n: int = 10,
        seed: int = 0,
        watched: Sequence[int] = (),
    ) -> Steering:
        """See Outputs."""
        check_feature(feature, self._source.n_features)
        await asyncio.to_thread(lambda: self._source.evidence)  # the service needs its own, too
        asked = {
            "feature": int(feature),
            "prompts": plain(prompts),
            "strength": strength,
            "n": n,
            "seed": seed,
            "watched": list(map(int, watched)),
            "sae": self._source.sae,
        }
        answer = await self._source.ask_async("POST", "/v1/steer", asked)
        return _STEERING.validate_json(answer.content)


class RemoteLosses:
    """How well the subject model foretells texts (see `outputs.Losses`)."""

    def __init__(self, source: RemoteSource):
        self._source = source

    async def losses(self, prefix: str, texts: Sequence[str]) -> np.ndarray:
        """See Losses."""
        found: list[float] = []
        for some in in_parts(texts):
            asked = {"prefix": plain([prefix])[0], "texts": some, "sae": self._source.sae}
            answer = await self._source.ask_async("POST", "/v1/losses", asked)
            found.extend(parsed(wire.Losses, answer.content).losses)
        return np.array(found, np.float64)


def parsed(kind: type[Answer], content: bytes) -> Answer:
    """An answer of the service. Raises ServiceError for what is none."""
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise ServiceError(
            f"The service's answer cannot be read as {kind.__name__}: run the same version of "
            f"Sagescope on both sides, or check the address."
        ) from error


def plain(texts: Sequence[str]) -> list[str]:
    """Texts as models read them anyway: lone surrogates, which UTF-8 has not, as "?"."""
    return [text.encode("utf-8", "replace").decode() for text in texts]


def in_parts(texts: Sequence[str]) -> list[list[str]]:
    """Texts as lists that a request may hold. Raises TextError for one that is too long for any."""
    parts: list[list[str]] = []
    left = 0
    for text in plain(texts):
        if len(text) > MOST_CHARACTERS:
            raise TextError(
                f"A text of {len(text):,} characters does not fit a request, which takes "
                f"{MOST_CHARACTERS:,}: shorten it ({text[:60]!r}…)."
            )
        size = len(text.encode())
        if not parts or size > left or len(parts[-1]) == MOST_TEXTS:
            parts.append([])
            left = PART_BYTES
        parts[-1].append(text)
        left -= size
    return parts


def _reading(one: wire.Reading) -> TokenActivations:
    return TokenActivations(tuple(one.tokens), np.array(one.activations[0], np.float32))
