"""A language model in the loop, driven by a script over a real socket and the official package."""

import random
import re

import numpy as np
import pytest

from sagescope.agents.budget import Budget
from sagescope.agents.explainers import EXPLAINERS
from sagescope.experiments.loopback import Failure, Refusal, Text
from sagescope.sae.source import FunctionSource

from ..scripted import BOATS, explain, scripted, step
from ..sentences import on_words, source_of

WRONG = {
    "kind": "semantic",
    "statement": "Fires on cars.",
    "groups": [{"label": "cars", "level": "strong", "words": ["window"]}],
}


GOOD = {
    "Proposals": {"hypotheses": [WRONG, BOATS]},
    "Trials": {
        "probes": [
            {"hypothesis": 1, "role": "positive", "text": f"We saw boat {i}.", "fires": True}
            for i in range(5)
        ]
        + [
            {"hypothesis": 1, "role": "near miss", "text": f"We saw car {i}.", "fires": False}
            for i in range(5)
        ]
        + [{"hypothesis": 0, "role": "positive", "text": "A car came.", "fires": True}],
    },
    "Revisions": {"hypotheses": []},
    "Summary": {"hypothesis": 1, "labels": ["boats"], "description": "boats and nothing else"},
}


def test_a_whole_explanation():
    conclusion, server = explain(scripted(**GOOD))
    assert conclusion.status == "concluded"
    assert conclusion.explanation.labels == ("boats",)
    assert conclusion.explanation.verdict == "confirmed"
    assert conclusion.explanation.coverage == pytest.approx(1.0)
    assert conclusion.verdicts[1].fires_as_predicted == (5, 5)
    assert conclusion.verdicts[0].status == "refuted"
    assert conclusion.spent["calls"] == len(server.calls) == 4
    assert conclusion.spent["tokens"] < 40_000


@pytest.mark.parametrize(
    "mind", ["sage", *(name for name in EXPLAINERS if name.startswith("sage:"))]
)
def test_every_ablation_comes_to_a_conclusion(mind):
    judged = {f"Judged{form}": {**GOOD[form], "verdicts": []} for form in ("Revisions", "Summary")}
    conclusion, _ = explain(scripted(**GOOD, **judged), explainer=mind)
    assert conclusion.status == "concluded"
    if mind == "sage:no-probes":
        assert not conclusion.probes
    if mind == "sage:no-negatives":
        assert all(probe.fires for probe in conclusion.probes)
    if mind == "sage:random-probes":
        assert {probe.purpose for probe in conclusion.probes} == {"random text"}


def test_the_models_own_word_stands_beside_the_measured_verdict():
    """It calls confirmed what the probes refute; in this ablation its word keeps that alive."""
    words = [{"hypothesis": 0, "status": "confirmed"}, {"hypothesis": 1, "status": "refuted"},
             {"hypothesis": 9, "status": "open"}]  # fmt: skip
    answers = {
        **GOOD,
        "JudgedRevisions": {"hypotheses": [], "verdicts": words},
        "JudgedSummary": {**GOOD["Summary"], "hypothesis": 0, "verdicts": words},
    }
    conclusion, _ = explain(scripted(**answers), explainer="sage:model-verdicts")
    assert [one.said for one in conclusion.verdicts] == ["confirmed", "refuted"]
    assert [one.status for one in conclusion.verdicts] == ["refuted", "confirmed"]
    explanation = conclusion.explanation
    assert (explanation.said, explanation.verdict) == ("confirmed", "refuted")
    assert explanation.counts.fires_as_predicted == (0, 1)
    plain, _ = explain(scripted(**GOOD))
    assert {one.said for one in plain.verdicts} == {plain.explanation.said} == {None}


def test_revisions_count_only_where_they_are_better():
    """A revision that covers more is taken up, one that covers less is not."""
    better = {**BOATS, "replaces": 0, "groups": [{"label": "boats", "words": ["boat", "clock"]}]}
    worse = {**WRONG, "replaces": 0}
    feature = on_words("boat", "clock")
    for revision, taken in ((better, True), (worse, False)):
        answers = {**GOOD, "Proposals": {"hypotheses": [BOATS]}}
        answers["Revisions"] = lambda call, r=revision: {"hypotheses": [r]}
        conclusion, _ = explain(scripted(**answers), feature=feature)
        assert (len(conclusion.hypotheses) == 2) == taken
        assert conclusion.verdicts[0].replaced == taken


