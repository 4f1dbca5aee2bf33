"""The explainer circuitlens: on circuits that are planted, and on sources that have none."""

import asyncio

import numpy as np
import pytest

from sagescope.agents.budget import Budget, Spending
from sagescope.agents.inside.circuit_graph import CircuitGraph
from sagescope.agents.inside.circuitlens import CircuitLens
from sagescope.agents.inside.contributors import drawn
from sagescope.agents.minds.choice import Mind
from sagescope.agents.task import Task
from sagescope.sae.errors import SAEError
from sagescope.sae.inside.circuits import Attribution, PromotedHere
from sagescope.sae.outputs import TokenWeight
from sagescope.sae.source import FunctionSource

FILLER = [
    "the",
    "small",
    "house",
    "near",
    "old",
    "water",
    "was",
    "quiet",
    "while",
    "people",
    "went",
    "home",
    "again",
]


def corpus(n: int = 240) -> list[str]:
    draw = np.random.default_rng(7)
    texts = []
    for number in range(n):
        words = list(draw.choice(FILLER, 24))
        for _ in range(2):
            words[int(draw.integers(2, 12))] = str(draw.choice(["maple", "bank", "copper"]))
        if number % 2:
            words[13] = "river"
        words[int(draw.integers(14, 21))] = "bank"
        texts.append(" ".join(words))
    return texts


def activation(words: list[str], place: int) -> float:
    """Fires on “maple” by itself, and on “bank” where “river” stands before it."""
    if words[place] == "maple":
        return 2.0
    return 3.0 if words[place] == "bank" and "river" in words[:place] else 0.0


def planted(text: str, feature: int) -> list[tuple[str, float]]:
    words = text.split(" ")
    return [(word, activation(words, place)) for place, word in enumerate(words)]


class PlantedCircuits:
    """“maple” comes through neurons of its own, “bank” through a head that reads “river”."""

    def __init__(self) -> None:
        self.draw = np.random.default_rng(0)

    async def attributed(self, feature, texts, places):
        return [self._one(text, place) for text, place in zip(texts, places, strict=True)]

    def _one(self, text: str, place: int) -> Attribution:
        words = text.split(" ")
        tokens = ("", *[word if not n else " " + word for n, word in enumerate(words)][: place + 1])
        value = activation(words, place)
        heads = np.zeros((2, 3, len(tokens)), np.float32)
        neurons = np.zeros((2, 40), np.float32)
        of = 0 if words[place] == "maple" else 10
        used = [of + n for n in range(8) if self.draw.random() < 0.8]
        noise = self.draw.choice(np.arange(20, 40), 3)
        neurons[0, used] = 0.1
        neurons[1, noise] = 0.05
        if of:
            heads[1, 2, words.index("river") + 1] = 1.0
        rest = value - float(heads.sum() + neurons.sum())
        return Attribution(tokens, True, value, value, 0.0, 0.0, heads, neurons, (), rest)

    async def promoted_here(self, feature, texts, places, n=10):
        return PromotedHere((TokenWeight(" loan", 1, 0.5),), (TokenWeight(" tree", 2, -0.5),))


def task_on(source, recorded, spending=None) -> Task:
    return Task(
        source, 0, Mind("rules"), spending or Spending(Budget()), 0,
        lambda kind, *records: recorded.extend((kind, one) for one in records),
    )  # fmt: skip


@pytest.fixture(scope="module")
def explained():
    source = FunctionSource(planted, 1, corpus())
    source.circuits = PlantedCircuits()
    recorded = []
    return asyncio.run(CircuitLens().explain(task_on(source, recorded))), recorded


def test_two_mechanisms_get_a_clause_each(explained):
    conclusion, _ = explained
    explanation = conclusion.explanation
    assert conclusion.status == "concluded"
    assert len(explanation.rule.clauses) == len(explanation.groups) == 2
    labels = " / ".join(explanation.labels)
    assert "maple" in labels
    assert "bank" in labels
    assert "river" in labels
    assert explanation.coverage > 0.95


def test_the_rule_that_it_states_predicts_the_feature(explained):
    from sagescope.agents.rules.match import predict

    rule = explained[0].explanation.rule
    draw = ["the river and the bank", "the bank and the river", "a maple by the house"]
    texts = [[w if not n else " " + w for n, w in enumerate(text.split())] for text in draw]
    fires = [bool((one > 0.2 * rule.unit).any()) for one in predict(rule, texts)]
    assert fires == [True, False, True]


