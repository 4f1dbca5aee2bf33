"""Each thing that an explanation names has its level, its share of activation, and its own tests."""

import asyncio

import pytest

from sagescope.agents.budget import Budget, Spending
from sagescope.agents.explainers import EXPLAINERS, Task
from sagescope.agents.minds.choice import Mind

from .scripted import explain, scripted
from .sentences import source_of

GROUPS = [
    {"label": "boats", "level": "weak", "words": ["boat"]},
    {"label": "clocks", "level": "strong", "words": ["clock"]},
    {"label": "rivers", "level": "strong", "words": ["river"]},
]
CLAIM = {"kind": "two unrelated things", "statement": "Boats, and clocks.", "groups": GROUPS}


def boats_and_clocks(tokens, place):
    """Strong on clocks, weaker on boats; it has nothing to do with rivers."""
    return {"clock": 3.0, "boat": 1.0}.get(tokens[place].strip().casefold(), 0.0)


def trial(text, fires, **more):
    return {"hypothesis": 0, "role": "positive", "text": text, "fires": fires, **more}


def ended(probes, labels, **changed):
    """What `sage` concludes with these probes and labels."""
    answers = {
        "Proposals": {"hypotheses": [CLAIM]},
        "Trials": {"probes": probes},
        "Revisions": {"hypotheses": []},
        "Summary": {"hypothesis": 0, "labels": labels, "description": "boats, and clocks"},
        **changed,
    }
    conclusion, server = explain(scripted(**answers), feature=boats_and_clocks)
    return conclusion, server


OWN = [
    trial("We saw the boat there.", True, group="boats"),
    trial("He sold the boat there.", True, group="boats"),
    trial("We saw the boats there.", False, group="boats"),
    trial("He saw the clock there.", True, group="clocks"),
    trial("She saw the clocks there.", False, group="clocks"),
    trial("He saw the river there.", True, group="rivers"),
    trial("He saw the rivers there.", False, group="rivers"),
]


def test_each_label_has_its_level_its_share_and_its_own_tests():
    conclusion, _ = ended(OWN, ["boats", "clocks", "rivers"])
    found = {group.label: group for group in conclusion.explanation.groups}
    assert list(found) == ["clocks", "boats", "rivers"], "most activation first"
    assert conclusion.explanation.labels == tuple(found)
    assert sum(group.coverage for group in found.values()) == pytest.approx(1.0)
    assert found["clocks"].coverage == pytest.approx(3 * found["boats"].coverage, rel=0.3)
    assert found["clocks"].level > 2 * found["boats"].level > 0
    assert found["boats"].fires_as_predicted == (2, 2)
    assert found["boats"].silent_as_predicted == (1, 1)
    assert found["clocks"].fires_as_predicted == (1, 1)
    assert found["rivers"].fires_as_predicted == (0, 1)
    assert found["rivers"].status == "refuted"
    assert found["rivers"].coverage == 0.0
    assert [found[name].probes for name in found] == [(3, 4), (0, 1, 2), (5, 6)]
    assert conclusion.explanation.counts.fires_as_predicted == (3, 4)
    assert len(conclusion.probes) == len(OWN), "where each has tests, none are added"


def test_without_a_name_a_probe_tests_the_group_that_predicts_it_and_its_near_miss_too():
    named = [{**one, "group": ""} for one in OWN]
    for place in (2, 4, 6):
        named[place]["pair"] = place - 1
    conclusion, _ = ended(named, ["boats", "clocks", "rivers"])
    probes = {group.label: set(group.probes) for group in conclusion.explanation.groups}
    assert probes["boats"] >= {0, 1, 2}
    assert probes["clocks"] >= {3, 4}
    assert probes["rivers"] >= {5, 6}


def test_a_group_that_the_mind_forgets_is_tested_all_the_same():
    conclusion, _ = ended(OWN[:5], ["boats", "clocks", "rivers"])
    rivers = conclusion.explanation.groups[-1]
    assert rivers.label == "rivers"
    assert rivers.fires_as_predicted[1] > 0
    assert rivers.silent_as_predicted[1] > 0
    assert rivers.status == "refuted"


def test_a_label_may_stand_for_several_groups():
    labels = [{"label": "time", "groups": [0]}, {"label": "water", "groups": [1, 2]}]
    conclusion, server = ended(OWN, labels)
    assert '"clocks"' in server.calls[-1].messages[-1].text.split("group 0 ")[1].splitlines()[0]
    time, water = conclusion.explanation.groups
    assert (time.label, water.label) == conclusion.explanation.labels == ("time", "water")
    assert time.probes == (3, 4)
    assert water.probes == (0, 1, 2, 5, 6)
    assert water.fires_as_predicted == (2, 3)
    labels[1]["groups"] = [1, 99]
    conclusion, _ = ended(OWN, labels)
    assert [group.label for group in conclusion.explanation.groups] == ["time", "water", "rivers"]


def test_in_words_alone_labels_have_tests_and_no_share():
    claim = {**CLAIM, "groups": []}
    conclusion, _ = ended(
        OWN,
        ["boats", "clocks"],
        Proposals={"hypotheses": [claim]},
        Grades={"grades": []},
    )
    boats, clocks = conclusion.explanation.groups
    assert boats.coverage is boats.level is None
    assert boats.fires_as_predicted == (2, 2)
    assert clocks.probes == (3, 4)


def test_the_rule_miner_tests_each_clause():
    source = source_of(boats_and_clocks)
    task = Task(source, 0, Mind("rules"), Spending(Budget()), 0, lambda kind, payload: None)
    explanation = asyncio.run(EXPLAINERS["sage"].explain(task)).explanation
    assert [group.label for group in explanation.groups] == list(explanation.labels)
    assert "clock" in explanation.labels[0]
    assert "boat" in explanation.labels[1]
    assert sum(group.coverage for group in explanation.groups) == pytest.approx(1.0)
    for group in explanation.groups:
        assert group.fires_as_predicted[1] > 0, group
        assert set(group.probes) <= set(range(200))
