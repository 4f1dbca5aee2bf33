"""The page on a journal of planted features: asked in this process, or served on loopback."""

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from sagescope.experiments import Journal, explain
from sagescope.experiments.guard import Guard
from sagescope.experiments.web.app import create_app, server_of
from sagescope.experiments.web.jobs import Jobs
from sagescope.experiments.web.site import Site

LOCAL = Guard(token=None, local=True)
#: `sagescope`, with the planted features in place of a model.
PROGRAM = """
import contextlib, sys
sys.path.insert(0, sys.argv.pop(1))
import planted
from sagescope.experiments import cli
cli.opening.open_source = lambda *spec: contextlib.nullcontext(planted.PlantedSource(0.05))
cli.main()
"""
COMMAND = [sys.executable, "-c", PROGRAM, str(Path(__file__).parents[1]), "explain"]

Made = Callable[..., Site]


@pytest.fixture(scope="session")
def explained(planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with two explainers on three features. Do not write to it."""
    path = tmp_path_factory.mktemp("explained") / "journal.db"
    for name, explainer in (("first", "sage"), ("second", "sage:one-hypothesis")):
        explain(
            planted.PlantedSource(), range(3), run=name, journal=path, explainer=explainer,
            random_weights=0,
        )  # fmt: skip
    return path


@pytest.fixture
def journal_path(explained: Path, tmp_path: Path) -> Path:
    """A journal of one's own with the same runs."""
    with Journal.open(explained) as there, Journal.open(tmp_path / "own.db") as own:
        there._connection.backup(own._connection)
    return tmp_path / "own.db"


@pytest.fixture
def make_site(planted) -> Iterator[Made]:
    """Makes sites that are closed in the end."""
    with contextlib.ExitStack() as stack:

        def made(path: Path | None, **how) -> Site:
            journal = stack.enter_context(Journal.open(path))
            return Site(journal, lambda: contextlib.nullcontext(planted.PlantedSource()), **how)

        yield made


@pytest.fixture
def site(make_site: Made, journal_path: Path) -> Site:
    jobs = Jobs([f"--journal={journal_path}"], COMMAND)
    return make_site(journal_path, jobs=jobs, who="Ada")


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    """Asks the page as a browser on this machine would."""
    with TestClient(create_app(site, LOCAL), base_url="http://127.0.0.1") as asked:
        yield asked


@contextlib.contextmanager
def served(site: Site, guard: Guard = LOCAL) -> Iterator[str]:
    """The address of a real server of a site."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = server_of(site, guard)
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
