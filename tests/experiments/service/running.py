"""A real server in a thread, and what it serves: a tiny model with two SAEs."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn

from sagescope.experiments.guard import Guard
from sagescope.experiments.service.app import make_app
from sagescope.experiments.service.limits import Limits
from sagescope.experiments.service.run import listening
from sagescope.experiments.service.served import Opened, opened


@dataclass(frozen=True)
class Made:
    """What `serve` is told: folders of a model, two SAEs, and a corpus."""

    model: Path
    saes: tuple[Path, Path]
    corpus: Path

    def open(self) -> Opened:
        saes = [str(sae) for sae in self.saes]
        where = str(self.model), saes, str(self.corpus), 20_000
        return opened(*where, device="cpu", dtype="float32")


class Running:
    """A server in a thread, at `url`."""

    def __init__(self, load, guard: Guard | None = None, limits: Limits | None = None):
        self.app = make_app(load, guard or Guard(None, local=True), limits)
        self._socket = listening("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(self.app, log_level="warning", ws="none")
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run, args=([self._socket],))

    def __enter__(self) -> "Running":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self._thread.join()
        self._socket.close()

    def wait(self, headers: dict[str, str] | None = None) -> "Running":
        """Until it can serve."""
        until(lambda: self.ask("GET", "/v1/ready", headers=headers).status_code == 200)
        return self

    def ask(self, method: str, path: str, **how) -> httpx.Response:
        return httpx.request(method, self.url + path, timeout=30, trust_env=False, **how)


def until(holds, seconds: float = 60.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.01)