def test_the_graph_adds_up_and_names_what_the_head_reads(explained):
    (graph,) = [record for kind, record in explained[1] if kind == "circuit"]
    assert isinstance(graph, CircuitGraph)
    assert len(graph.groups) == 2
    for group in graph.groups:
        total = sum(node.value for node in group.nodes)
        assert total == pytest.approx(group.pre_activation, abs=1e-9)
        assert [one.token for one in group.promoted] == [" loan"]
    heads = [node for group in graph.groups for node in group.nodes if node.kind == "head"]
    assert [node.name for node in heads] == ["head 1.2"]
    assert "“river”" in heads[0].detail


class CountedCircuits(PlantedCircuits):
    """Counts the texts that are run. Each pass takes so many seconds of a feature's spending."""

    def __init__(self, spending: Spending, takes: float):
        super().__init__()
        self.spending, self.takes, self.passes = spending, takes, []

    async def attributed(self, feature, texts, places):
        self.passes.append(len(texts))
        self.spending.started -= self.takes
        return await super().attributed(feature, texts, places)


def explained_within(budget, takes=0.0):
    source = FunctionSource(planted, 1, corpus())
    spending, recorded = Spending(budget), []
    source.circuits = CountedCircuits(spending, takes)
    conclusion = asyncio.run(CircuitLens().explain(task_on(source, recorded, spending)))
    return conclusion, source.circuits.passes, recorded


def test_each_text_that_is_run_again_is_a_probe():
    conclusion, passes, _ = explained_within(Budget())
    assert conclusion.status == "concluded"
    assert conclusion.spent["probes"] == sum(passes) == 100


def test_a_budget_of_probes_is_kept():
    conclusion, passes, _ = explained_within(Budget(probes=40))
    assert conclusion.status == "out_of_budget"
    assert conclusion.spent["probes"] == sum(passes) == 40
    assert len(conclusion.explanation.groups) == 2  # fewer samples tell both mechanisms too
    assert any("after 40 of 100 places" in note for note in conclusion.explanation.notes)


def test_without_a_probe_nothing_runs():
    conclusion, passes, _ = explained_within(Budget(probes=0))
    assert conclusion.status == "out_of_budget"
    assert passes == []
    assert "budget" in conclusion.explanation.description


def test_the_seconds_end_it_with_what_it_has():
    """The second pass ends the time there is: nothing more runs, and what it has is recorded."""
    conclusion, passes, recorded = explained_within(Budget(seconds=1e4), takes=6e3)
    assert conclusion.status == "out_of_budget"
    assert len(passes) == 2
    assert conclusion.spent["probes"] == sum(passes) < 100
    ((kind, graph),) = recorded
    assert kind == "circuit"
    assert sum(group.samples for group in graph.groups) == sum(passes)


def test_a_source_without_circuits_says_what_to_use_instead():
    with pytest.raises(SAEError, match="activations alone"):
        asyncio.run(CircuitLens().explain(task_on(FunctionSource(planted, 1, corpus()), [])))


def test_a_feature_that_never_fires_has_no_circuit():
    source = FunctionSource(lambda text, feature: [(w, 0.0) for w in text.split(" ")], 1, corpus())
    source.circuits = PlantedCircuits()
    explanation = asyncio.run(CircuitLens().explain(task_on(source, []))).explanation
    assert explanation.labels == ("no circuit",)
    assert explanation.coverage == 0.0


def test_places_are_drawn_over_the_whole_range():
    """Of a feature whose strong activations are rare, weak and strong ones are both among them."""

    def rare(text, feature):
        own = np.random.default_rng(list(text.encode()))
        return [(word, float(own.exponential())) for word in text.split(" ")]

    source = FunctionSource(rare, 1, corpus())
    split = source.evidence.reader("explainer").split("explain")
    values = split.activations(0)
    chosen = np.array([one.token for one in drawn(split, 0, 100)])
    top = values >= values.max() / 2
    assert top.mean() < 0.05
    assert top[chosen].mean() > 5 * top.mean()
    assert len(np.unique(chosen)) == 100
