"""Results: the contract that other programs rely on, held literally."""

import json
from typing import Any

import numpy as np
import pytest

from sagescope.experiments import Journal, Result, explain
from sagescope.experiments.results import result_of, results_of
from sagescope.experiments.scoring import CONTROL_NAMES
from sagescope.sae.errors import JournalError, RuleError

SCORES = ["predictive_pearson", "predictive_auprc", "generative", "boundary", "input"]

#: An end of an interval is null where there is none.
END = frozenset({float, type(None)})
SCORE = {"value": float, "low": END, "high": END, "n": int}

#: The contract, word for word. Later versions add keys; none of these goes away or changes.
CONTRACT: dict[str, Any] = {
    "feature": str,
    "stratum": ("lexical", "contextual"),
    "status": ("concluded", "out_of_budget", "failed"),
    "explanation": {"labels": list, "description": str, "rule": dict},
    "scores": {name: SCORE for name in SCORES},
    "controls": {
        control: {name: SCORE for name in SCORES}
        for control in ("random_explanation", "single_token", "token_lookup", "one_shot")
    },
    "cost": {"calls": int, "tokens": int, "probes": int, "seconds": float},
    "explainer": str,
    "mind": str,
    "run": str,
    "seed": int,
    "controlled": bool,
    "blind": dict,
}


def assert_holds(found: Any, contract: Any) -> None:
    if isinstance(contract, dict):
        assert isinstance(found, dict)
        assert list(contract) == [key for key in found if key in contract], "a key or its place"
        for key, part in contract.items():
            assert_holds(found[key], part)
    elif isinstance(contract, tuple):
        assert found in contract
    elif isinstance(contract, frozenset):
        assert type(found) in contract
    else:
        assert type(found) is contract


@pytest.fixture
def results(source) -> list[Result]:
    return explain(source, [0, 1])


def test_the_contract(results: list[Result]):
    for result in results:
        line = result.as_json()
        assert "\n" not in line
        assert line.isascii()
        assert_holds(json.loads(line), CONTRACT)


def test_the_contract_where_there_is_no_rule_no_score_and_no_control(source, monkeypatch):
    from sagescope.agents.explainers import EXPLAINERS
    from sagescope.agents.records import Conclusion, Explanation

    class Wordy:
        async def explain(self, *args: Any, **options: Any) -> Conclusion:
            explanation = Explanation(labels=("x",), description="Nobody knows.")
            return Conclusion(status="out_of_budget", explanation=explanation)

    monkeypatch.setitem(EXPLAINERS, "wordy", Wordy())
    (result,) = explain(source, [0], explainer="wordy", score=False)
    found = json.loads(result.as_json())
    assert found["explanation"]["rule"] is None
    assert found["scores"] == dict.fromkeys(SCORES)
    assert found["controls"] == dict.fromkeys(CONTROL_NAMES)
    assert found["status"] == "out_of_budget"
    assert found["cost"] == {**found["cost"], "calls": 0, "tokens": 0, "probes": 0}
    with pytest.raises(RuleError, match=r"has no executable rule.*Nobody knows"):
        result.explanation.predict(["x"])


def test_names_and_costs(results: list[Result]):
    assert [result.feature for result in results] == ["function/planted/0", "function/planted/1"]
    assert [result.index for result in results] == [0, 1]
    assert results[0].cost.probes > 0
    assert results[0].cost.seconds > 0


def test_what_lies_behind_the_scores(results: list[Result]):
    details = results[0].details["explanation"]
    assert details["mixture"]["tokens"] > 0
    assert len(details["recall_by_quantile"]) == 7
    assert details["failed"].items() >= {"generative": 0.0, "boundary": 0.0}.items()
    assert details["simulator"] == "rule"


def test_predicting_in_the_units_of_the_feature(source, results: list[Result]):
    explanation = results[0].explanation
    one, empty = explanation.predict(["she saw the bank.", ""])
    assert one.tokens == ("she", " saw", " the", " bank", ".")
    assert one.activations.dtype == np.float32
    assert explanation.rule is not None
    assert one.activations.argmax() == 3
    assert one.maximum == pytest.approx(explanation.rule.unit, rel=0.5)
    assert empty.tokens == ()
    assert explanation.predict([]) == []


def test_one_text_is_not_a_list_of_texts(results: list[Result]):
    with pytest.raises(TypeError, match="a list of texts"):
        results[0].explanation.predict("the bank")


def test_results_read_back_need_a_source_to_predict(source):
    with Journal.open(None) as journal:
        explain(source, [0], journal=journal, run="x", score=False)
        (back,) = results_of(journal.run("x"))
        with pytest.raises(RuleError, match="pass one"):
            back.explanation.predict(["the bank"])
        assert back.explanation.predict(["the bank"], source)[0].maximum > 0
        (bound,) = results_of(journal.run("x"), source)
        assert bound.explanation.predict(["the bank"])[0].maximum > 0
        assert result_of(journal.run("x"), 3) is None


def test_a_payload_that_makes_no_sense(source):
    with Journal.open(None) as journal:
        explain(source, [0], journal=journal, run="x", score=False)
        config = journal.run("x").config
        with journal.begin("x", config) as run:
            run.write("concluded", {"conclusion": {"status": "fine"}}, 0)
        with pytest.raises(
            JournalError, match=r"feature 0 of the run 'x' of the journal .* is damaged"
        ):
            results_of(journal.run("x"))


def test_what_was_scored_stands_whatever_fails_later():
    from sagescope.experiments.results import with_scores

    made = {"of": "explanation", "scorers": ["predictive"], "scores": {"x": {}}, "details": {}}
    failed = {"of": "explanation", "simulator": "judge", "why": "KeyRefused: no key"}
    assert with_scores(made, failed) == made
    assert with_scores(None, failed) == failed
    paid = {**failed, "cost": {"calls": 1, "tokens": 9, "cost": 0.0, "unpriced": 1}}
    assert with_scores(made, paid)["cost"]["calls"] == 1
