"""What the service says of itself to Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from .queue import Queue

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ...sae.host import ActivationHost

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


# When a series was begun says nothing, and doubles their number.
disable_created_metrics()


class Metrics:
    """The figures of one service; `registry` is what Prometheus reads.

    Counters of the host and the state of the queue are read when Prometheus asks.
    """

    def __init__(self, queue: Queue):
        self.registry = CollectorRegistry()
        self._queue = queue
        self._host: ActivationHost | None = None
        self.requests = Counter(
            "sagescope_requests", "Requests.", ["endpoint", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "sagescope_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ["endpoint"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._fill = Histogram(
            "sagescope_batch_fill",
            "How much of the tokens that a forward pass may have were there.",
            buckets=SHARES,
            registry=self.registry,
        )
        self.registry.register(self)  # pyright: ignore[reportArgumentType]
        ProcessCollector(registry=self.registry)

    def watch(self, host: ActivationHost) -> None:
        """Tell of a host from now on."""
        self._host = host
        host.on_pass = self._fill.observe

    def collect(self) -> Iterator[Metric]:
        """What is read at this moment; called by the registry."""
        queue = self._queue
        yield _gauge("queue_requests", "Requests admitted and not answered.", queue.requests)
        yield _gauge("queue_tokens", "Tokens that wait for their turn.", queue.waiting_tokens)
        yield _gauge("running_tokens", "Tokens handed to the model.", queue.running_tokens)
        if (host := self._host) is None:
            return
        yield _counter("passes", "Forward passes.", host.passes)
        yield _counter("texts", "Texts run through the model.", host.texts_run)
        yield _counter("tokens", "Tokens run through the model.", host.tokens_run)
        yield _counter("cache_hits", "Texts whose activations were known.", host.recalled)
        yield _gauge("cache_bytes", "Memory of activations that are kept.", host.remembered_bytes)
        yield _gauge("pass_tokens", "Tokens that a pass may have.", host.tokens_per_pass)
        yield _gauge("device_bytes", "Memory of tensors on the device.", _on_device(host))


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"sagescope_{name}", about, value)


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(f"sagescope_{name}", about, value)


def _on_device(host: ActivationHost) -> int:
    """Bytes; of a CPU, those of the model's weights."""
    import torch

    subject = host.reader.subject
    if subject.device.type == "cuda":
        return torch.cuda.memory_allocated(subject.device)
    return sum(weights.nbytes for weights in subject.model.parameters())


class Measured:
    """ASGI middleware: counts requests and their time, by endpoint."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, and count."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, status = time.perf_counter(), 499  # nobody was left to answer

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, note)
        finally:
            # The route as it was declared: what clients make up must not become labels.
            route: Any = scope.get("route")
            endpoint = getattr(route, "path", "other")
            self.metrics.requests.labels(endpoint, str(status)).inc()
            self.metrics.seconds.labels(endpoint).observe(time.perf_counter() - began)
