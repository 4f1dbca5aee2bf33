"""The command line: what is typed, what is printed where, and with which exit code."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import click
import pytest
import tiny
import typer
from typer.testing import CliRunner

from sagescope.experiments import Journal, cli
from sagescope.experiments.cli import app
from sagescope.sae.errors import SAEError, SagescopeError

REPOSITORY = Path(__file__).parents[2]
ENGLISH = {path.name: path.read_text("utf-8") for path in (REPOSITORY / "docs").glob("*.md")}


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAGESCOPE_JOURNAL", raising=False)
    return tmp_path


@pytest.fixture
def opened(planted, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Commands see the planted source; how they asked for it is written down."""
    asked: list[tuple[Any, ...]] = []

    def open_source(*spec: Any):
        asked.append(spec)
        return contextlib.nullcontext(planted.PlantedSource())

    monkeypatch.setattr(cli.opening, "open_source", open_source)
    return asked


def run(*args: str, code: int = 0) -> Any:
    done = CliRunner().invoke(app, args)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def lines(done: Any) -> list[Any]:
    return [json.loads(line) for line in done.stdout.splitlines()]


# --- Explaining, and looking at it ---------------------------------------------------------------


def test_explain_and_every_way_to_look_at_it(opened, somewhere: Path):
    explained = lines(run("explain", "-f", "0-2", "--run", "first", "--json"))
    assert [row["feature"].rpartition("/")[2] for row in explained] == ["0", "1", "2"]
    assert (somewhere / "sagescope.db").exists()
    assert lines(run("results", "first", "--json")) == explained
    (listed,) = lines(run("runs", "--json"))
    assert (listed["run"], listed["features"], listed["done"]) == ("first", 3, 3)
    (story,) = lines(run("show", "first", "1", "--json"))
    assert story["result"] == explained[1]
    assert "confirmed" in {one["verdict"]["status"] for one in story["hypotheses"]}
    assert all(probe["outcome"] for probe in story["probes"])
    assert "Wrote report.html" in run("report", "first").stdout
    assert "<!doctype html>" in (somewhere / "report.html").read_text("utf-8")


def test_the_same_for_people(opened):
    shown = run("explain", "--features", "0,1").stdout
    for words in ("Pearson", "random explanation", "token lookup", "Recall by quantile", "lexical"):
        assert words in shown
    assert run("results", "default").stdout == shown
    assert "default" in run("runs").stdout
    page = run("show", "default", "function/planted/0").stdout
    for words in (
        "confirmed",
        "should fire",
        "predicted silent measured silent",
        "typical maximum",
    ):
        assert words in page


def test_explaining_again_changes_nothing(opened):
    first = run("explain", "-f", "0,1", "--json").stdout
    assert run("explain", "-f", "0,1", "--json").stdout == first


def test_options_reach_the_job(opened, monkeypatch):
    asked: dict[str, Any] = {}

    def explain(source: Any, features: Any, **options: Any) -> list[Any]:
        asked.update(options, features=features)
        return [types.SimpleNamespace(status="concluded")]

    monkeypatch.setattr(cli.output, "print_results", lambda results, as_json: None)

    monkeypatch.setattr("sagescope.experiments.jobs.explain", explain)
    typed = (
        "explain --features 1 --run r --subject s --sae a --corpus c --tokens 9 --explainer one-shot "
        "--mind m --seed 3 --max-probes 1 --max-rounds 2 --max-calls 3 --max-tokens 4 "
        "--max-seconds 5 --max-cost 6.5 --prompts . --run-max-calls 1 --run-max-tokens 2 "
        "--run-max-cost 3 --run-max-seconds 4 --concurrency 6 --no-score "
        "--scorers generated,predictive --simulator judge --scorer-mind j --retry-failed "
        "--device cpu --dtype float32 --host http://h:1 --no-controls --random-weights 5 --journal j.db "
        "--workers 4 --worker-cpus 2 --worker-gpus 0.5 --ray 10.0.0.1:6379"
    )
    run(*typed.split())
    assert opened == [("s", "a", "c", 9, "cpu", "float32", "http://h:1")]
    cluster = asked.pop("cluster")
    assert (cluster.address, cluster.workers, cluster.cpus) == ("10.0.0.1:6379", 4, 2)
    assert cluster.gpus == 0.5
    assert cluster.make.args == opened[0]
    budget = dataclasses.asdict(asked.pop("budget"))
    caps = {"probes": 1, "rounds": 2, "calls": 3, "tokens": 4, "seconds": 5.0, "cost": 6.5}
    assert budget == caps
    run_budget = dataclasses.asdict(asked.pop("run_budget"))
    caps = {"probes": None, "rounds": None, "calls": 1, "tokens": 2, "seconds": 4.0, "cost": 3.0}
    assert run_budget == caps
    assert Path(asked.pop("journal").path).name == "j.db"
    del asked["watch"]
    assert asked == {
        "features": [1],
        "explainer": "one-shot",
        "mind": "m",
        "prompts": Path("."),
        "seed": 3,
        "run": "r",
        "score": False,
        "scorers": ["generated", "predictive"],
        "controls": False,
        "random_weights": 5,
        "simulator": "judge",
        "scorer_mind": "j",
        "concurrency": 6,
        "retry_failed": True,
    }


