"""Runs compared with each other, from their journals."""

import json

import pytest
from typer.testing import CliRunner

from sagescope.experiments import Journal, explain
from sagescope.experiments.cli import app
from sagescope.experiments.comparison import compare, compare_runs
from sagescope.experiments.summary import COLUMNS
from sagescope.sae.errors import JournalError


@pytest.fixture(scope="module")
def journal(planted, tmp_path_factory: pytest.TempPathFactory):
    """Three runs: two that are alike, and one of fewer probes and features."""
    path = tmp_path_factory.mktemp("journal") / "runs.db"
    source = planted.PlantedSource()
    explain(source, range(5), run="one", journal=path)
    explain(source, range(5), run="same", journal=path)
    explain(source, range(1, 4), explainer="sage:no-probes", run="fewer", journal=path)
    with Journal.open(path) as opened:
        yield opened


def test_common_features_in_every_stratum(journal):
    found = compare_runs([journal.run("one"), journal.run("fewer")])
    assert (found.names, found.features, found.left_out) == (("one", "fewer"), 3, 2)
    groups = list(dict.fromkeys(row.group for row in found.rows))
    assert groups[-1] == "all"
    assert [row.score for row in found.rows if row.group == "all"] == list(COLUMNS)
    (pearson,) = (r for r in found.rows if (r.group, r.score) == ("all", "predictive_pearson"))
    assert pearson.found.n == 3
    assert pearson.found.value == pytest.approx(pearson.found.left - pearson.found.right)


def test_every_pair_is_corrected_together(journal):
    runs = [journal.run(name) for name in ("one", "same", "fewer")]
    rows = [row for row in compare_runs(runs, ["coverage"]).rows if row.group == "all"]
    assert [(row.left, row.right) for row in rows] == [
        ("one", "same"),
        ("one", "fewer"),
        ("same", "fewer"),
    ]
    assert all(row.found.adjusted >= row.found.p for row in rows)
    same = rows[0].found
    # All pairs differ alike, by nothing: no interval of width zero is claimed.
    assert (same.value, same.low, same.high, same.shown) == (0, None, None, False)


def test_what_cannot_be_compared(journal, planted, tmp_path):
    one = journal.run("one")
    with pytest.raises(JournalError, match="two runs"):
        compare_runs([one])
    with pytest.raises(JournalError, match=r"'intruder'.*sagescope score"):
        compare_runs([one, journal.run("fewer")], ["intruder"])
    other = planted.PlantedSource(corpus=planted.texts(seed=1))
    explain(other, [0], run="elsewhere", journal=tmp_path / "other.db", score=False)
    with (
        Journal.open(tmp_path / "other.db") as file,
        pytest.raises(JournalError, match="on other text"),
    ):
        compare_runs([one, file.run("elsewhere")])
    with pytest.raises(JournalError, match="no feature in common"):
        compare({"a": [], "b": []})


def test_the_command(journal):
    typed = ["compare", "one", "fewer", "--journal", str(journal.path)]
    shown = CliRunner().invoke(app, typed).stdout
    assert "one less fewer" in shown
    assert "no difference shown" in shown
    assert "Paired over 3 common features; 2 that not all runs have are left out." in shown
    asked = [*typed, "--score", "coverage", "--score", "input", "--json"]
    rows = [json.loads(line) for line in CliRunner().invoke(app, asked).stdout.splitlines()]
    assert {row["score"] for row in rows} == {"coverage", "input"}
    assert {"stratum", "difference", "low", "high", "n", "p", "adjusted", "shown"} <= rows[0].keys()
