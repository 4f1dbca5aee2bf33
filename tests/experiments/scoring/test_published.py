"""Scores of the output side and of surprisal on the demo's SAE, and beside Delphi's own code."""

import asyncio
import importlib.util

import pytest

from sagescope.experiments.scoring import SCORERS, Target, simulators
from sagescope.experiments.scoring.surprisal import NEUTRAL, described, drawn

pytestmark = pytest.mark.slow
NAMES = ("logits", "steering", "surprisal", "discrimination")


@pytest.fixture(scope="module")
def demo():
    """The demo's source, with explanations of two of its features."""
    from sagescope.experiments.features import draw
    from sagescope.experiments.jobs import explain
    from sagescope.sae.loading import pretrained_names
    from sagescope.sae.model_source import ModelSource

    with ModelSource.load("smollm2-135m-instruct", pretrained_names()[0], progress=False) as source:
        features = draw(source.evidence, 2, 0)
        found = explain(source, features, score=False)
        yield source, dict(zip(features, (one.explanation for one in found), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_every_scorer_runs_on_the_demo(name, demo):
    source, explained = demo
    (first, own), (_, other) = explained.items()
    for of, simulator in simulators(Target(source, first), own, other).items():
        marks = asyncio.run(SCORERS[name](Target(source, first), simulator))
        for score in marks.scores.values():
            wordless = name == "surprisal" and of in ("single_token", "token_lookup")
            assert (score.value is None) == wordless, (of, score)
            assert score.failed == 0


def test_losses_are_delphis(demo):
    """Mean losses without each text's first token, which Delphi does not read."""
    if importlib.util.find_spec("delphi") is None:
        pytest.skip(
            "eai-delphi is not installed: pip install eai-delphi, in an environment of its own"
        )
    from delphi.scorers.surprisal.surprisal import Sample, SurprisalOutput, SurprisalScorer

    source, explained = demo
    subject = source.reader.subject
    excerpts, _ = drawn(Target(source, next(iter(explained))))
    # One batch: Delphi's second one would be read after the first, which its cache has kept.
    texts = [one.text for one in excerpts][:10]
    prefix, bos = described(NEUTRAL), subject.tokenizer.decode([subject.bos_id])
    subject.model.tokenizer = subject.tokenizer
    scorer = SurprisalScorer(subject.model, verbose=False, batch_size=10)
    samples = [Sample(text, [], SurprisalOutput(text, 0)) for text in texts]
    theirs = scorer.compute_loss_with_kv_cache(bos + prefix, samples, batch_size=len(texts))
    for text, row, listed in zip(texts, subject.tokenize(texts), theirs, strict=True):
        n = len(row.ids)
        head = subject.tokenizer.decode(row.ids[:1])
        whole, first = (asyncio.run(source.losses.losses(prefix, [one]))[0] for one in (text, head))
        assert (whole * n - first) / (n - 1) == pytest.approx(
            sum(listed[: n - 1]) / (n - 1), abs=0.01
        )
