"""Attention rules on a planted head whose rules are known, through a real model and its SAE."""

import asyncio

import numpy as np
import pytest

from sagescope.agents.budget import Budget, Spending
from sagescope.agents.explainers import EXPLAINERS, Task
from sagescope.agents.inside.skip_grams import Fit, Judged, unigram
from sagescope.agents.minds.choice import Mind
from sagescope.agents.rules.match import Matcher
from sagescope.sae.corpus import corpus_of
from sagescope.sae.encoder import LatentReader
from sagescope.sae.loading import load_sae
from sagescope.sae.model_source import ModelSource
from sagescope.sae.on_demand import EvidenceOnDemand
from sagescope.sae.subject import SubjectModel

from . import planted_head
from .planted_head import Plant, word

SKIP_GRAM = Plant(keys=(3, 11, 24, 37, 52), queries=(60, 71), distractor=45)
COUNT = Plant(plus=(5,), minus=(9,), threshold=1.1)
SEEDS = (0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2)))


@pytest.fixture(scope="module")
def open_plant(tmp_path_factory):
    opened = {}

    def make(plant, seed, n=3000, **how):
        if (plant, seed) not in opened:
            folder = tmp_path_factory.mktemp("planted")
            model, sae = planted_head.save(folder, plant, seed)
            subject = SubjectModel.load(str(model), dtype="float32")
            reader = LatentReader(subject, load_sae(str(sae)))
            corpus = corpus_of(planted_head.texts(plant, n, seed + 100, **how))
            evidence = EvidenceOnDemand(reader, corpus, 1_000_000, folder / "evidence", False)
            opened[plant, seed] = ModelSource(reader, evidence)
        return opened[plant, seed]

    yield make
    for source in opened.values():
        source.close()


def explained(source, feature=0, budget=None):
    task = Task(source, feature, Mind("rules"), Spending(budget or Budget()), 0, lambda *_: None)
    return asyncio.run(EXPLAINERS["attention-rules"].explain(task))


@pytest.fixture(scope="module")
def conclusions(open_plant):
    found = {}

    def of(plant, seed, **how):
        source = open_plant(plant, seed, **how)
        if (plant, seed) not in found:
            found[plant, seed] = explained(source)
        return source, found[plant, seed]

    return of


def fit_of(source, rule, feature=0):
    """How a rule does on text that nobody has seen."""
    split = source.evidence.reader("scorer").split("score")
    stats = source.evidence.reader("scorer").split("explain").stats(feature)
    says = Matcher(split.tokens).predict(rule) > 0
    return Fit.of(says, split.activations(feature) >= stats.fires_at)


def skip_gram_alone(conclusion):
    return next(one.rule for one in conclusion.hypotheses if one.kind == "skip-gram")


@pytest.mark.parametrize("seed", SEEDS)
def test_skip_grams_beat_keys_alone(conclusions, seed):
    source, conclusion = conclusions(SKIP_GRAM, seed)
    assert conclusion.status == "concluded"
    fit = fit_of(source, skip_gram_alone(conclusion))
    reader = source.evidence.reader("scorer")
    floor = reader.split("explain").stats(0).fires_at
    judged = Judged.on([reader.split("score")], 0, floor)
    inputs = asyncio.run(source.attention.inputs())
    keys_alone = unigram(inputs, asyncio.run(source.attention.values(0)), judged)
    assert fit.f1 >= 0.8, (fit, keys_alone)
    assert fit.f1 >= keys_alone.f1 + 0.3, (fit, keys_alone)
    [note] = [note for note in conclusion.explanation.notes if "keys alone (unigram)" in note]
    assert "chosen by their F1 on this split" in note


@pytest.mark.parametrize("seed", SEEDS)
def test_the_distractor_is_found_verified_and_sharpens_the_rule(conclusions, seed):
    source, conclusion = conclusions(SKIP_GRAM, seed)
    before, after = (
        fit_of(source, rule) for rule in (skip_gram_alone(conclusion), conclusion.explanation.rule)
    )
    assert after.precision >= before.precision + 0.05, (before, after)
    assert after.recall >= before.recall - 0.02
    [note] = [note for note in conclusion.explanation.notes if word(45).strip() + "”, ver" in note]
    assert "neutral" in note
    by_id = {probe.id: probe for probe in conclusion.probes}
    last = {
        by_id[one.probe].purpose: one.activations[-1]
        for one in conclusion.outcomes
        if "put in" in by_id[one.probe].purpose
    }
    floor = source.evidence.reader("explainer").split("explain").stats(0).fires_at
    own = [value for purpose, value in last.items() if word(45).strip() in purpose]
    neutral = [value for purpose, value in last.items() if word(45).strip() not in purpose]
    assert max(own) < floor < min(neutral)


def test_the_table_shows_what_matches_and_what_is_blocked(conclusions):
    _, conclusion = conclusions(SKIP_GRAM, 0)
    cases = conclusion.explanation.cases
    assert {case.kind for case in cases} >= {"absence"}
    main = cases[0]
    assert main.tokens >= main.fired > 0
    assert main.figures["S"] == pytest.approx(1, abs=0.35)
    assert 0 < main.figures["attention"] < 1
    for context in main.matches:
        assert context.tokens[context.at] in (word(60), word(71))
        assert context.activations[context.at] > 0
    assert main.blocked
    for context in main.blocked:
        assert context.why
        assert context.tokens[context.at] in (word(60), word(71))
        assert context.activations[context.at] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_count_is_read_off_its_grid(conclusions, seed):
    how = {"length": 24, "rare": 0.025}
    source, conclusion = conclusions(COUNT, seed, **how)
    by_id = {probe.id: probe for probe in conclusion.probes}
    grid = np.full((5, 5), -1.0)
    for outcome in conclusion.outcomes:
        purpose = by_id[outcome.probe].purpose
        if purpose.endswith("against"):
            plus, minus = int(purpose[0]), int(purpose.split(", ")[1][0])
            grid[plus, minus] = outcome.activations[-1]
    assert (grid >= 0).all()
    wanted = np.subtract.outer(np.arange(5), np.arange(5)) >= 2
    assert np.count_nonzero((grid > 0) != wanted) <= 1
    found = conclusion.explanation
    assert "at least 2 more" in found.labels[0]
    assert [case.kind for case in found.cases] == ["counting"]
    assert all("for it and" in context.why for context in found.cases[0].blocked)
    assert fit_of(source, found.rule).f1 >= 0.95


def test_the_same_is_found_twice_and_a_cap_holds(open_plant):
    source = open_plant(SKIP_GRAM, 0)
    budget = Budget(probes=6)
    first, second = explained(source, budget=budget), explained(source, budget=budget)
    leave_out = {"spent": True}
    assert first.model_dump(exclude=leave_out) == second.model_dump(exclude=leave_out)
    assert first.status == "out_of_budget"
    assert len(first.outcomes) == 6
    assert first.explanation.rule.clauses


def test_a_silent_feature_is_said_to_be_one(open_plant):
    conclusion = explained(open_plant(SKIP_GRAM, 0), feature=2)
    assert conclusion.explanation.labels == ("never fires",)
    assert conclusion.explanation.coverage == 0
