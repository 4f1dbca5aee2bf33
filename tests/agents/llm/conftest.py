"""A scripted provider on loopback, and clients of it over each of the three wires."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sagescope.agents.llm.client import Client, open_client
from sagescope.agents.llm.retry import Patience
from sagescope.experiments.loopback import LoopbackProvider, Script

# calling.py is also run by itself, in a process that tests kill.
sys.path.insert(0, str(Path(__file__).parent))

KEY = "sk-planted-0123456789"
HASTE = Patience(call=2.0, attempts=3, total=20, first=0.001, longest=0.002)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path) -> str:
    """The one planted key, for all providers; no .env but what a test writes."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "SAGESCOPE_API_KEY"):
        monkeypatch.setenv(name, KEY)
    return KEY


@pytest.fixture(scope="session")
def provider() -> Iterator[LoopbackProvider]:
    """The one server of all tests."""
    with LoopbackProvider(lambda call: "") as server:
        yield server


@pytest.fixture
def serve(
    provider: LoopbackProvider, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Script], LoopbackProvider]:
    """A provider with a script, which both official packages are sent to."""
    monkeypatch.setenv("OPENAI_BASE_URL", f"{provider.url}/v1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.url)

    def start(script: Script) -> LoopbackProvider:
        provider.reset(script)
        return provider

    return start


@pytest.fixture(params=["openai", "anthropic", "http"])
def connect(request: pytest.FixtureRequest) -> Callable[..., Client]:
    """Open a client of a server over one of the wires."""
    specs = {
        "openai": "openai:gpt-4o-mini",
        "anthropic": "anthropic:claude-haiku-4-5",
        "http": "{url}/v1#scripted",
    }

    def open_it(server: LoopbackProvider, patience: Patience = HASTE) -> Client:
        return open_client(specs[request.param].format(url=server.url), patience)

    return open_it
