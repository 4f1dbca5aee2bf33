"""Hints in runs: part of what a run is held to, kept in its journal, and never a failed feature."""

import json

import pytest

from sagescope.agents import explainers
from sagescope.agents.explainers import INSIDE
from sagescope.agents.inside.answer import begun, stated
from sagescope.agents.rules.language import Clause, Rule, current
from sagescope.experiments import cli
from sagescope.experiments.jobs import explain
from sagescope.experiments.journal import Journal
from sagescope.experiments.one_shot import why_none
from sagescope.experiments.transcript import transcript_of
from sagescope.sae.errors import JournalError, SAEError, SagescopeError


class Says:
    """A hint about a word that no mind would come upon."""

    asked = 0

    async def explain(self, task):
        Says.asked += 1
        loop = begun(task)
        unit = loop.notebook.stats.typical_max
        rule = Rule(clauses=(Clause(conditions=(current("word", "zebra"),), level=1.0),), unit=unit)
        return loop.conclusion(stated(rule, loop.notebook), "concluded")


@pytest.fixture(autouse=True)
def _says(monkeypatch):
    Says.asked = 0
    monkeypatch.setitem(explainers.INSIDE, "says", Says())


def test_runs_with_and_without_never_mix(source):
    with Journal.open(None) as journal:
        explain(source, [0], explainer="sage+says", journal=journal, run="x", score=False)
        assert journal.run("x").config["explainer"] == "sage+says"
        with pytest.raises(JournalError, match="sage\\+says"):
            explain(source, [0], journal=journal, run="x", score=False)


def test_its_origin_is_told(source):
    with Journal.open(None) as journal:
        explain(source, [0], explainer="sage+says", journal=journal, run="x", score=False)
        story = json.dumps(transcript_of(journal.run("x"), 0).as_json(), default=str)
        assert "hint: says" in story


def test_an_attempt_that_is_gone_on_with_hears_the_same(source, monkeypatch):
    """Broken off while it measures, the feature begins anew, and the hint is not asked again."""
    real = type(source).activations

    async def breaks(self, feature, texts):
        raise JournalError("the disk is full")

    with Journal.open(None) as journal:
        asked = {"explainer": "sage+says", "journal": journal, "score": False}
        monkeypatch.setattr(type(source), "activations", breaks)
        with pytest.raises(JournalError, match="disk"):
            explain(source, [0], run="x", **asked)
        monkeypatch.setattr(type(source), "activations", real)
        (again,) = explain(source, [0], run="x", **asked)
        assert Says.asked == 1
        assert len(journal.run("x").events(0, ["hinted"])) == 1
        (whole,) = explain(source, [0], run="y", **asked)
        assert again.explanation == whole.explanation


def test_a_hint_without_a_model_is_a_note(source):
    (result,) = explain(source, [0], explainer="sage+weightlens", score=False)
    assert result.status == "concluded"
    notes = " ".join(result.explanation.notes)
    assert "hint of weightlens failed" in notes
    assert "not the weights behind them" in notes


@pytest.mark.parametrize("name", ["weightlens", "attribution"])
def test_alone_it_is_refused_before_anything_with_what_to_do(name, source):
    with Journal.open(None) as journal:
        with pytest.raises(SAEError, match="explain it with `sage`"):
            explain(source, [0], explainer=name, score=False, journal=journal)
        assert journal.runs() == []


def test_the_control_that_is_made_at_once_knows_no_hints():
    config = {"mind": "rules", "prompts": None}
    assert why_none({**config, "explainer": "sage+weightlens"}, None) == ""
    assert "no mind" in why_none({**config, "explainer": "weightlens"}, None)


def test_the_command_line_names_them():
    assert tuple(name for name in INSIDE if name != "says") == cli.options.HINTS
    assert cli.opening.hinted("sage", "attribution, weightlens") == "sage+weightlens+attribution"
    with pytest.raises(SagescopeError, match="weightlense"):
        cli.opening.hinted("sage", "weightlense")
