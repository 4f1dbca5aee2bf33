"""The commands: freeze, run, build, verify, export, and the demo's leaderboard."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sagescope.experiments import cli
from sagescope.experiments.cli import app
from sagescope.experiments.leaderboard import demo
from sagescope.experiments.leaderboard.manifest import PlantedSuite, read_manifest


@pytest.fixture(autouse=True)
def somewhere(planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in an empty folder, and sees the planted source of the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAGESCOPE_JOURNAL", raising=False)
    monkeypatch.setattr(
        cli.opening, "open_source", lambda *spec: contextlib.nullcontext(planted.PlantedSource())
    )
    return tmp_path


def run(typed: str, code: int = 0) -> Any:
    done = CliRunner().invoke(app, typed.split())
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def test_from_a_benchmark_to_its_leaderboard(somewhere: Path):
    run("bench freeze small.yaml --features 0-2 --seeds 0")
    frozen = read_manifest(Path("small.yaml"))
    assert (frozen.name, frozen.features) == ("small", (0, 1, 2))
    made = run("bench run small.yaml --explainer sage:one-hypothesis --json")
    rows = [json.loads(line) for line in made.stdout.splitlines()]
    assert [row["explainer"] for row in rows] == ["sage:one-hypothesis"] * 3
    assert run("bench run small.yaml --explainer sage:one-hypothesis --json").stdout == made.stdout
    Path("mine.jsonl").write_text('{"feature": 0, "labels": ["banks"], "rule": "word: bank"}\n')
    run("leaderboard verify mine.jsonl --manifest small.yaml --mind me")
    text = '{"feature": 0, "labels": ["banks"], "rule": "word: bank"}\n{"feature": 2, "labels": ["x"]}\n'
    Path("words.jsonl").write_text(text)
    said = run("leaderboard verify words.jsonl --manifest small.yaml --journal words.db").stderr
    # Of the one that has no score, not of the first of all.
    assert (
        "1 of 2 explanations have no score, that of feature 2 because it is in words alone" in said
    )
    built = run("leaderboard build -m small.yaml -o out/board.html")
    assert "board.html" in built.stdout
    (board,) = json.loads(Path("out/board.json").read_text())["boards"]
    kinds = {row["explainer"]: row["kind"] for row in board["rows"]}
    assert kinds["sage:one-hypothesis"] == "run"
    assert kinds["mine"] == "submitted"
    assert "| mine (submitted, 1 of 3 done) | me |" in Path("out/board.md").read_text()
    run("export small.sage-one-hypothesis.rules.seed-0 -o there --format neuronpedia")
    assert (somewhere / "there" / "explanations" / "batch-0.jsonl.gz").exists()
    run("leaderboard verify there --manifest small.yaml", code=1)  # words alone have no score here


def test_a_leaderboard_is_not_written_over_its_benchmark():
    run("bench freeze one.json -f 0-1")
    frozen = Path("one.json").read_text()
    run("bench run one.json --explainer sage:no-probes --no-controls --json --journal one.md")
    for journals in ("", "one.md"):
        refused = run(f"leaderboard build {journals} -m one.json -o one.html", code=1)
        assert "would be written over it: give another --output" in refused.stderr
    assert Path("one.json").read_text() == frozen
    run("leaderboard build one.md -m one.json -o other.html")


def test_a_table_takes_no_run_of_another_benchmark():
    run("bench freeze one.yaml -f 0-1")
    run("bench freeze other.yaml -f 0-2 --name one-more")
    run("bench run one.yaml --explainer sage:no-probes --no-controls --json")
    refused = run("leaderboard build -m other.yaml --runs one.sage-no-probes.rules.seed-0", code=1)
    assert "it has features [0, 1], not [0, 1, 2]" in refused.stderr
    assert not Path("leaderboard.html").exists()
    passed = run("leaderboard build -m one.yaml -m other.yaml")
    assert "is of another benchmark than one-more" in passed.stderr
    first, second = json.loads(Path("leaderboard.json").read_text())["boards"]
    assert [row["controlled"] for row in first["rows"]] == [False]
    assert second["rows"] == []


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        ("bench run nothing.yaml", 1, "bench freeze"),
        ("bench freeze x.yaml --seeds 0-", 2, "is no list"),
        ("bench freeze x.yaml -f 0 --scorers vibes", 1, "Unknown scorer 'vibes'"),
        ("bench freeze x.yaml --draw 99", 1, "Only 5 features"),
        ("bench freeze x.yaml -f 99", 2, "There is no feature 99"),
        ("leaderboard build", 2, "--manifest"),
        ("leaderboard build -m nothing.yaml", 1, "bench freeze"),
        ("leaderboard verify x.jsonl -m nothing.yaml", 1, "bench freeze"),
        ("bench freeze x.yaml -f 0 --simulator judge", 1, "Unknown judge"),
        ("bench freeze x.yaml -f 0 --simulator vibes", 1, "Unknown simulator 'vibes'"),
        ("export nothing -o there", 1, "There is no journal"),
        ("export nothing -o there --format csv", 2, "is no format"),
    ],
)
def test_what_cannot_be_done(typed: str, code: int, said: str):
    done = run(typed, code)
    assert said in done.stderr.replace("\n", " ").replace("│ ", "")
    assert "Traceback" not in done.stderr


def test_a_benchmark_is_scored_with_its_own_simulator_only():
    run("bench freeze b.yaml -f 0-1 --simulator rule")
    frozen = read_manifest(Path("b.yaml"))
    assert (frozen.simulator, frozen.scorer_mind) == ("rule", None)
    Path("mine.jsonl").write_text('{"feature": 0, "labels": ["banks"], "rule": "word: bank"}\n')
    for typed in ("bench run b.yaml", "leaderboard verify mine.jsonl -m b.yaml"):
        refused = run(f"{typed} --simulator embedding", code=1)
        assert "The benchmark b is scored with --simulator rule, not embedding" in refused.stderr
        refused = run(f"{typed} --scorer-mind openai:x", code=1)
        assert "with --scorer-mind unset, not openai:x" in refused.stderr
    run("leaderboard verify mine.jsonl -m b.yaml --simulator rule")
    run("leaderboard build -m b.yaml")
    (board,) = json.loads(Path("leaderboard.json").read_text())["boards"]
    assert {row["simulator"] for row in board["rows"]} == {"rule"}


def test_explanations_that_cannot_be_read_leave_nothing_behind(somewhere: Path):
    run("bench freeze b.yaml -f 0")
    Path("bad.jsonl").write_text('{"feature": 0, "labels": ["x"]}\n{\n')
    done = run("leaderboard verify bad.jsonl -m b.yaml", code=1)
    assert done.stderr.startswith("sagescope: bad.jsonl, line 2: this is no JSON")
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in somewhere.iterdir()) == ["b.yaml", "bad.jsonl"]


def test_planted_features_are_opened_by_their_benchmark():
    run("bench freeze planted.yaml --planted 3")
    frozen = read_manifest(Path("planted.yaml"))
    assert frozen.opens == PlantedSuite(planted=3, per_class=demo.PLANTED.per_class)
    assert len(frozen.features) >= 120


def test_the_demo_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demo, "DRAWN", 1)
    monkeypatch.setattr(demo, "EXPLAINERS", ("sage:no-probes", "sage:one-hypothesis"))
    run("leaderboard demo --no-planted")
    first = Path("leaderboard.json").read_text()
    (board,) = json.loads(first)["boards"]
    assert {"sage:no-probes", "sage:one-hypothesis"} <= {row["explainer"] for row in board["rows"]}
    assert "1 with each of the draw's seeds 0, 1, 2, 3" in board["manifest"]["drawn"]
    run("leaderboard demo --no-planted")
    assert Path("leaderboard.json").read_text() == first
