"""What is served: sources that share a host, loaded while the server already says how it is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ...sae.corpus import load_corpus
from ...sae.encoder import LatentReader
from ...sae.errors import EvidenceError, ServiceError, UnknownName
from ...sae.evidence import EvidenceReader, Role
from ...sae.host import ActivationHost
from ...sae.joined import JoinedReader
from ...sae.loading import load_sae
from ...sae.model_source import ModelSource
from ...sae.on_demand import EvidenceOnDemand
from ...sae.subject import SubjectModel

T = TypeVar("T")

#: How long a request waits for evidence to be gathered before it is told to ask again, in seconds.
PATIENCE = 2.0


class NotReady(ServiceError):
    """The service is still loading."""


@dataclass(frozen=True)
class Opened:
    """SAEs on one subject model, in the order in which they were named, and the host they share."""

    host: ActivationHost
    sources: tuple[ModelSource, ...]


def opened(
    subject: str, saes: Sequence[str], corpus: str, tokens: int, *, device: str, dtype: str
) -> Opened:
    """Load a subject model and SAEs. Arguments and errors: see ModelSource.load, JoinedReader."""
    model = SubjectModel.load(subject, device=device, dtype=dtype)
    readers = [LatentReader(model, load_sae(sae)) for sae in saes]
    text = load_corpus(corpus)
    joined = JoinedReader(readers)
    host = ActivationHost(joined)
    return Opened(
        host,
        tuple(
            ModelSource(
                part.reader, EvidenceOnDemand(part.reader, text, tokens, progress=False), part
            )
            for part in joined.parts(host)
        ),
    )


class Served:
    """The sources of a service. load: opens them, called in a thread when `start`ed.

    `failure` is what kept them from being loaded.
    """

    def __init__(self, load: Callable[[], Opened]):
        self._load = load
        self._opened: Opened | None = None
        self.failure: Exception | None = None
        self._covering: dict[str, asyncio.Future[None]] = {}
        self._has_evidence: set[str] = set()

    async def start(self) -> Opened | None:
        """Load; None where that failed."""
        try:
            self._opened = await in_thread(self._load)
        except Exception as error:
            self.failure = error
        return self._opened

    def close(self) -> None:
        """Stop the host."""
        if self._opened is not None:
            self._opened.host.close()

    @property
    def sources(self) -> tuple[ModelSource, ...]:
        """All of them. Raises NotReady."""
        if self._opened is None:
            raise NotReady("The model is still being loaded: ask /v1/ready, and come back then.")
        return self._opened.sources

    def source(self, sae: str | None) -> ModelSource:
        """The source of an SAE, the first without a name. Raises NotReady, UnknownName."""
        named = {source.sae: source for source in self.sources}
        if sae is None:
            return self.sources[0]
        if sae not in named:
            raise UnknownName("SAE", sae, named)
        return named[sae]

    # ---------------------------------------------------------------- evidence

    async def cover(self, source: ModelSource, features: Sequence[int]) -> bool:
        """Whether the source's evidence has the features; if not, it is being gathered.

        Raises FeatureError, and whatever kept it from being gathered.
        """
        for feature in features:
            source.reader.check(feature)
        work = self._covering.get(source.sae)
        if work is None:
            work = self._covering[source.sae] = asyncio.ensure_future(
                in_thread(lambda: source.cover(features))
            )
            asked = True
        else:
            asked = False  # for other features: once that is done, the next request says so
        await asyncio.wait([work], timeout=PATIENCE)
        if not work.done():
            return False
        self._covering.pop(source.sae, None)
        work.result()
        self._has_evidence.add(source.sae)
        return asked

    def evidence(self, source: ModelSource, role: Role) -> EvidenceReader:
        """The evidence of a source as a role may see it. Raises EvidenceError where there is none."""
        if source.sae not in self._has_evidence:
            raise EvidenceError(
                f"The evidence of {source.sae} is not gathered yet: POST /v1/cover, until it is done."
            )
        return source.evidence.reader(role)


def in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Do work that may take minutes in a thread that keeps no program from ending."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[T] = loop.create_future()

    def tell(how: Callable[..., None], what: object) -> None:
        if not found.done():
            how(what)

    def do() -> None:
        try:
            result = work()
        except BaseException as error:
            how, what = found.set_exception, error
        else:
            how, what = found.set_result, result
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, how, what)

    threading.Thread(target=do, daemon=True, name="sagescope-work").start()
    return found
