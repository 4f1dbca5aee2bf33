"""The output side: what the model is made to say, with outputs that are written out."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from sagescope.agents.records import Explanation
from sagescope.experiments.jobs import explain
from sagescope.experiments.scoring import SCORERS, Target, score_simulator, simulator_of
from sagescope.experiments.scoring.output_side import NAMES, credit_of
from sagescope.experiments.scoring.simulator import RuleSimulator, Simulator
from sagescope.sae.evidence import FIRES_AT
from sagescope.sae.outputs import Promoted, PromptSteering, Steering, TokenShift, TokenWeight
from sagescope.sae.source import FunctionSource

#: Feature → the tokens that it promotes, and that rise when it is steered.
SAYS = {0: [" boat", " ship", " sail"], 1: [" red"], 2: [" blue"], 3: [" ship"], 4: [" tea"]}
IDS = {token: id for id, token in enumerate(dict.fromkeys(t for own in SAYS.values() for t in own))}
PLAIN = (" the", " a")


class Written:
    """Outputs by SAYS: a feature's own tokens rise by 3 nats, and by 1 under a random direction."""

    def __init__(self):
        self.asked = []

    async def promoted(self, feature, n=10):
        return Promoted(tuple(TokenWeight(t, IDS[t], 1.0) for t in SAYS[feature][:n]), ())

    async def steered(self, feature, prompts, strength=1.0, n=10, seed=0, watched=()):
        self.asked.append((feature, tuple(prompts)))
        own = {IDS[token] for token in SAYS[feature]}
        one = PromptSteering(
            kl=2.0,
            control_kl=0.5,
            shifts=tuple(3.0 if id in own else 0.0 for id in watched),
            controls=tuple(1.0 if id in own else 0.0 for id in watched),
            before=PLAIN,
            after=(SAYS[feature][0], " the"),
        )
        rises = tuple(TokenShift(t, IDS[t], 3.0, 1.0, 0.1) for t in SAYS[feature])
        return Steering(strength, len(prompts), rises, (), 2.0, 0.5, (one,) * len(prompts))


class Naming(Simulator):
    """Foresees some tokens, and fails on others."""

    fires_from = FIRES_AT
    words = ""

    def __init__(self, *tokens, failing=()):
        self.tokens, self.failing = tokens, failing

    async def resemblance(self, sets):
        return np.array(
            [
                np.nan
                if set(one) & set(self.failing)
                else np.mean([token in self.tokens for token in one])
                for one in sets
            ]
        )


def fires(text, feature):
    return [(token, 2.0 if token == f"w{feature}" else 0.0) for token in text.split()]


def texts(n=150, seed=0):
    draw = np.random.default_rng(seed)
    words = [*(f"w{k}" for k in range(5)), "plain", "filler", "other"]
    return [" ".join(draw.choice(words, 12)) for _ in range(n)]


@pytest.fixture(scope="module")
def plain():
    return FunctionSource(fires, 5, texts())


@pytest.fixture
def source(plain):
    plain.outputs = Written()
    yield plain
    del plain.outputs


def run(source, name, simulator, feature=0):
    return asyncio.run(SCORERS[name](Target(source, feature), simulator))


def test_coverage_by_hand(source):
    """Own: boat, ship, sail. Foreign: red, blue, tea (feature 3's ship is own)."""
    found = run(source, "logits", Naming(" boat", " ship", " red"))
    assert found.scores["logit_coverage"].value == pytest.approx(2 / 3 - 1 / 3)
    assert found.details["more"]["logit_coverage"] == {
        "side": "input",
        "foreseen": pytest.approx(2 / 3),
        "penalty": pytest.approx(1 / 3),
    }
    verdicts = {item.text: item.passed for item in found.details["items"]}
    wrong = {" sail", " red"}
    assert verdicts == {token: token not in wrong for token in IDS}


def test_foreseeing_everything_is_worth_nothing(source):
    for simulator in (Naming(*IDS), Naming()):
        assert run(source, "logits", simulator).scores["logit_coverage"].value == 0


def test_tokens_without_an_answer_are_failed(source):
    found = run(source, "logits", Naming(" boat", failing=[" sail", " tea"]))
    score = found.scores["logit_coverage"]
    assert (score.value, score.failed) == (pytest.approx(1 / 2), 2)
    assert found.details["failed"]["logit_coverage"] == pytest.approx(2 / 6)


def test_steering_by_hand(source):
    found = run(source, "steering", Naming(" boat", " red")).scores
    # Foreseen: boat (+3) and red (0); the rest: ship and sail (+3), blue and tea (0).
    own, random = 1.5 - 1.5, 0.5 - 0.5
    assert found["steering_effect"].value == pytest.approx(own - random)
    assert found["steering_ratio"].value == pytest.approx(4.0)
    # Two tokens a prompt: none foreseen before, boat after.
    assert found["faithfulness"].value == pytest.approx(0.5)
    better = run(source, "steering", Naming(" boat", " ship", " sail")).scores
    assert better["steering_effect"].value == pytest.approx((3 - 0) - (1 - 0))
    already = run(source, "steering", Naming(" boat", " the")).scores
    # Half before (the), all after.
    assert already["faithfulness"].value == pytest.approx(1.0)


