"""Faults, each in a real process: what its user sees, and that what was finished is still there."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# children.py: run by tests, and by the processes that they start.
sys.path.insert(0, str(Path(__file__).parent))
# planted.py, minded.py: features whose meaning is known, and a scripted mind for them.
sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))
# tiny.py: models and SAEs that are real, and small.
sys.path.insert(0, str(Path(__file__).parents[1] / "sae"))

from children import EXPLAIN, Child, Ended, finished

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
#: Set where the page is about to be written, and so need not hold what is told yet.
WRITING = "SAGESCOPE_FAULTS_ARE_WRITTEN"
Tell = Callable[..., None]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Start a command; none outlives its test."""
    started: list[Child] = []

    def start(*words: str, folder: Path = tmp_path, **how) -> Child:
        started.append(Child(folder, words or EXPLAIN, **how))
        return started[-1]

    yield start
    for child in started:
        child.process.kill()
        child.process.join()


@pytest.fixture
def run(start) -> Callable[..., Ended]:
    """Run a command to its end."""
    return lambda *words, **how: start(*words, **how).end()


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory) -> list[dict]:
    """What a run finds that nothing happens to."""
    return Child(tmp_path_factory.mktemp("unbroken"), EXPLAIN).end().rows()


@pytest.fixture
def tell(request, tmp_path: Path) -> Tell:
    """Put a row into the table of docs/faults.md: (fault, what the user sees, lost, what then)."""

    def tell(fault: str, sees: str, lost: str, then: str) -> None:
        sees = re.sub(r"(?<!\w)/\S*/(?=[\w.-])", "", sees.replace(f"{tmp_path}/", ""))
        sees = re.sub(r"\b[0-9a-f]{24}\b", "…", sees)
        row = f"| {fault} | {sees} | {lost} | {then} |"
        request.node.user_properties.append(("fault", row))
        written = [line for line in PAGE.read_text("utf-8").splitlines() if f"| {fault} |" in line]
        if WRITING not in os.environ and written:
            assert written == [row], "docs/faults.md says otherwise: `make faults` writes it"

    return tell


@pytest.fixture
def kept() -> Callable[[dict, Path], str]:
    """Compare what was finished before a fault with what the journal holds now."""

    def kept(before: dict, journal: Path) -> str:
        now = finished(journal)
        gone = [
            key for key, payloads in before.items() if now.get(key, [])[: len(payloads)] != payloads
        ]
        assert not gone, f"lost: {gone}"
        return "nothing"

    return kept


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte or so, at a path of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(place)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"a small disk needs mount, which is refused here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)
