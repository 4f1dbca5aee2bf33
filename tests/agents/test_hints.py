"""Hints: answers of other explainers as hypotheses of the loop, and what becomes of those that fail."""

import asyncio

import pytest

from sagescope.agents import explainers
from sagescope.agents.budget import Budget, Spending
from sagescope.agents.explainers import EXPLAINERS, Task, check, explainer_named, with_hints
from sagescope.agents.hints import Hint
from sagescope.agents.inside.answer import begun, nothing_found, stated
from sagescope.agents.inside.circuit_graph import CircuitGraph, GraphGroup
from sagescope.agents.loop import ProbeDesign, Proposal
from sagescope.agents.minds.choice import Mind
from sagescope.agents.rules.language import Clause, Rule, current
from sagescope.sae.errors import JournalError, MindError, SAEError, UnknownName

from .scripted import explain, scripted
from .sentences import on_words, source_of


def rule_on(word, level=1.0, unit=1.0):
    return Rule(clauses=(Clause(conditions=(current("word", word),), level=level),), unit=unit)


class Says:
    """An explainer that gives one word's rule, after as many texts as it is told to run."""

    def __init__(self, word, texts=0):
        self.word, self.texts, self.asked = word, texts, 0

    async def explain(self, task):
        self.asked += 1
        loop = begun(task)
        loop.add([Proposal("said", self.word, rule_on(self.word))])
        designs = [ProbeDesign(0, "tried", f"{self.word} {n}", True) for n in range(self.texts)]
        if designs:
            await loop.probe(designs)
        unit = loop.notebook.stats.typical_max
        return loop.conclusion(stated(rule_on(self.word, unit=unit), loop.notebook), "concluded")


class Fails:
    async def explain(self, task):
        raise SAEError("this SAE has no weights to read")


class Nothing:
    async def explain(self, task):
        loop = begun(task)
        found = nothing_found("nothing", "No token-level description.", loop.notebook)
        return loop.conclusion(found, "concluded")


class Stops:
    async def explain(self, task):
        raise JournalError("the disk is full")


@pytest.fixture
def inside(monkeypatch):
    """Explainers that may be hints, by name."""

    def put(**named):
        for name, explainer in named.items():
            monkeypatch.setitem(explainers.INSIDE, name, explainer)

    return put


class Log(dict):
    def find(self, explainer):
        return self.get(explainer)

    def keep(self, hint):
        self[hint.explainer] = hint


def concluded(name, source=None, budget=None, log=None, mind=None, recorded=None):
    recorded = [] if recorded is None else recorded
    task = Task(
        source or source_of(on_words("boat")),
        0,
        mind or Mind("rules"),
        Spending(budget or Budget()),
        0,
        lambda kind, *records: recorded.extend((kind, one) for one in records),
        hints=Log() if log is None else log,
    )
    return asyncio.run(explainer_named(name).explain(task))


def kinds(conclusion):
    return [one.kind for one in conclusion.hypotheses]


def test_a_hint_is_a_hypothesis_that_is_probed(inside):
    inside(says=Says("harbour"))
    found = concluded("sage+says")
    [hint] = [one for one in found.hypotheses if one.kind == "hint: says"]
    assert hint.round == 0
    assert any(probe.hypothesis == hint.id for probe in found.probes)
    assert {one.hypothesis for one in found.verdicts} >= {hint.id}


def test_the_better_hint_is_what_is_concluded(inside):
    """Without a mind's own proposals, the loop concludes with the hint, and says so."""
    inside(says=Says("boat"), other=Says("harbour"))
    mute = explainers.Sage(explainers.Ablation(hypotheses=0, refinement=False), ("says", "other"))
    task = Task(
        source_of(on_words("boat")), 0, Mind("rules"), Spending(Budget()), 0, lambda *_: None
    )
    found = asyncio.run(mute.explain(task))
    assert kinds(found) == ["hint: says", "hint: other"]
    assert found.explanation.hypothesis == 0
    assert "This is the hint of says." in found.explanation.notes


def test_language_models_get_hints_too(inside):
    """Where the model's own hypothesis is wrong, it can conclude with the hint."""
    inside(says=Says("boat"))
    wrong = {
        "kind": "semantic",
        "statement": "Cars.",
        "groups": [{"label": "cars", "words": ["window"]}],
    }
    shown = []

    def trials(call):
        shown.append(call.messages[-1].text)
        texts = [f"We saw boat {n}." for n in range(5)]
        probe = {"hypothesis": 1, "role": "positive", "fires": True}
        return {"probes": [{**probe, "text": text} for text in texts]}

    script = scripted(
        Proposals={"hypotheses": [wrong]},
        Trials=trials,
        Revisions={"hypotheses": []},
        Summary={"hypothesis": 1, "labels": ["boats"], "description": "boats"},
    )
    found, _ = explain(script, explainer=explainer_named("sage+says"))
    assert kinds(found) == ["semantic", "hint: says"]
    assert "boat" in shown[0]
    assert found.explanation.labels == ("boats",)
    assert "This is the hint of says." in found.explanation.notes
    assert found.verdicts[1].fires_as_predicted == (5, 5)


