"""The Python that the documentation shows runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PYTHON = Path(__file__).parents[2] / "docs" / "python.md"
MODEL, FUNCTION, READING = re.findall(r"```python\n(.*?)```", PYTHON.read_text("utf-8"), re.DOTALL)


SESSIONS = PYTHON.with_name("sessions.md")
CELL, AGENT = re.findall(r"```python\n(.*?)```", SESSIONS.read_text("utf-8"), re.DOTALL)


def execute(code: str) -> dict:
    names: dict = {}
    exec(compile(code, str(PYTHON), "exec"), names)
    return names


def test_a_feature_from_any_function(capsys):
    names = execute(FUNCTION)
    first, second = names["results"]
    assert "river" in first.explanation.description
    assert {first.status, second.status} <= {"concluded", "out_of_budget"}
    assert names["prediction"].tokens[-1] == " river"
    assert names["prediction"].activations.argmax() == 4
    assert " river" in capsys.readouterr().out


def test_reading_a_journal(source, tmp_path: Path, monkeypatch, capsys):
    from sagescope.experiments import explain

    monkeypatch.chdir(tmp_path)
    explain(source, [0], run="mine", journal="mine.db", score=False)
    execute(READING)
    assert capsys.readouterr().out == "mine sage 1\n"


def test_the_model_example_is_about_ten_lines():
    assert len([line for line in MODEL.splitlines() if line.strip()]) <= 10


@pytest.mark.slow
def test_a_model_and_an_sae(tmp_path: Path, monkeypatch, capsys):
    from sagescope.sae.loading import pretrained_names

    if not pretrained_names():
        pytest.skip("no SAE comes with this checkout")
    monkeypatch.chdir(tmp_path)
    names = execute(MODEL.replace('"SAE"', repr(pretrained_names()[0])))
    assert [result.index for result in names["results"]] == [0, 1, 2, 3]
    assert "density" in capsys.readouterr().out


@pytest.mark.slow
async def test_a_notebook_cell(tmp_path: Path, monkeypatch):
    """Inside a running event loop, as in a notebook; its feature needs no collecting."""
    from sagescope.experiments.sessions.views import html_of

    monkeypatch.chdir(tmp_path)
    session = execute(CELL)["session"]
    with session:
        trials = session.trials()
        assert "44.36" in html_of(trials)
        assert [one.outcome.agreed for one in trials.trials] == [True, True]


@pytest.mark.slow
def test_an_agent_over_stdio(tmp_path: Path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        [sys.executable, "-c", AGENT],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    first, second, last = ran.stdout.splitlines()
    assert first.endswith(" True")
    assert second.endswith(" False")
    assert last.startswith("robot 0.")
