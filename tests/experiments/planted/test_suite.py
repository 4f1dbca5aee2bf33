"""The suite: what an explainer recovers, class by class, and going on with a run."""

import json

import pytest
from typer.testing import CliRunner

from sagescope.experiments.cli import app
from sagescope.experiments.journal import Journal
from sagescope.experiments.planted import PlantedSource, planted_source
from sagescope.experiments.planted.suite import Answer, Findings, run_suite, share

CLASSES = ["word", "degenerate", "decoy"]


@pytest.fixture(scope="module")
def found() -> Findings:
    return run_suite(planted_source(0, per_class=2, classes=CLASSES))


def test_every_feature_is_answered_and_compared(found: Findings):
    assert [answer.feature for answer in found.answers] == list(range(6))
    assert [answer.class_ for answer in found.answers] == [c for c in CLASSES for _ in range(2)]
    word = found.answers[0]
    assert word.recovered
    assert word.equivalent
    assert word.probes > 0
    assert word.label.split("“")[1].split("”")[0] in word.explanation


def test_dead_and_noisy_features_get_no_confirmed_label(found: Findings):
    nothing = [answer for answer in found.answers if answer.form in ("dead", "noisy")]
    assert [answer.recovered for answer in nothing] == [None, None]
    assert "It never fires" in nothing[0].explanation
    assert found.false_labels.value == 0


def test_decoys_are_explained_once_more_without_probes(found: Findings):
    assert [answer.feature for answer in found.without_probes] == [4, 5]
    assert {answer.explainer for answer in found.without_probes} == {"sage:no-probes"}
    assert sum(answer.probes for answer in found.without_probes) == 0
    before = sum(bool(answer.recovered) for answer in found.without_probes)
    after = sum(bool(a.recovered) for a in found.answers if a.class_ == "decoy")
    assert found.lift.value == pytest.approx((after - before) / 2)


def test_groups_are_one_a_class_and_the_single_concepts(found: Findings):
    groups = found.groups()
    assert [group.name for group in groups] == [*CLASSES, "single concepts"]
    assert [group.features for group in groups] == [2, 2, 2, 2]
    assert groups[1].recovered.value is None


def test_a_share_of_one_has_an_interval_all_the_same():
    whole = share([True] * 10)
    assert whole.value == 1.0
    assert whole.low == pytest.approx(0.7225, abs=1e-3)  # Wilson 1927: n / (n + z²)


def test_the_command_prints_tables_and_goes_on_with_its_run(tmp_path):
    journal = tmp_path / "planted.db"
    line = ["planted", "--features", "1", "--classes", "word,decoy", "--journal", str(journal)]
    first = CliRunner().invoke(app, [*line, "--run", "p"])
    assert first.exit_code == 0, first.output
    assert "recovered" in first.stdout
    assert "What probing adds" in first.stdout
    with Journal.open(journal) as opened:
        events = len(opened.run("p").events())
        assert {run.name for run in opened.runs()} == {"p", "p-no-probes"}
    again = CliRunner().invoke(app, [*line, "--run", "p", "--json"])
    assert again.exit_code == 0, again.output
    answers = [json.loads(row) for row in again.stdout.splitlines()]
    assert [answer["class"] for answer in answers] == ["word", "decoy", "decoy"]
    assert set(answers[0]) == {name.rstrip("_") for name in Answer.model_fields}
    with Journal.open(journal) as opened:
        assert len(opened.run("p").events()) == events + 1  # the session alone


def test_what_failed_is_said_and_counts_in_no_share(monkeypatch, tmp_path):
    """A mind without an answer is not one that recovered nothing, nor one without false labels."""
    real = PlantedSource.activations

    async def activations(self, feature, texts):
        if feature in broken:
            raise RuntimeError("the cable is out")
        return await real(self, feature, texts)

    monkeypatch.setattr(PlantedSource, "activations", activations)
    broken = {0}
    line = ["planted", "-f", "2", "--classes", "word", "--journal", str(tmp_path / "p.db")]
    some = CliRunner().invoke(app, [*line, "--run", "p"])
    assert some.exit_code == 0, some.output
    assert "Failed, and in none of these shares: 1 of 2 (1 word)." in some.stdout
    assert "1 explanations in" in some.stdout
    assert "1.00 (0.21–1.00)" in some.stdout
    assert "the cable is out; --retry-failed tries again." in some.stderr
    rows = CliRunner().invoke(app, [*line, "--run", "p", "--json"]).stdout.splitlines()
    lost, right = map(json.loads, rows)
    unknown = {lost[name] for name in ("recovered", "agreement", "pearson", "equivalent")}
    assert (lost["status"], unknown, right["recovered"]) == ("failed", {None}, True)
    broken = {0, 1}
    everything = CliRunner().invoke(app, [*line, "--run", "q"])
    assert everything.exit_code == 1
    broken = set()
    again = CliRunner().invoke(app, [*line, "--run", "q", "--retry-failed"])
    assert (again.exit_code, "Failed" in again.stdout) == (0, False)


def test_a_wrong_name_is_one_sentence():
    wrong = CliRunner().invoke(app, ["planted", "--classes", "wurd"])
    assert wrong.exit_code == 1
    assert "word" in wrong.stderr
    assert len(wrong.stderr.splitlines()) == 1