def test_scores_may_be_made_later(opened):
    whole = run("explain", "-f", "0,1", "--json", "--run", "whole").stdout
    run("explain", "-f", "0,1", "--no-score")
    (row, _) = lines(run("score", "default", "--scorers", "generated", "--json"))
    assert row["scores"]["input"]["value"] is not None
    assert row["scores"]["predictive_pearson"] is None
    later = run("score", "default", "--json").stdout
    assert [json.loads(line)["scores"] for line in later.splitlines()] == [
        json.loads(line)["scores"] for line in whole.splitlines()
    ]
    assert "Unknown scorer 'x'" in run("score", "default", "--scorers", "x", code=1).stderr
    # What was asked for is printed, though it has no column in the tables.
    plain, asked = (
        run("score", "default", *more).stdout for more in ((), ("--scorers", "intruder"))
    )
    assert "intruder near miss" not in plain
    told = asked[asked.index("Other scores") :]
    assert all(name in told for name in ("intruder near miss°", "random explanation", "all (2)"))
    row, *_ = lines(run("results", "default", "--json"))
    assert row["scores"]["intruder"]["failed"] == 0


def test_what_has_no_controls_says_so_everywhere(opened, somewhere: Path):
    shown = run("explain", "-f", "0,1", "--no-controls").stdout
    assert "Uncontrolled: 2 of 2 features have no controls" in shown
    assert "random explanation" not in shown
    (row, _) = lines(run("results", "default", "--json"))
    assert row["controlled"] is False
    assert set(row["controls"].values()) == {None}
    run("report", "default")
    assert "Uncontrolled: 2 of 2" in (somewhere / "report.html").read_text("utf-8")
    later = run("score", "default").stdout
    assert "Uncontrolled" not in later
    assert "random explanation" in later


def test_scores_may_be_left_out(opened):
    (row,) = lines(run("explain", "-f", "0", "--no-score", "--json"))
    assert set(row["scores"].values()) == {None}
    assert "–" in run("results", "default").stdout


def test_failures_are_pointed_at(opened, planted, monkeypatch):
    def fn(text: str, feature: int):
        if feature:
            raise RuntimeError("\x1b]0;evil\x07")
        return planted.fires(text, feature)

    source = planted.PlantedSource(fn=fn)
    monkeypatch.setattr(cli.opening, "open_source", lambda *spec: contextlib.nullcontext(source))
    done = run("explain", "-f", "0-2")
    assert "2 of 3 features failed; `sagescope show default 1` says why" in done.stderr
    shown = run("show", "default", "1").stdout
    assert "Traceback" in shown
    assert "\x1b]" not in shown + done.stdout
    run("explain", "-f", "1,2", "--run", "all", code=1)


def test_the_journal_may_stand_elsewhere(opened, somewhere: Path, monkeypatch):
    run("explain", "-f", "0", "--no-score", "--journal", "a/b.db")
    monkeypatch.setenv("SAGESCOPE_JOURNAL", str(somewhere / "a" / "b.db"))
    assert len(lines(run("results", "default", "--json"))) == 1


