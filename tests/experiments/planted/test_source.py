"""Planted sources: whatever the seed, the features, the corpus and the answer key fit together."""

import asyncio
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagescope.agents.rules.match import Matcher
from sagescope.experiments.planted import ALL_CLASSES, CLASSES, DECOY, Options, planted_source
from sagescope.experiments.planted.programs import Reading, tokenize
from sagescope.sae.errors import FeatureError, UnknownName
from sagescope.sae.source import FeatureSource

#: Features that fire everywhere or nowhere, or wherever chance has it.
ONE_SIDED = ("dead", "noisy", "always on")


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 10**9))
def test_any_seed_gives_120_features_in_twelve_classes_and_decoys(seed: int):
    source = planted_source(seed)
    counts = Counter(feature.kind for feature in source.features)
    assert len(CLASSES) == 12
    assert sum(counts[kind] for kind in CLASSES) == 120
    assert set(counts) == {*CLASSES, DECOY}
    assert [feature.index for feature in source.features] == list(range(source.n_features))
    assert isinstance(source, FeatureSource)


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 10**9))
def test_the_same_seed_gives_the_same_source_and_another_seed_another(seed: int):
    one, same, other = (planted_source(s, per_class=2) for s in (seed, seed, seed + 1))
    assert one.key == same.key != other.key
    assert [f.label for f in one.features] == [f.label for f in same.features]
    for feature in one.features:
        a, b = (
            s.evidence.reader("explainer").split("explain").activations(feature.index)
            for s in (one, same)
        )
        assert np.array_equal(a, b)


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 10**9))
def test_features_fire_in_the_corpus_as_often_as_they_must_to_be_understood(seed: int):
    source = planted_source(seed, per_class=5)
    split = source.evidence.reader("explainer").split("explain")
    for feature in source.features:
        fired = split.stats(feature.index).fired
        assert (fired == 0) == (feature.form == "dead"), feature.label
        assert fired >= 4 or feature.form == "dead", feature.label


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 10**9))
def test_contrast_sets_fire_and_stay_silent_and_are_not_in_the_corpus(seed: int):
    source = planted_source(seed, per_class=5)
    corpus = set(source._corpus)
    for feature in source.features:
        kinds, texts = zip(*source.contrast(feature.index), strict=True)
        fires = source.truth(feature.index, Reading.of(texts)) > 0
        if feature.form not in ONE_SIDED:
            assert fires.any(), feature.label
            assert not fires.all(), feature.label
        assert len(texts) >= 20
        assert not corpus & set(texts), feature.label
        assert "itself" in kinds or len(set(kinds)) >= 1


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 10**9))
def test_programs_and_their_rules_say_the_same_on_the_corpus(seed: int):
    source = planted_source(seed, per_class=5)
    texts = source._corpus[:300]
    reading = Reading.of(texts)
    matcher = Matcher(reading.table)
    for feature in source.features:
        rule = feature.explanation.rule
        if feature.form == "noisy":
            assert rule is None
            continue
        assert rule is not None
        np.testing.assert_allclose(
            matcher.predict(rule), source.truth(feature.index, reading), rtol=1e-5
        )


@given(st.text(max_size=60))
def test_tokens_leave_nothing_out_of_a_text(text: str):
    assert "".join(tokenize(text)).strip() == text.strip()


def test_decoys_go_along_with_their_cause_and_do_not_fire_alone():
    source = planted_source(5, per_class=6, classes=[DECOY])
    for feature in source.features:
        assert feature.decoy
        texts = [" " + text.casefold() for text in source._corpus]
        cause = feature.plan.reserved[0]
        with_cause = [text for text in texts if f" {cause}" in text]
        both = [text for text in with_cause if f" {feature.decoy}" in text]
        assert 0.9 < len(both) / len(with_cause) < 1.0
        alone = [text for kind, text in source.contrast(feature.index) if kind == "decoy alone"]
        assert source.truth(feature.index, Reading.of(alone)).max() == 0


def test_noise_and_dropout_disturb_what_is_measured_and_not_the_truth():
    plain = planted_source(2, per_class=1, classes=["word"])
    rough = planted_source(2, per_class=1, classes=["word"], options=Options(0.3, 0.4))
    word = plain.features[0].program.cases[0].tests[0].values[0]
    texts = [f"{number} came to see the {word}." for number in range(60)]

    def values(source):
        measured = asyncio.run(source.activations(0, texts))
        return np.array([one.activations[-2] for one in measured])

    assert len(set(values(plain))) == 1
    assert np.array_equal(values(rough), values(rough))
    assert 10 < (values(rough) == 0).sum() < 40
    assert len(set(values(rough))) > 10
    assert set(rough.truth(0, Reading.of(texts))) == {0.0, np.float32(rough.features[0].scale)}


def test_bleed_reaches_the_next_token_of_the_same_text_alone():
    source = planted_source(2, per_class=1, classes=["word"], options=Options(bleed=0.5))
    feature = source.features[0]
    (word,) = feature.program.cases[0].tests[0].values
    found = source.truth(0, Reading.of([f"a {word} now then", "and so on", word, "again"]))
    heights = (found / feature.scale).tolist()
    assert heights == pytest.approx([0, 1, 0.5, 0, 0, 0, 0, 1, 0])


def test_second_meanings_are_rare_and_part_of_the_truth():
    source = planted_source(3, per_class=2, options=Options(second_meaning=True))
    for feature in source.features:
        if feature.form in ("dead", "noisy"):
            continue
        second = [text for kind, text in source.contrast(feature.index) if kind == "second meaning"]
        assert source.truth(feature.index, Reading.of(second)).any()


def test_what_does_not_exist_is_refused():
    with pytest.raises(UnknownName, match="disjunction"):
        planted_source(0, classes=["disjunctoin"])
    with pytest.raises(UnknownName, match="noise"):
        Options.named(["nois"])
    with pytest.raises(FeatureError):
        planted_source(0, per_class=1, classes=list(ALL_CLASSES)[:1]).contrast(1)
