"""What is installed is what stands in the tree, and the folders import each other downwards only."""

import ast
import json
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))

# Which folder may import which: the table in the design, and nothing upwards.
MAY_IMPORT = {
    "sae": set(),
    "prompts": set(),
    "agents": {"sae", "prompts"},
    "experiments": {"sae", "prompts", "agents"},
}


def shipped_files() -> set[Path]:
    """Everything in the four folders, relative to the repository, but bytecode and hidden files."""
    return {
        path.relative_to(REPOSITORY)
        for folder in MAY_IMPORT
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name[0] != "."
    }


# --- The wheel -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tree, so that nothing is left behind in the tree."""
    copy = tmp_path_factory.mktemp("tree")
    for path in PYPROJECT["project"]["license-files"] + ["pyproject.toml"]:
        shutil.copy(REPOSITORY / path, copy)
    if readme := PYPROJECT["project"].get("readme"):
        shutil.copy(REPOSITORY / readme, copy)
    for path in shipped_files():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / path, copy / path)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", cwd=copy)
    (built,) = (copy / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of an environment with the wheel in it.

    It sees the packages installed here through a .pth file. Python does not run the .pth files of
    a folder that it finds that way, so an editable install of this repository stays out of it.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    bin_ = folder / "bin"
    run(sys.executable, "-m", "pip", "--python", bin_ / "python", "install", "--no-deps", wheel)
    (library,) = folder.glob("lib/python*/site-packages")
    third_party = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (library / "third-party.pth").write_text("\n".join(third_party) + "\n", encoding="utf-8")
    return bin_


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_wheel_has_every_file(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == {f"sagescope/{path.as_posix()}" for path in shipped_files()}


def test_wheel_has_the_licence(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("/licenses/LICENSE"))
        assert "Apache License" in archive.read(name).decode()


def test_installed_command_tells_its_version(installed: Path, tmp_path: Path):
    printed = run(installed / "sagescope", "--version", cwd=tmp_path)
    assert PYPROJECT["project"]["version"] in printed


def test_installed_packages_come_from_the_wheel(installed: Path, tmp_path: Path):
    packages = PYPROJECT["tool"]["setuptools"]["packages"]
    code = (
        "import importlib, json, sys;"
        "print(json.dumps([importlib.import_module(name).__file__ for name in sys.argv[1:]]))"
    )
    files = json.loads(run(installed / "python", "-c", code, *packages, cwd=tmp_path))
    for file in files:
        assert Path(file).is_relative_to(installed.parent)


def test_installed_prompts_render(installed: Path, tmp_path: Path):
    code = "from sagescope.prompts.render import render; print(render('sage/system.j2'))"
    assert run(installed / "python", "-c", code, cwd=tmp_path).startswith("You study one feature")


# --- pyproject.toml and constraints.txt ----------------------------------------------------------


def test_every_package_is_listed():
    folders = {path.parent for path in shipped_files() if path.suffix == ".py"}
    listed = PYPROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(".".join(["sagescope", *folder.parts]) for folder in folders)


def test_every_package_has_an_init():
    for folder in {path.parent for path in shipped_files() if path.suffix == ".py"}:
        assert folder / "__init__.py" in shipped_files()


def test_version_stands_in_one_place():
    assert metadata.version("sagescope") == PYPROJECT["project"]["version"]
    for path in shipped_files():
        if path.suffix == ".py":
            assert "__version__ =" not in (REPOSITORY / path).read_text(encoding="utf-8"), path


def pins() -> Iterator[Requirement]:
    for line in (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield Requirement(line)


def test_pins_are_exact_and_good_everywhere():
    for pin in pins():
        (specifier,) = pin.specifier
        assert specifier.operator == "==", pin
        assert "+" not in specifier.version, f"{pin}: a local version is on no package index"


def test_every_direct_dependency_is_pinned_within_its_range():
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins()}
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    for text in project["dependencies"] + extras["serve"] + extras["dev"]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), text


# --- Who imports whom ----------------------------------------------------------------------------


def imported_modules(path: Path) -> Iterator[str]:
    """The absolute name of every module that a file of this repository imports.

    `from a import b` yields `a.b`, because b may be a module. Imports inside functions and under
    TYPE_CHECKING count like all others.
    """
    package = ["sagescope", *path.relative_to(REPOSITORY).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + node.module.split(".") if node.module else base
            yield from (".".join([*base, alias.name]) for alias in node.names)


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_no_folder_imports_upwards(folder: str):
    allowed = MAY_IMPORT[folder] | {folder}
    for path in (REPOSITORY / folder).rglob("*.py"):
        for module in imported_modules(path):
            top, _, rest = module.partition(".")
            if top == "sagescope":
                assert rest.split(".")[0] in allowed, f"{path} imports {module}"


@pytest.mark.parametrize("folder", [*MAY_IMPORT, "tests", "benchmarks"])
def test_folders_are_imported_under_their_installed_names(folder: str):
    for path in (REPOSITORY / folder).rglob("*.py"):
        for module in imported_modules(path):
            assert module.split(".")[0] not in MAY_IMPORT, (
                f"{path} imports {module}, which works in the checkout only: "
                f"import sagescope.{module}"
            )


def test_upward_imports_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules[__name__], "REPOSITORY", tmp_path)
    path = tmp_path / "agents" / "rules" / "miner.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "def late():\n"
        "    from ...experiments.journal import Journal\n"
        "    from ... import experiments\n"
        "    from . import induce\n"
        "    import sagescope.experiments.cli\n",
        encoding="utf-8",
    )
    assert set(imported_modules(path)) == {
        "sagescope.experiments.journal.Journal",
        "sagescope.experiments",
        "sagescope.agents.rules.induce",
        "sagescope.experiments.cli",
    }