def test_what_fails_or_finds_nothing_is_a_note(inside):
    inside(fails=Fails(), nothing=Nothing())
    found = concluded("sage+fails+nothing")
    assert found.status == "concluded"
    assert not [kind for kind in kinds(found) if kind.startswith("hint")]
    notes = " ".join(found.explanation.notes)
    assert "hint of fails failed: SAEError: this SAE has no weights" in notes
    assert "hint of nothing: No token-level description." in notes
    plain = concluded("sage")
    assert plain.explanation.rule == found.explanation.rule


def test_what_stops_a_run_is_no_note(inside):
    inside(stops=Stops())
    with pytest.raises(JournalError):
        concluded("sage+stops")


def test_hints_take_a_part_of_the_probes_and_no_more(inside):
    says = Says("boat", texts=30)
    inside(says=says)
    log = Log()
    found = concluded("sage+says", budget=Budget(probes=40), log=log)
    assert log["says"].probes == 10
    assert "BudgetExhausted" in log["says"].why
    assert found.spent["probes"] <= 40


GRAPH = CircuitGraph(groups=(GraphGroup(label="boats", samples=1, pre_activation=1.0, nodes=()),))


class Draws(Says):
    """Finds an attribution graph too, as circuitlens does."""

    async def explain(self, task):
        task.record("circuit", GRAPH)
        return await super().explain(task)


def test_without_a_cap_on_probes_hints_have_none(inside):
    inside(says=Says("boat", texts=3))
    log = Log()
    found = concluded("sage+says", budget=Budget(probes=None, rounds=1), log=log)
    assert not log["says"].why
    assert found.spent["probes"] >= log["says"].probes > 0


def test_the_graph_of_a_hint_is_recorded_in_each_attempt(inside):
    draws, log = Draws("harbour"), Log()
    inside(draws=draws)
    for _ in range(2):  # the second hears what was kept
        recorded = []
        concluded("sage+draws", log=log, recorded=recorded)
        assert [one for kind, one in recorded if kind == "circuit"] == [GRAPH]
        # Nothing else of what the hint did is the loop's.
        texts = [one.text for kind, one in recorded if kind == "hypothesis"]
        assert texts.count("harbour") <= 1
    assert draws.asked == 1


class Capped(Says):
    """Keeps the caps that it was given."""

    async def explain(self, task):
        self.caps = task.spending.budget
        return await super().explain(task)


def test_hints_take_a_part_of_the_seconds_and_no_more(inside):
    first, second = Capped("boat"), Capped("harbour")
    inside(first=first, second=second)
    concluded("sage+first+second", budget=Budget(seconds=8000))
    assert 999 < first.caps.seconds <= 1000
    assert 1000 < second.caps.seconds <= 2000
    concluded("sage+first", budget=Budget())
    assert first.caps.seconds is None


def test_what_is_kept_is_not_asked_again(inside):
    says = Says("harbour", texts=4)
    inside(says=says)
    log = Log()
    first = concluded("sage+says", log=log)
    again = concluded("sage+says", log=log)
    assert says.asked == 1
    assert isinstance(log["says"], Hint)
    assert first.model_dump(exclude={"spent"}) == again.model_dump(exclude={"spent"})
    assert first.spent["probes"] == again.spent["probes"]


def test_what_the_mind_says_itself_is_not_probed_twice(inside):
    own = concluded("sage:no-probes").explanation.rule

    class Echo:
        async def explain(self, task):
            loop = begun(task)
            return loop.conclusion(stated(own, loop.notebook), "concluded")

    inside(echo=Echo())
    found = concluded("sage:no-probes+echo")
    assert not [kind for kind in kinds(found) if kind.startswith("hint")]
    assert any("proposed already" in note for note in found.explanation.notes)


def test_names():
    assert with_hints("sage", ()) == "sage"
    name = with_hints("sage", ["attribution", "weightlens", "attribution"])
    assert name == with_hints("sage+attribution", ["weightlens"]) == "sage+weightlens+attribution"
    check(name, Mind("rules"))
    assert explainer_named("sage") is EXPLAINERS["sage"]
    with pytest.raises(UnknownName, match="weightlens"):
        with_hints("sage", ["weightlense"])
    with pytest.raises(UnknownName):
        explainer_named("sages+weightlens")
    with pytest.raises(MindError, match="hypotheses for the loop"):
        with_hints("output-side", ["weightlens"])
    with pytest.raises(MindError, match="needs a language model"):
        check("sage:model-verdicts+weightlens", Mind("rules"))
