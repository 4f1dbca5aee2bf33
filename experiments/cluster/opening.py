"""Ray: found where it runs, or started here for as long as it is needed."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...sae.errors import ClusterError, first_line
from ...sae.source import FeatureSource

if TYPE_CHECKING:
    from ..explained import RunExplainer
    from ..jobs import Job
    from ..journal import Run
    from ..scored import RunScorer
    from .crew import Crew

MISSING = "Ray is not installed: pip install 'sagescope[ray]', on every machine of the cluster."

#: What a Ray that is started here may keep in shared memory, in bytes. Tasks and shards are small.
STORE = 512 << 20


@dataclass(frozen=True)
class Cluster:
    """Where workers are hired, and what each gets.

    make: opens the features' source; it is called in each worker, so it must be picklable and give
    the same source everywhere. address: of a running Ray ("auto", HOST:PORT, ray://HOST:PORT); None
    starts one on this machine. workers: how many; None for as many as there are GPUs, or else cores.
    cpus, gpus: of each; gpus None is one where there are any.
    """

    make: Callable[[], FeatureSource]
    address: str | None = None
    workers: int | None = None
    cpus: float = 1
    gpus: float | None = None

    @contextlib.contextmanager
    def opened(self) -> Iterator[Hall]:
        """Ray, connected. Raises ClusterError where it is not installed, or does not answer."""
        if importlib.util.find_spec("ray") is None:
            raise ClusterError(MISSING)
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            yield self._hall()  # it is the caller's, to end, too
            return
        with contextlib.ExitStack() as stack:
            try:
                if self.address is None:
                    self._start(stack.enter_context(_short_folder()))
                else:
                    import ray

                    ray.init(self.address, log_to_driver=False, logging_level=logging.ERROR)
            except Exception as error:
                where = f"at {self.address}" if self.address else "on this machine"
                raise ClusterError(
                    f"Ray {where} does not start or answer ({first_line(error)}): check `ray status`."
                ) from error
            stack.callback(sys.modules["ray"].shutdown)
            yield self._hall()

    def _start(self, folder: str) -> None:
        """Start a Ray of our own, which reports to nobody, and obeys nobody else."""
        keys = [name for name in os.environ if name.endswith("_API_KEY")]
        loopback: dict[str, Any] = {"_node_ip_address": "127.0.0.2"}
        # Its processes inherit it, and Ray reads some of it when it is imported. Its workers would give
        # way to everything else on the machine.
        how = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", **_token()}
        with _environment(how, without=keys):
            import ray

            ray.init(
                num_cpus=max(os.cpu_count() or 1, math.ceil((self.workers or 1) * self.cpus)),
                object_store_memory=STORE,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=folder,
                **(loopback if sys.platform == "linux" else {}),
            )

    def _hall(self) -> Hall:
        import ray

        there = ray.cluster_resources()
        gpus = self.gpus if self.gpus is not None else float(there.get("GPU", 0) > 0)
        if gpus:
            fitting = int(there.get("GPU", 0) / gpus)
        else:
            fitting = int(there.get("CPU", 1) / self.cpus) if self.cpus else 1
        workers = self.workers or fitting
        # A cluster at an address may still grow.
        if not workers or (self.address is None and workers > fitting):
            raise ClusterError(
                f"Ray has {there.get('CPU', 0):g} cores and {there.get('GPU', 0):g} GPUs, which is "
                f"not enough for {max(1, workers)} workers with {self.cpus:g} and {gpus:g} each: ask "
                f"for fewer or smaller ones."
            )
        return Hall(self.make, workers, {"num_cpus": self.cpus, "num_gpus": gpus})


@dataclass(frozen=True)
class Hall:
    """A connected Ray, where workers are hired. workers: how many. each: what each gets."""

    make: Callable[[], FeatureSource]
    workers: int
    each: dict[str, float]

    def hire(self, kind: type, *given: Any, **options: Any) -> Any:
        """An actor of this class."""
        import ray

        return ray.remote(kind).options(**self.each, **options).remote(*given)

    def fire(self, worker: Any) -> None:
        """End an actor, if it still lives."""
        import ray

        with contextlib.suppress(Exception):
            ray.kill(worker)

    @contextlib.contextmanager
    def reading(self, source: FeatureSource) -> Iterator[None]:
        """Inside the block, evidence that the source has yet to collect is read by workers."""
        from ...sae.model_source import ModelSource
        from .collecting import RESTARTS, RayReaders, Reader

        if not isinstance(source, ModelSource):
            yield
            return

        def hire() -> Any:
            return self.hire(Reader, self.make, max_restarts=RESTARTS, max_task_retries=RESTARTS)

        readers = RayReaders(self.workers, hire, self.fire)
        source.collect_with(readers)
        try:
            yield
        finally:
            source.collect_with(None)
            readers.close()

    @contextlib.asynccontextmanager
    async def crew(
        self, job: Job, run: Run, explainer: RunExplainer, scorer: RunScorer
    ) -> AsyncIterator[Crew]:
        """Workers for a job, until the block ends."""
        import ray

        from .crew import Crew, at_work, cards_of
        from .messages import Brief
        from .worker import Worker

        brief = ray.put(Brief(job, self.make, run.name, run.config, cards_of(job)))
        workers = max(1, min(self.workers, len(job.features)))
        crew = Crew(workers, job, run, explainer, scorer)

        def hire() -> Any:
            return self.hire(Worker, brief, max_concurrency=1000)

        async with at_work(crew, hire, self.fire) as working:
            yield working


def _token() -> dict[str, str]:
    """A secret that Ray's processes know each other by: its ports may be open to other machines.

    The same as long as the process lives, since Ray keeps it. Where Ray was imported before we could
    set one, it is as whoever imported it wants.
    """
    global _secret
    if _secret is None and "ray" in sys.modules:
        return {}
    _secret = _secret or secrets.token_hex(32)
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _secret}


_secret: str | None = None


def _short_folder() -> contextlib.AbstractContextManager[str]:
    """A folder for as long as it is needed. Sockets lie in it, whose paths must be short."""
    return tempfile.TemporaryDirectory(
        prefix="sagescope-ray-", dir="/tmp", ignore_cleanup_errors=True
    )


@contextlib.contextmanager
def _environment(changed: dict[str, str], without: list[str]) -> Iterator[None]:
    """Other environment variables: what is started inside the block inherits them."""
    before = {name: os.environ.get(name) for name in [*changed, *without]}
    for name in without:
        del os.environ[name]
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
