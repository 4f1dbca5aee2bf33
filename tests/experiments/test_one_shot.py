"""The one-shot control: the same mind, asked once, beside each explanation."""

from pathlib import Path

import minded
import pytest

from sagescope.agents.budget import Budget
from sagescope.agents.llm import client
from sagescope.experiments import Journal, explain
from sagescope.experiments.loopback import Failure, LoopbackProvider
from sagescope.experiments.results import results_of


def mind(server: LoopbackProvider) -> str:
    return f"{server.url}/v1#scripted"


def test_the_miner_says_what_it_would_without_probes(source, planted):
    """It costs nothing, and is what `sage:no-probes` finds where nothing is refined."""
    found = explain(source, range(3))
    alone = explain(planted.PlantedSource(), range(3), explainer="sage:no-probes")
    for one, without in zip(found, alone, strict=True):
        assert one.details["one_shot"]["description"] == without.explanation.description
        assert one.controls["one_shot"] == without.scores
        assert one.details["one_shot"]["spent"]["probes"] == 0


def test_a_language_model_is_asked_once_more(source, tmp_path: Path):
    with LoopbackProvider(minded.answer) as server:
        options = {"mind": mind(server), "journal": tmp_path / "j.db", "run": "x"}
        (unscored,) = explain(source, [0], score=False, **options)
        asked = server.paid.total()
        (scored,) = explain(source, [0], **options)
        assert server.paid.total() == asked + 1
        said = scored.details["one_shot"]
        assert said["spent"]["calls"] == 1
        assert said["description"].startswith("It fires on")
        # Its cost is its own.
        assert scored.cost == unscored.cost
        assert scored.controls["one_shot"]["predictive_pearson"].value is not None
        assert explain(source, [0], **options)[0].as_json() == scored.as_json()
        assert server.paid.total() == asked + 1


def test_no_controls_asks_nothing(source, tmp_path: Path):
    with LoopbackProvider(minded.answer) as server:
        options = {"mind": mind(server), "journal": tmp_path / "j.db", "run": "x"}
        (result,) = explain(source, [0], controls=False, **options)
        assert "Account" not in {minded.step(call) for call in server.calls}
        assert not result.controlled
        assert set(result.controls.values()) == {None}
        assert all("without controls" in result.details[name]["why"] for name in result.controls)
        # They may be had later.
        (later,) = explain(source, [0], **options)
        assert later.controlled
        assert later.scores == result.scores
        assert later.controls["one_shot"]


@pytest.mark.parametrize(
    ("explainer", "why"),
    [("one-shot", "at once itself"), ("output-side", "what it responds to")],
)
def test_why_there_is_none(explainer: str, why: str):
    from sagescope.experiments.one_shot import why_none

    assert why in why_none({"explainer": explainer, "mind": "openai:x", "prompts": None}, None)
    sage = {"explainer": "sage", "mind": "openai:x", "prompts": None}
    assert why_none(sage, None) == ""
    assert "--prompts" in why_none({**sage, "prompts": "abc"}, None)
    assert why_none({**sage, "prompts": "abc"}, Path()) == ""
    assert "session" in why_none({**sage, "explainer": "session"}, None)


def test_a_control_that_fails_costs_no_score(source, tmp_path: Path, monkeypatch):
    haste = client.Patience(first=0.01, longest=0.02)
    monkeypatch.setattr(client, "Patience", lambda: haste)
    broken = True

    def script(call):
        return Failure(400) if broken and minded.step(call) == "Account" else minded.answer(call)

    with LoopbackProvider(script) as server, Journal.open(tmp_path / "j.db") as journal:
        options = {"mind": mind(server), "journal": journal, "run": "x"}
        (result,) = explain(source, [0], **options)
        assert result.scores["predictive_pearson"]
        assert result.controls["one_shot"] is None
        assert result.details["one_shot"]["why"]
        broken = False
        (mended,) = explain(source, [0], retry_failed=True, **options)
        assert mended.controls["one_shot"]
        assert results_of(journal.run("x"))[0].as_json() == mended.as_json()


def test_the_caps_of_the_run_hold(source, tmp_path: Path):
    """A control that the run's budget has no room for is left for a later session."""
    with LoopbackProvider(minded.answer) as server:
        options = {"mind": mind(server), "journal": tmp_path / "j.db", "run": "x"}
        (first,) = explain(source, [0], score=False, **options)
        cap = first.cost.calls
        (capped,) = explain(source, [0], run_budget=Budget.of_run(calls=cap), **options)
        assert server.paid.total() == cap
        assert capped.scores["predictive_pearson"]
        assert capped.controls["one_shot"] is None
        (later,) = explain(source, [0], **options)
        assert later.controls["one_shot"]
