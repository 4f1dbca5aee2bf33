"""A real server on loopback with a tiny model and two SAEs, and the same sources in process."""

import contextlib
import sys
from pathlib import Path

import pytest
import tiny
import torch

# running.py: its classes are imported by tests.
sys.path.insert(0, str(Path(__file__).parent))

from running import Made, Running

from sagescope.experiments.guard import TOKEN
from sagescope.experiments.service.remote import RemoteSource


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_token(monkeypatch):
    monkeypatch.delenv(TOKEN, raising=False)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("served")
    corpus = folder / "corpus.txt"
    corpus.write_text("\n\n".join(tiny.sentences(150)))
    late = tiny.save_sae(folder / "late", features=48)
    early = tiny.save_sae(folder / "early", hook="blocks.0.hook_resid_post", features=32, seed=2)
    return Made(tiny.save_model(folder / "tiny"), (late, early), corpus)


@pytest.fixture(scope="session")
def service(made) -> Running:
    with Running(made.open) as running:
        yield running.wait()


@pytest.fixture(scope="session")
def local(made):
    """The sources that the service serves, opened in process."""
    opened = made.open()
    with contextlib.closing(opened.host):
        yield opened.sources


@pytest.fixture(scope="session")
def remote(service):
    with RemoteSource.open(service.url) as source:
        yield source