def test_collect_and_features(opened):
    (about,) = lines(run("collect", "--json"))
    assert about["features"] == 5
    assert set(about["tokens"]) == {"explain", "select", "score"}
    assert "5 features of planted" in run("collect").stdout
    rows = lines(run("features", "--json"))
    assert [row["feature"] for row in rows] == [0, 1, 2, 3, 4]
    assert {"stratum", "density", "fired", "lookup_pearson"} <= rows[0].keys()
    assert lines(run("features", "-f", "3,1", "--json")) == [rows[3], rows[1]]
    drawn = lines(run("features", "--draw", "2", "--seed", "1", "--json"))
    assert drawn == lines(run("features", "--draw", "2", "--seed", "1", "--json"))
    assert len(drawn) == 2
    assert "lexical" in run("features").stdout


def test_demo(opened, somewhere: Path):
    first = run("demo", "--draw", "3")
    assert "Recall by quantile" in first.stdout
    assert str(somewhere / "report.html") in first.stdout.replace("\n", "")
    assert run("demo", "--draw", "3").stdout == first.stdout
    rows = lines(run("demo", "--draw", "3", "--json"))
    assert lines(run("results", "demo", "--json")) == rows
    assert opened[0] == (
        cli.options.SUBJECT,
        None,
        cli.options.CORPUS,
        cli.options.TOKENS,
        "auto",
        "auto",
    )
    assert (somewhere / "report.html").exists()


# --- What cannot be done -------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["5-1", "-3", "1,,2", "abc", "", "1.5", "3-"])
def test_lists_of_features_that_are_none(opened, text: str):
    done = run("explain", f"--features={text}", code=2)
    assert opened == [], "something was loaded first"
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_features_that_the_sae_does_not_have(opened, somewhere: Path):
    done = run("explain", "-f", "0-99999999999", code=2)
    assert "There is no feature 99999999999" in done.stderr.replace("\n", " ").replace("│ ", "")
    run("explain", "-f", "5", code=2)
    run("features", "-f", "5", code=2)


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        ("results nothing", 1, "There is no journal at sagescope.db"),
        ("show nothing 3", 1, "There is no journal"),
        ("report nothing", 1, "There is no journal"),
        ("runs --journal missing.db", 1, "There is no journal at missing.db"),
        ("show run three", 2, "is no feature"),
        ("explain", 2, "--features"),
        ("explain -f 0 --seed -1", 2, "--seed"),
        ("explain -f 0 --max-probes x", 2, "--max-probes"),
        ("explain -f 0 --max-seconds inf", 2, "The cap on seconds"),
        ("nonsense", 2, "nonsense"),
        ("features --draw 3 --features 1", 2, "either"),
        ("explain -f 0 --run a/b", 1, "cannot be a run's name"),
        ("explain -f 0 --explainer sagge", 1, "Nearest: sage"),
        ("features --draw 99", 1, "Only 5 features"),
    ],
)
def test_a_sentence_for_each_thing_that_cannot_be_done(opened, typed: str, code: int, said: str):
    done = run(*typed.split(), code=code)
    assert said in done.stderr
    assert done.stdout == ""
    if code == 1:
        assert done.stderr.startswith("sagescope: ")
        assert done.stderr.count("\n") == 1


def test_an_unknown_run_and_an_unknown_feature(opened):
    run("explain", "-f", "0", "--no-score")
    assert "Nearest: default" in run("results", "defalt", code=1).stderr
    assert "has no feature 7" in run("show", "default", "7", code=1).stderr


def test_another_configuration_is_refused(opened):
    run("explain", "-f", "0", "--no-score")
    assert "begun with seed 0, not 1" in run("explain", "-f", "0", "--seed", "1", code=1).stderr


def test_debug_shows_the_traceback(opened):
    done = CliRunner().invoke(app, ["--debug", "results", "nothing"])
    assert done.exc_info is not None
    assert "There is no journal" in str(done.exception)


def test_what_nobody_foresaw_keeps_its_traceback(monkeypatch):
    def fail(*spec: Any) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(cli.opening, "open_source", fail)
    done = CliRunner().invoke(app, ["collect"])
    assert isinstance(done.exception, ZeroDivisionError)


def test_no_sae_comes_along(monkeypatch):
    monkeypatch.setattr("sagescope.sae.loading.pretrained_names", list)
    with pytest.raises(SAEError, match="name one"):
        cli.opening.open_source("s", None, "c", 1, "auto", "auto")


