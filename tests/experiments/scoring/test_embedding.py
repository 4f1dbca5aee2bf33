"""Sentence embeddings as simulator: whose numbers they are, and what they cannot say."""

import asyncio

import numpy as np
import pytest

from sagescope.agents.records import Explanation
from sagescope.experiments.scoring import Choice, Context, score_explanation
from sagescope.experiments.scoring.embedding import (
    PACKAGE,
    EmbeddingSimulator,
    encoder,
    installed,
)
from sagescope.sae.errors import CannotAnswer

SAID = Explanation(labels=("fruit",), description="Words for fruit.")
needs_package = pytest.mark.skipif(
    not installed(), reason=f"no {PACKAGE} here (pip install 'sagescope[embeddings]')"
)


def test_without_the_package_it_says_what_to_install(make, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    encoder.cache_clear()
    source = make.words({"apple": 4.0})
    found = asyncio.run(
        score_explanation(SAID, source, 0, choice=Choice("rule"), scorers=["embedding"])
    )
    assert found.scores["embedding"].value is None
    assert "pip install 'sagescope[embeddings]'" in found.scores["embedding"].reason
    with pytest.raises(CannotAnswer, match="pip install"):
        Choice("embedding").check()
    with pytest.raises(CannotAnswer, match="--scorer-mind"):
        Choice("auto").of(SAID)


def test_the_kind_is_decided_by_what_there_is(make, monkeypatch):
    from sagescope.agents.minds.choice import Mind

    module = "sagescope.experiments.scoring.embedding.installed"
    with_rule = SAID.model_copy(update={"rule": make.rule({"apple": 1.0})})
    judge = Mind("http://127.0.0.1:9/v1#m")
    monkeypatch.setattr(module, lambda: True)
    assert Choice("auto", judge).of(with_rule).kind == "rule"
    assert Choice("auto", judge).of(SAID).kind == "judge"
    assert Choice("auto").of(SAID).kind == "embedding"
    assert Choice("embedding").of(with_rule).kind == "embedding"
    with pytest.raises(CannotAnswer, match="--simulator judge"):
        Choice("rule").of(SAID)


@needs_package
@pytest.mark.slow
def test_nearer_in_meaning_is_nearer():
    simulator = EmbeddingSimulator("fruit such as apples and pears")
    texts = ["She ate a banana and two plums.", "The court rejected the appeal."]
    contexts = [Context.whole([text]) for text in texts]
    near, far = asyncio.run(simulator.grade(contexts))
    assert near > far + 0.2
    # Only what is shown counts.
    (shown,) = asyncio.run(simulator.grade([Context((texts[1], texts[0]), 1, 2)]))
    assert shown == pytest.approx(near, abs=1e-5)


@needs_package
@pytest.mark.slow
def test_vectors_do_not_depend_on_their_company():
    model = encoder()
    texts = [f"{'word ' * n}end" for n in range(1, 90)]
    together = model.vectors([*texts, texts[0], ""])
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    fresh = type(model)(model.folder)
    alone = np.concatenate([fresh.vectors([text]) for text in texts[::20]])
    assert together[: len(texts)][::20] == pytest.approx(alone, abs=1e-4)
    assert (together[0] == together[len(texts)]).all()
    assert model.vectors([]).shape[0] == 0


@needs_package
@pytest.mark.slow
def test_vectors_are_those_of_sentence_transformers():
    peer = pytest.importorskip(
        "sentence_transformers", reason="no sentence-transformers here", exc_type=ImportError
    )
    texts = ["A cat sat on the mat.", "Interest rates rose.", "word " * 400]
    theirs = peer.SentenceTransformer(str(encoder().folder), device="cpu").encode(texts)
    own = encoder().vectors(texts)
    assert (own * theirs).sum(axis=1) == pytest.approx(1, abs=0.01)


@needs_package
@pytest.mark.slow
def test_it_scores_order_and_refuses_the_rest(make):
    source = make.words({"apple": 4.0, "pear": 3.0, "plum": 3.0}, n=120)
    names = ["embedding", "detection", "graded", "intruder", "saebench", "predictive", "fuzzing"]
    found = asyncio.run(
        score_explanation(SAID, source, 0, choice=Choice("embedding"), scorers=names)
    )
    scores = found.scores
    assert scores["embedding"].value == scores["detection_auc"].value > 0.8
    assert scores["intruder"].value > 0.5
    assert scores["graded_auprc"].value > 0.5
    for name in ("detection", "detection_f1", "graded_coverage", "saebench_autointerp"):
        assert "no unit" in scores[name].reason
    for name in ("predictive_pearson", "fuzzing"):
        assert scores[name].value is None


@needs_package
@pytest.mark.slow
def test_the_embedding_score_of_a_rule_is_of_its_words(make):
    source = make.words({"apple": 4.0}, n=60)
    ruled = SAID.model_copy(update={"rule": make.rule({"apple": 1.0})})
    by_rule, by_words = (
        asyncio.run(score_explanation(SAID if choice.kind != "rule" else ruled, source, 0, choice=choice, scorers=["embedding"]))
        for choice in (Choice("rule"), Choice("embedding"))
    )  # fmt: skip
    assert by_rule.scores == by_words.scores
    assert "no words" in by_rule.controls["token_lookup"].scores["embedding"].reason