def test_it_is_shown_what_its_sketch_misses():
    asked = []

    def revisions(call):
        asked.append(call.messages[-1].text)
        return {"hypotheses": []}

    answers = {**GOOD, "Proposals": {"hypotheses": [BOATS]}, "Revisions": revisions}
    explain(scripted(**answers), feature=on_words("boat", "clock"))
    missed = asked[0].split("is not foreseen")[1]
    assert re.search(r'"clock": \d+\.\d %, (\d+)/\1, strong; "', missed, re.I)


@pytest.mark.parametrize(
    ("form", "says"), [("Trials", "design step"), ("Revisions", "refine step"), ("Summary", None)]
)
@pytest.mark.parametrize("answer", [Refusal(), Text(""), Text("not JSON"), {"wrong": 1}])
def test_a_step_that_fails_is_noted_and_the_rest_goes_on(form, says, answer):
    conclusion, _ = explain(scripted(**{**GOOD, form: answer}))
    assert conclusion.status == "concluded"
    assert conclusion.explanation.rule
    if form == "Revisions" and answer == {"wrong": 1}:
        return  # fields that it adds are left aside, and no revision is an answer
    notes = " ".join(conclusion.explanation.notes)
    assert (says or "as it stood") in notes


def test_what_a_reply_claims_of_activations_changes_no_verdict():
    claims = {**GOOD["Trials"]}
    claims["probes"] = [
        {**one, "activation": 9.9, "verdict": "confirmed", "hypothesis": 0, "fires": True}
        for one in claims["probes"][:4]
    ]
    boats_are_not_cars, _ = explain(scripted(**{**GOOD, "Trials": claims}))
    assert boats_are_not_cars.verdicts[1].status == "untested"
    assert boats_are_not_cars.verdicts[0].fires_as_predicted == (4, 4)


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_the_last_call_is_kept_for_the_conclusion(calls):
    conclusion, server = explain(scripted(**GOOD), budget=Budget(calls=calls))
    assert conclusion.status == "out_of_budget"
    assert len(server.calls) <= calls
    if calls > 1:
        assert conclusion.explanation.labels == ("boats",)


def test_no_hypothesis_is_a_failure_of_that_feature():
    from sagescope.sae.errors import ReplyError

    with pytest.raises(ReplyError, match="refused"):
        explain(scripted(**{**GOOD, "Proposals": Refusal()}))


def test_a_provider_that_is_down_is_said():
    from sagescope.sae.errors import ProviderError

    with pytest.raises(ProviderError):
        explain(scripted(**{"*": Failure(401)}))


def test_words_without_a_sketch_are_judged_on_a_sample():
    """The judge sees no activations; where it errs is shown to the next step."""
    in_words = {"kind": "semantic", "statement": "Things that float.", "groups": []}
    asked, shown = [], []

    def grades(call):
        asked.append(call.messages[-1].text)
        lines = re.findall(r"^(\d+): (.*)$", asked[-1], re.M)
        return {"grades": [{"window": int(n), "expected": 9 * ("river" in t)} for n, t in lines]}

    def revisions(call):
        shown.append(call.messages[-1].text)
        return {"hypotheses": []}

    answers = {"Proposals": {"hypotheses": [in_words]}, "Grades": grades, "Revisions": revisions}
    conclusion, _ = explain(scripted(**{**GOOD, **answers}))
    assert conclusion.explanation.rule is None
    assert "[[" not in asked[0]
    assert "H0 has no sketch" in shown[0]
    wrongly = shown[0].split("Graded wrongly")[1]
    assert re.search(r"^0, \d+: .*\[\[boat\|\d+\]\]", wrongly, re.M)