DAMAGE = {
    "no JSON": ("events SET payload = '{'", "results default", "show default 0", "report default"),
    "nested": (
        f"events SET payload = '{'[' * 100_000}'",
        *("results default", "show default 0", "report default"),
    ),
    "no features": (
        "events SET payload = '{}' WHERE kind = 'session'",
        *("runs", "results default", "show default 0", "report default"),
    ),
    "config": ("runs SET config = '{'", "runs", "results default", "show default 0"),
    "config's kind": ("runs SET config = '[]'", "runs", "results default", "report default"),
    "no config": ("runs SET config = '{}'", "results default", "show default 0", "report default"),
    "exemplars": (
        """events SET payload = '{"top": [{}]}' WHERE kind = 'exemplars'""",
        *("show default 0", "report default"),
    ),
    **{
        f"{kind} {payload}": (
            f"events SET payload = '{payload}' WHERE kind = '{kind}'",
            *("show default 0", "report default"),
        )
        for kind in ("facts", "hypothesis", "probe", "outcome", "verdict", "concluded", "scored")
        for payload in ('{"x": 1}', "[]", "null")
        if (kind, payload) not in {("facts", "null"), ("concluded", "null"), ("facts", "[]")}
    },
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_journal_is_a_sentence(opened, what: str):
    run("explain", "-f", "0")
    damage, *commands = DAMAGE[what]
    with sqlite3.connect("sagescope.db") as connection:
        connection.execute(f"UPDATE {damage}")
    connection.close()
    for command in commands:
        done = run(*command.split(), code=1)
        assert re.fullmatch(r"sagescope: .* of the journal \S+ is damaged .*\n", done.stderr)
        assert done.stdout == ""


def test_runs_of_which_nothing_is_known_are_listed(opened):
    with Journal.open(Path("sagescope.db")) as journal, journal.begin("x", {}):
        pass
    assert "–" in run("runs").stdout


def test_a_run_where_nothing_is_done_yet(opened):
    with Journal.open(Path("sagescope.db")) as journal, journal.begin("x", {}) as begun:
        begun.write("session", {"features": [0]})
    assert "No feature" in run("results", "x").stdout
    assert run("results", "x", "--json").stdout == ""


@pytest.mark.parametrize("command", ["session 0", "mcp"])
def test_sessions_take_every_cap(opened, monkeypatch, command: str):
    from sagescope.agents.budget import Budget
    from sagescope.experiments.sessions import live, tools

    asked: list[Any] = []

    def open_nothing(*_, budget, **__):
        asked.append(budget)
        raise SagescopeError("Enough is known.")

    monkeypatch.setattr(live.Session, "open", open_nothing)
    monkeypatch.setattr(tools, "serve", open_nothing)
    caps = {field.name: n for n, field in enumerate(dataclasses.fields(Budget), 1)}
    typed = [part for name, cap in caps.items() for part in (f"--max-{name}", str(cap))]
    run(*command.split(), code=1)
    run(*command.split(), *typed, code=1)
    assert asked == [None, Budget(**caps)]


# --- SAEs ----------------------------------------------------------------------------------------


def test_train_takes_every_setting(monkeypatch, tmp_path: Path):
    from sagescope.sae.training import TrainSettings
    from sagescope.sae.training import run as training

    asked: list[Any] = []
    monkeypatch.setattr(
        training, "train", lambda settings, out, **kept: asked.append((settings, out, kept)) or out
    )
    assert "Wrote out" in run("train", "out").stdout
    assert asked == [(TrainSettings(), Path("out"), {"keep": None, "keep_gb": 8.0})]
    other = {
        field.name: "x" if "str" in str(field.type) else 1 + (field.name == "context")
        for field in dataclasses.fields(TrainSettings)
        if field.name != "options"
    }
    typed = [
        part
        for name, value in other.items()
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    settings = ["--set", "gamma=.5", "--set", "kind=dot", "--set", "paper=true"]
    run("train", "out", *typed, *settings, "--keep", "there", "--keep-gb", "2")
    options = {"gamma": 0.5, "kind": "dot", "paper": True}
    assert dataclasses.asdict(asked[1][0]) == {**other, "options": options}
    assert asked[1][2] == {"keep": Path("there"), "keep_gb": 2.0}
    run("train", "out", "--set", "gamma", code=2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_sae_is_trained_and_measured(somewhere: Path, monkeypatch):
    """The real commands, on a tiny model."""
    tiny.save_model(somewhere / "model")
    (somewhere / "some.txt").write_text("\n\n".join(tiny.sentences(200)))
    typed = "train sae --subject ./model --corpus some.txt --hook-point blocks.1.hook_resid_post"
    sizes = "--width 64 --k 4 --tokens 2000 --context 32 --batch 64 --buffer 512"
    assert "Wrote sae" in run(*typed.split(), *sizes.split()).stdout
    assert (somewhere / "sae" / "cfg.json").exists()
    measure = "--subject ./model --corpus some.txt#held-out --dtype float32 --tokens 500"
    counts = [*measure.split(), "--loss-tokens", "100"]
    (row,) = lines(run("sae-eval", "./sae", *counts, "--json"))
    assert row["l0"] == pytest.approx(4, abs=0.1)
    assert row["tokens"] >= 500
    assert -1 < row["explained"] < 1
    assert (row["path"], row["architecture"], row["stability"]) == ("./sae", "topk", None)
    shown = run("sae-eval", "./sae", "./sae", *counts, "-o", "a.html").stdout
    for words in ("explained variance", f"{row['explained']:.4f}", "loss recovered", "1.000 ("):
        assert words in shown
    page = (somewhere / "a.html").read_text()
    assert page.count("<circle") == 2
    assert f"{row['explained']:.4f}" in page
    assert "http" not in page.replace("http-equiv", "")
    (found,) = lines(run("identify", "./sae", *measure.split(), "--json"))
    assert found["support"]["l0"] == pytest.approx(row["l0"])
    assert "coherence" in run("identify", "./sae", *measure.split()).stdout
    (somewhere / "file").touch()
    assert "give another" in run("train", "file", "--subject", "./model", code=1).stderr


def test_explanations_tell_of_the_pair_that_identify_finds(somewhere: Path):
    """Two latents that read the same and write different things, planted in an SAE of a tiny model.

    Its context is shorter than the sentences that probes are written in.
    """
    import torch

    tiny.save_model(somewhere / "model")
    (somewhere / "some.txt").write_text("\n\n".join(tiny.sentences(120)))
    sae = tiny.make_sae("standard", features=12, metadata={"context_size": 24})
    with torch.no_grad():
        sae.W_enc[:, 1], sae.b_enc[1] = sae.W_enc[:, 0], sae.b_enc[0]
    (somewhere / "sae").mkdir()
    sae.save_model(somewhere / "sae")
    opened = [
        "--subject",
        "./model",
        "--corpus",
        "some.txt",
        "--dtype",
        "float32",
        "--tokens",
        "2000",
    ]
    (found,) = lines(run("identify", "./sae", *opened, "--json"))
    tied = {(pair["a"], pair["b"]): pair["ambiguous"] for pair in found["support"]["pairs"]}
    assert tied[0, 1]
    alone = next(f for f in range(2, 12) if not any(f in pair for pair in tied))
    chosen = ["-f", f"0,1,{alone}", "--run", "tied", "--no-score", "--max-rounds", "1"]
    explained = lines(run("explain", *chosen, "--sae", "./sae", *opened, "--json"))
    assert "failed" not in {row["status"] for row in explained}
    assert all(row["cost"]["probes"] for row in explained)
    notes = [" ".join(row["explanation"]["notes"]) for row in explained]
    told = "Cannot be told apart from feature {} on this corpus"
    assert told.format(1) in notes[0]
    assert told.format(0) in notes[1]
    assert "told apart" not in notes[2]
    run("report", "tied")
    page = (somewhere / "report.html").read_text()
    assert told.format(1) in page
    assert told.format(0) in page


def test_defaults_are_those_of_the_library():
    from sagescope.sae.model_source import DEFAULT_CORPUS, DEFAULT_TOKENS
    from sagescope.sae.weights import BUILTIN

    assert (cli.options.CORPUS, cli.options.TOKENS) == (DEFAULT_CORPUS, DEFAULT_TOKENS)
    assert cli.options.SUBJECT in BUILTIN


def test_all_explainers_are_listed():
    from sagescope.agents.explainers import EXPLAINERS

    assert tuple(EXPLAINERS) == cli.options.EXPLAINERS
    assert all(f"`{name}`" in ENGLISH["running.md"] for name in EXPLAINERS)


def test_an_explainer_and_a_mind_that_do_not_go_together(monkeypatch):
    def open_source(*spec: Any) -> Any:
        raise AssertionError("nothing may be opened")

    monkeypatch.setattr(cli.opening, "open_source", open_source)
    for words in ([], ["--dry-run"]):
        failed = run("explain", "-f", "0", "--explainer", "one-shot", *words, code=1)
        assert "'one-shot' needs a language model" in failed.stderr
        assert failed.stderr.count("\n") == 1


# --- As a program --------------------------------------------------------------------------------

#: The command line with the planted source behind it; its first argument is the pause.
PROGRAM = """
import contextlib, sys
sys.path.insert(0, sys.argv.pop(1))
import planted
from sagescope.experiments import cli
source = planted.PlantedSource(float(sys.argv.pop(1)))
cli.opening.open_source = lambda *spec: contextlib.nullcontext(source)
cli.main()
"""


def start(*args: str, pause: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(pause), *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_help_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from sagescope.experiments.cli import main\n"
        "sys.argv = ['sagescope', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print({'torch', 'pandas', 'numpy', 'pydantic', 'jinja2', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "explain" in done.stdout
    assert done.stdout.splitlines()[-1] == "set()"


def test_importing_experiments_loads_nothing_heavy():
    code = "import sys, sagescope.experiments; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_results_and_the_rest_go_to_different_places():
    job = start("explain", "-f", "0,1", "--json")
    stdout, stderr = job.communicate()
    assert job.returncode == 0
    assert stderr == "", "no progress where nobody looks"
    assert [json.loads(line)["status"] for line in stdout.splitlines()] == ["concluded"] * 2


def test_a_report_on_standard_output_is_alone_there(opened):
    run("explain", "-f", "0", "--no-score")
    stdout, stderr = start("report", "default", "-o", "/dev/fd/1").communicate()
    assert stdout.startswith("<!doctype html>")
    assert stdout.rstrip().endswith("</html>")
    assert stderr == "Wrote /dev/fd/1.\n"


def test_whoever_reads_may_stop_reading(opened):
    run("explain", "-f", "0-4", "--no-score")
    job = start("results", "default", "--json")
    assert job.stdout is not None
    assert job.stderr is not None
    job.stdout.close()
    assert job.stderr.read() == ""
    job.stderr.close()
    assert job.wait() == 1


def test_ctrl_c_says_how_to_go_on(somewhere: Path):
    job = start("explain", "-f", "0-4", pause=0.02)
    journal = somewhere / "sagescope.db"
    while not journal.exists() or not _begun(journal):
        assert job.poll() is None
        time.sleep(0.01)
    job.send_signal(signal.SIGINT)
    stdout, stderr = job.communicate()
    assert job.returncode == 130
    assert stdout == ""
    assert stderr == (
        "sagescope: Stopped. What was done is kept. Run the same command again to go on.\n"
    )
    again = start("explain", "-f", "0-4", "--json")
    stdout, _ = again.communicate()
    assert len(stdout.splitlines()) == 5


def _begun(journal: Path) -> bool:
    with Journal.open(journal) as opened:
        return bool(opened.runs()) and len(opened.run("default").events()) > 20


def test_the_version():
    from importlib.metadata import version

    command = Path(sys.executable).with_name("sagescope")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"sagescope {version('sagescope')}\n"


# --- The documentation ---------------------------------------------------------------------------


def commands() -> dict[str, click.Command]:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return group.commands


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_and_option_is_documented(name: str):
    text = "\n".join(ENGLISH.values())
    assert f"sagescope {name}" in text
    for parameter in commands()[name].params:
        for option in parameter.opts:
            if option.startswith("--") and option != "--help":
                assert re.search(rf"{re.escape(option)}\b", text), f"{option} of {name}"


def test_every_documented_command_exists():
    known = set(commands())
    for name, text in ENGLISH.items():
        for command in re.findall(r"^\s*(?:\$ )?sagescope ([a-z-]+)", text, re.MULTILINE):
            assert command in known, f"{name} speaks of `sagescope {command}`"


def test_the_environment_variable_is_documented():
    assert any("SAGESCOPE_JOURNAL" in text for text in ENGLISH.values())
    assert "SAGESCOPE_JOURNAL" not in os.environ
