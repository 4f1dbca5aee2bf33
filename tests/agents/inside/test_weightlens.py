"""WeightLens on planted tokens in real tiny models, and on sources where it makes no sense."""

import asyncio

import numpy as np
import pytest
import torch

from sagescope.agents.budget import Budget, Spending
from sagescope.agents.explainers import EXPLAINERS, Task
from sagescope.agents.inside.weightlens import NOTHING, families
from sagescope.agents.minds.choice import Mind
from sagescope.sae.errors import SAEError
from sagescope.sae.inside.token_vectors import OutlierToken

from ..sentences import on_words, source_of
from . import planted_tokens as planted

#: Features of six tokens each; of these, in the first SILENT two tokens are too weak ever to fire.
PLANTED, SILENT, EMPTY = 24, 8, 24
#: Seed, and noise as a share of the norm of what is planted.
PLANTS = [
    (1, 1.0),
    *(pytest.param(one, marks=pytest.mark.slow) for one in ((0, 0.5), (2, 1.0), (3, 0.5))),
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=PLANTS, ids=str)
def plant(request, tmp_path_factory):
    """A source of planted features and of features without tokens; and the tokens that fire."""
    seed, noise = request.param
    folder = planted.save_model(tmp_path_factory.mktemp("model"), seed)
    draw = torch.Generator().manual_seed(100 + seed)
    import transformers

    weight = transformers.AutoModelForCausalLM.from_pretrained(folder).get_input_embeddings().weight
    weight = weight.detach()
    rows, biases, fire, weak = [], [], [], []
    for feature in range(PLANTED):
        members = torch.randperm(planted.TOKENS - 1, generator=draw)[:6] + 1
        amounts = torch.ones(6)
        if feature < SILENT:
            amounts[4:] = 0.75
        signal = (amounts[:, None] * weight[members]).sum(0)
        other = torch.randn(planted.WIDTH, generator=draw)
        row = signal + noise * signal.norm() * other / other.norm()
        products = weight @ row
        strong = members[:4] if feature < SILENT else members
        # Below all that should fire; above the weak ones, whatever noise adds to them.
        bar = 0.9 * products[strong].min()
        if feature < SILENT:
            bar = max(bar, 1.01 * products[members[4:]].max())
        rows.append(row)
        biases.append(-bar)
        fire.append({int(m) for m in strong if products[m] > bar})
        weak.append({int(m) for m in members} - fire[-1])
    for _ in range(EMPTY):
        row = torch.randn(planted.WIDTH, generator=draw)
        rows.append(row)
        biases.append(-2.5 * row.norm() * weight.norm(dim=1).mean() / planted.WIDTH**0.5)
    source = planted.source(
        folder, torch.stack(rows), torch.stack([torch.as_tensor(b) for b in biases]), folder
    )
    with source:
        yield source, fire, weak


def explained(source, feature, budget=None):
    spending = Spending(budget or Budget())
    task = Task(source, feature, Mind("rules"), spending, 0, lambda kind, *records: None)
    return asyncio.run(EXPLAINERS["weightlens"].explain(task))


def tokens_of(rule):
    return {value for clause in rule.clauses for c in clause.conditions for value in c.match.values}


def numbers(tokens):
    known = {f" {planted.word(n)}": n for n in range(1, planted.TOKENS)}
    return {known[token] for token in tokens}


def test_planted_tokens_are_named_and_no_others(plant):
    source, fire, weak = plant
    scores, unfired = [], 0
    for feature in range(PLANTED):
        found = explained(source, feature)
        named = numbers(tokens_of(found.explanation.rule))
        scores.append(2 * len(named & fire[feature]) / (len(named) + len(fire[feature])))
        assert not named & weak[feature]
        unfired += any("do not fire" in note for note in found.explanation.notes)
    assert np.mean(scores) >= 0.9
    assert unfired >= SILENT / 2


def test_features_without_tokens_get_no_description(plant):
    source, *_ = plant
    answers = [explained(source, PLANTED + number).explanation for number in range(EMPTY)]
    described = [one for one in answers if one.rule.clauses]
    assert len(described) <= 0.1 * EMPTY
    silent = next(one for one in answers if not one.rule.clauses)
    assert silent.labels == (NOTHING,)
    assert silent.coverage == 0
    assert silent.verdict is None
    assert silent.rule.unit > 0


def test_what_was_tried_stands_in_the_conclusion(plant):
    source, *_ = plant
    found = explained(source, PLANTED - 1)
    tried = {probe.text for probe in found.probes}
    assert numbers(tokens_of(found.explanation.rule)) <= numbers(tried)
    assert found.spent["probes"] == len(found.probes) == len(found.outcomes)
    assert [one.kind for one in found.hypotheses] == ["weights", "weights, tried"]
    levels = [clause.level for clause in found.explanation.rule.clauses]
    assert levels == sorted(levels, reverse=True)
    assert found.explanation.groups


def test_a_budget_is_kept(plant):
    source, *_ = plant
    found = explained(source, PLANTED - 1, Budget(probes=2))
    assert found.status == "out_of_budget"
    assert len(found.probes) == 2
    assert len(tokens_of(found.explanation.rule)) <= 2


@pytest.mark.parametrize("has_bos", [True, False])
def test_it_says_how_tokens_stood_in_the_texts(has_bos, tmp_path):
    import transformers

    folder = planted.save_model(tmp_path, 5)
    weight = transformers.AutoModelForCausalLM.from_pretrained(folder).get_input_embeddings().weight
    row = weight[[7]].detach()
    bias = -0.9 * (row**2).sum(1)
    with planted.source(folder, row, bias, folder, has_bos=has_bos) as source:
        found = explained(source, 0).explanation
    assert numbers(tokens_of(found.rule)) == {7}
    [note] = [note for note in found.notes if note.startswith("1 of 1")]
    assert ("after the BOS token" in note) is has_bos
    assert ("without a BOS token" in note) is not has_bos


def test_a_source_without_weights_says_why():
    with pytest.raises(SAEError, match="not the weights behind them"):
        explained(source_of(on_words("boat")), 0)


def token(text, share=0.1):
    return OutlierToken(text, 0, True, 5.0, share)


def test_families_of_words():
    shares = {" run": 0.2, "Run": 0.1, " running": 0.1, " bank": 0.3, " banks": 0.1, " ban": 0.05}
    found = families([token(text, share) for text, share in shares.items()])
    texts = [[one.token for one in group] for group in found]
    assert texts == [[" bank", " banks"], [" run", "Run"], [" running"], [" ban"]] or texts == [
        [" run", "Run"],
        [" bank", " banks"],
        [" running"],
        [" ban"],
    ]