def test_what_the_judge_sees_does_not_give_the_answer_away():
    """Firing and silent stretches are cut alike: neither length nor place tells them apart."""
    from sagescope.agents.budget import Spending
    from sagescope.agents.loop import Investigation
    from sagescope.agents.minds import judge

    def rare(text):
        return [(word, 3.0 if word == "boat" else 0.0) for word in re.findall(r"\S+", text)]

    draw = random.Random(0)
    plain = [f"word{n}" for n in range(50)]
    texts = []
    for number in range(400):
        words = draw.choices(plain, k=100)
        if number % 3 == 0:
            words[draw.randrange(100)] = "boat"
        texts.append(" ".join(words))
    source = FunctionSource(lambda text, feature: rare(text), 1, texts)
    lengths, places = {True: set(), False: set()}, []
    for seed in range(20):
        loop = Investigation(
            source, 0, None, spending=Spending(Budget()), seed=seed, record=lambda *_: None
        )
        windows = judge.sample(loop.notebook)
        for one in windows:
            lengths[bool(one.activations.any())].add(len(one.tokens))
            if one.activations.any():
                places.append(one.peak)
        shown = judge.plain(windows)
        fires = [bool(one.activations.any()) for one in windows]
        assert [("boat" in text) for text in shown] == fires  # the trigger is always in sight
        assert {True, False} == set(fires)
    assert lengths[True] == lengths[False] == {judge.SHOWN}
    thirds = np.histogram(places, 3, (0, judge.SHOWN))[0]
    assert thirds.min() > len(places) / 6


def test_a_conclusion_that_names_no_hypothesis_changes_nothing():
    wrong = {"hypothesis": 77, "labels": ["cars"], "description": "cars"}
    conclusion, _ = explain(scripted(**{**GOOD, "Summary": wrong}))
    assert conclusion.explanation.hypothesis == 1  # the leader
    assert "cars" not in conclusion.explanation.labels
    assert any("names hypothesis 77" in note for note in conclusion.explanation.notes)


def test_words_that_say_nothing_are_sent_back():
    blank = {"hypothesis": 0, "labels": [" "], "description": "  "}
    conclusion, server = explain(scripted(**{**GOOD, "Summary": blank}))
    assert sum(step(call) == "Summary" for call in server.calls) == 2
    assert all(label.strip() for label in conclusion.explanation.labels)
    assert conclusion.explanation.description.strip()


def test_letters_are_spelled_as_they_are():
    claim = {**BOATS, "statement": "Boats & <ships> that don't float: café."}
    seen = []

    def trials(call):
        seen.append(call.messages[-1].text)
        return GOOD["Trials"]

    answers = {**GOOD, "Proposals": {"hypotheses": [claim]}, "Trials": trials}
    explain(scripted(**answers))
    assert '"Boats & <ships> that don\'t float: café."' in seen[0]


def test_what_names_no_hypothesis_is_told():
    strayed = {
        **GOOD,
        "Trials": {"probes": [{**trial, "hypothesis": 7} for trial in GOOD["Trials"]["probes"]]},
        "Summary": {"hypothesis": 7, "labels": ["cars", "cars"], "description": "cars"},
    }
    conclusion, _ = explain(scripted(**strayed))
    notes = " ".join(conclusion.explanation.notes)
    assert "none of its 11 is new" in notes
    assert "names hypothesis 7, which does not stand" in notes
    assert conclusion.probes
    assert conclusion.explanation.hypothesis == 1
    assert conclusion.explanation.labels == ("boats",)


def test_the_model_is_told_of_a_feature_that_cannot_be_told_from_its_own():
    both = source_of(on_words("boat"), on_words("boat", level=1.0))
    conclusion, server = explain(scripted(**GOOD), source=both)
    prompts = {step(call): call.body["messages"][-1]["content"] for call in server.calls}
    line = "Cannot be told apart from feature 1 on this corpus"
    assert prompts["Proposals"].count(line) == 1
    assert line in conclusion.explanation.notes[-1]
    alone, server = explain(scripted(**GOOD))
    assert not any(line in str(call.body) for call in server.calls)
    assert not any(line in note for note in alone.explanation.notes)