def test_next_tokens_without_an_answer_are_failed(source):
    found = run(source, "steering", Naming(" boat", failing=[" a"]))
    # Of " boat", " the" and " a" the last: one of one before and two after are left.
    assert found.scores["faithfulness"].value == pytest.approx(0.5)
    assert found.scores["faithfulness"].failed == 1
    assert found.details["failed"]["faithfulness"] == pytest.approx(1 / 3)


def test_the_choice_is_among_three(source):
    right = run(source, "steering", Naming(*SAYS[0]))
    score = right.scores["steering_choice"]
    # Four other features make two draws; one has feature 3 in it, whose one token fits as well.
    assert score.value == pytest.approx((1 + 1 / 2) / 2)
    assert len(right.details["items"]) == 2
    assert run(source, "steering", Naming(" boat")).scores["steering_choice"].value == 1
    assert run(source, "steering", Naming(" red", " blue")).scores["steering_choice"].value < 1
    chance = run(source, "steering", Naming()).scores["steering_choice"]
    assert chance.value == pytest.approx(1 / 3)
    assert "chance" in chance.reason


def test_a_choice_without_an_answer_is_no_choice(source):
    found = run(source, "steering", Naming(" boat", failing=[" red"]))
    assert found.scores["steering_choice"].failed == 1
    assert found.scores["steering_choice"].value == 1
    assert found.details["failed"]["steering_choice"] == pytest.approx(1 / 2)


def test_ties_are_shared():
    assert credit_of(1.0, [0.5, 0.2]) == 1
    assert credit_of(0.5, [0.5, 0.2]) == 1 / 2
    assert credit_of(0.0, [0.0, 0.0]) == 1 / 3
    assert credit_of(0.2, [0.5, 0.1]) == 0
    assert credit_of(0.2, [np.nan, 0.1]) is None


def test_prompts_are_held_out_and_the_same_for_every_feature(source):
    run(source, "steering", Naming(" boat"))
    run(source, "steering", Naming(" boat"), feature=1)
    prompts = {asked for _, asked in source.outputs.asked}
    assert len(prompts) == 1
    score = source.evidence.reader("scorer").split("score").tokens
    begins = {" ".join("".join(score.window(k)).split()[:6]) for k in range(len(score.starts) - 1)}
    assert {prompt.strip() for prompt in prompts.pop()} <= begins


def test_what_an_output_explanation_says(source):
    explanation = Explanation(labels=("Boat", "ship"), description="boats", side="output")
    simulator = simulator_of(explanation, source.tokenize)
    assert simulator.side == "output"
    sets = [[" boat", " red"], [" Ship"], [" tea"]]
    assert asyncio.run(simulator.resemblance(sets)).tolist() == [0.5, 1.0, 0.0]
    scored = asyncio.run(
        score_simulator(Target(source, 0), simulator, ["logits", "steering", "predictive"])
    )
    assert scored.scores["logit_coverage"].value == pytest.approx(2 / 3)
    assert {scored.details.more[name]["side"] for name in NAMES} == {"output"}
    assert scored.scores["predictive_pearson"].value is None


def test_a_rule_names_the_tokens_it_fires_on_wherever_they_stand(make, source):
    from sagescope.agents.rules.language import Clause, Match, Near, Rule, current

    before = Near(match=Match(kind="word", values=("the",)), first=-1, last=-1)
    rule = Rule(
        clauses=(
            Clause(conditions=(current("word", "boat"), before), level=0.9),
            Clause(conditions=(before,), level=0.9),
            Clause(conditions=(current("word", "tea"),), level=0.1),
        ),
        unit=4.0,
    )
    simulator = RuleSimulator(rule, source.tokenize)
    sets = [[" boat", " red"], [" tea", " the"], [""]]
    assert asyncio.run(simulator.resemblance(sets)).tolist() == [0.5, 0.0, 0.0]
    nothing = RuleSimulator(None, source.tokenize)
    assert asyncio.run(nothing.resemblance(sets)).tolist() == [0.0, 0.0, 0.0]


def test_sources_and_simulators_that_cannot(plain, source):
    ranking = Naming(" boat")
    ranking.fires_from = None
    for name in ("logits", "steering"):
        found = run(source, name, ranking).scores
        assert {"ranks tokens" in one.reason for one in found.values()} == {True}
    del plain.outputs
    for name in ("logits", "steering"):
        found = run(plain, name, Naming(" boat")).scores
        assert {one.value for one in found.values()} == {None}
        assert {"not what they do" in one.reason for one in found.values()} == {True}
    plain.outputs = Written()


def test_prompts_differ_with_the_seed(source):
    first, other = (
        asyncio.run(SCORERS["steering"](replace(Target(source, 0), seed=seed), Naming(" boat")))
        for seed in (0, 1)
    )
    assert first.scores != {} != other.scores
    assert len({asked for _, asked in source.outputs.asked}) == 2


def test_a_job_scores_output_explanations_and_steers_each_feature_once(source):
    results = explain(
        source, [0, 1], explainer="output-side", scorers=["logits", "steering"], concurrency=1
    )
    for result in results:
        assert result.explanation.rule is None
        assert result.scores["logit_coverage"].value > 0
        assert result.scores["steering_choice"].value > 0.3
        assert result.controls["random_explanation"]["logit_coverage"].value < 0
        assert result.details["explanation"]["more"]["steering_choice"]["side"] == "output"
    # One feature at a time: each of the five as a rival, and the two with what is watched of them.
    assert len(source.outputs.asked) <= 7
