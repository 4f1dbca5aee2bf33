"""The explainer by attribution: a pair planted in a real tiny model, and what it makes of exemplars."""

import asyncio

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sagescope.agents.budget import Budget, Spending
from sagescope.agents.explainers import EXPLAINERS, Task
from sagescope.agents.inside.attribution import NOTHING, responsible
from sagescope.agents.minds.choice import Mind
from sagescope.agents.rules.match import predict
from sagescope.sae.errors import SAEError
from sagescope.sae.inside.attribution import Attribution

from ..sentences import on_words, source_of
from . import planted_tokens as planted

TOKENS, WIDTH = 24, 128
#: The trigger, and the token that must stand somewhere before it.
TRIGGER, CONTEXT = 7, 11


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Feature 0 fires on the trigger after the context; feature 1 on the trigger; feature 2 never.

    Attention is even, so that a token of the past is in the mean of all; rows are fitted
    on what the block makes of random texts.
    """
    torch.set_num_threads(1)
    folder = planted.save_model(tmp_path_factory.mktemp("pair"), 3, WIDTH, TOKENS)
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight.zero_()
    model.save_pretrained(folder)
    hook = "blocks.0.hook_resid_post"
    empty = torch.zeros(3, WIDTH)
    with planted.source(folder, empty, torch.zeros(3), folder, hook, TOKENS, words=16) as source:
        reader = source.reader
        rows = [row.ids for row in reader.subject.tokenize(planted.texts(300, TOKENS, 9, 16))]
        x = torch.cat([reader.at_hook(torch.tensor([[0, *row]]))[0, 1:] for row in rows]).clone()
        both, plain = [], []
        for row in rows:
            for place, id in enumerate(row):
                plain.append(float(id == TRIGGER))
                both.append(float(id == TRIGGER and CONTEXT in row[:place]))
        module = reader.sae.module
        with torch.no_grad():
            for feature, labels in enumerate((both, plain)):
                line = LogisticRegression(C=1e3, class_weight="balanced", max_iter=1000)
                line.fit(x.numpy(), labels)
                module.W_enc[:, feature] = torch.as_tensor(line.coef_[0])
                module.b_enc[feature] = float(line.intercept_[0])
            module.b_enc[2] = -1.0
        yield source


def explained(source, feature, budget=None):
    spending = Spending(budget or Budget())
    task = Task(source, feature, Mind("rules"), spending, 0, lambda kind, *records: None)
    return asyncio.run(EXPLAINERS["attribution"].explain(task))


def f1(said, true):
    return 2 * (said & true).sum() / (said.sum() + true.sum())


def test_the_rule_is_the_planted_pair(pair):
    """It says what was planted; and foresees the latent as well as the answer key itself does."""
    found = explained(pair, 0).explanation
    measured = asyncio.run(pair.activations(0, planted.texts(150, TOKENS, 21, 16)))
    bar = 0.2 * found.rule.unit
    said = np.concatenate(predict(found.rule, [one.tokens for one in measured])) >= bar
    fires = np.concatenate([one.activations for one in measured]) >= bar
    trigger, context = (f" {planted.word(n)}" for n in (TRIGGER, CONTEXT))
    key = np.array(
        [
            token == trigger and context in one.tokens[:place]
            for one in measured
            for place, token in enumerate(one.tokens)
        ]
    )
    assert f1(said, key) >= 0.9
    assert f1(said, fires) >= f1(key, fires) - 0.02
    assert f1(key, fires) >= 0.7  # the plant is what it says, if no more
    assert found.verdict == "untested"


def test_a_trigger_alone_needs_no_context(pair):
    found = explained(pair, 1).explanation
    assert f" {planted.word(TRIGGER)}" in str(found.rule)
    assert found.coverage >= 0.9


def test_a_feature_that_never_fires(pair):
    found = explained(pair, 2)
    assert found.status == "concluded"
    assert found.explanation.labels == (NOTHING,)
    assert found.explanation.rule.clauses == ()


def test_a_budget_is_kept(pair):
    found = explained(pair, 1, Budget(probes=3))
    assert found.status == "out_of_budget"
    assert found.spent["probes"] == 3
    assert any("after 3 of" in note for note in found.explanation.notes)
    # Three of at most 32 tokens and the BOS token, each token left out once.
    [rows] = [note for note in found.explanation.notes if "rows of tokens ran" in note]
    assert 3 * 4 < int(rows.split("; ")[1].split()[0]) <= 3 * (33 + 3)


def test_a_source_without_a_model_says_why():
    with pytest.raises(SAEError, match="not the model behind them"):
        explained(source_of(on_words("boat")), 0)


def test_what_adds_enough_is_responsible():
    values = np.array([0.1, 2.0, -1.0, 1.5], np.float32)
    found = responsible(Attribution((" a", " river", " of", " bank"), values, 1.0, 3.0, 0.0))
    assert found.trigger == " bank"
    assert found.alone
    assert found.context == ((" river", -2),)
