"""Evidence that comes with an SAE, without its text."""

import json
import logging

import numpy as np
import pytest
import tiny

from sagescope.sae import encoder, loading, on_demand
from sagescope.sae.errors import EvidenceError, FeatureError
from sagescope.sae.model_source import ModelSource
from sagescope.sae.shipped import ship

FEATURES = [3, 40, 41, 95]
TEXTS = tiny.sentences(80)


@pytest.fixture
def load(llama, topk, tmp_path, monkeypatch):
    """Loads the source with evidence below a folder; SAEs come with us from tmp_path / "with-us"."""
    monkeypatch.setattr(loading, "PRETRAINED", tmp_path / "with-us")
    text = tmp_path / "some.txt"
    text.write_text("\n\n".join(TEXTS))

    def load(root, tokens=1500):
        return ModelSource.load(
            str(llama),
            str(topk),
            corpus=str(text),
            tokens=tokens,
            dtype="float32",
            root=tmp_path / root,
            progress=False,
        )

    return load


@pytest.fixture
def collected(load, tmp_path):
    """The evidence of all features, of which FEATURES are then shipped."""
    with load("first") as source:
        evidence = source.evidence
    (store,) = [path.parent for path in tmp_path.glob("first/*/manifest.json")]
    ship(store, FEATURES, tmp_path / "with-us" / "some-sae" / "evidence")
    return evidence


@pytest.fixture
def never_runs(monkeypatch):
    def run(self, rows):
        raise AssertionError("the model ran")

    monkeypatch.setattr(encoder.LatentReader, "run", run)


def same(one, other, features=FEATURES):
    assert one.table().equals(other.table())
    for name in ("explain", "select", "score"):
        left, right = one.splits[name], other.splits[name]
        np.testing.assert_array_equal(left.tokens.ids, right.tokens.ids)
        assert left.tokens.vocab == right.tokens.vocab
        for feature in features:
            np.testing.assert_array_equal(left.activations(feature), right.activations(feature))


def test_it_stands_in_for_running_the_model(load, collected, never_runs):
    with load("second") as source:
        same(source.evidence, collected)
        assert list(source.evidence.features) == FEATURES
        assert set(source.evidence.table().index) == set(range(96))


def test_neighbours_are_looked_for_among_the_same_features_everywhere(load, collected):
    """Whether only what is shipped is there, or all of it was collected."""
    with load("first") as whole, load("second") as fresh:
        assert len(whole.evidence.features) > len(fresh.evidence.features)
        assert list(whole.evidence.reference) == list(fresh.evidence.reference) == FEATURES


def test_its_key_is_that_of_collected_evidence(load, collected):
    with load("first") as one, load("second") as other:
        assert one.key == other.key


def test_other_features_are_collected_when_they_are_needed(load, collected):
    with load("second") as source:
        source.cover(FEATURES)
        assert len(source.evidence.features) == len(FEATURES)
        source.cover([7, *FEATURES])
        assert len(source.evidence.features) == 96
        same(source.evidence, collected, [7, *FEATURES])
        with pytest.raises(FeatureError, match="no feature 96"):
            source.cover([96])


def test_another_corpus_does_not_get_it(load, collected):
    with load("second", tokens=1400) as source:
        assert len(source.evidence.features) == 96


def test_other_token_ids_do_not_get_it(load, collected, tmp_path, monkeypatch, caplog):
    """The corpus says it is the same, but its tokens are others, as with another tokenizer."""

    def plan_digest(windows, real=on_demand.store.plan_digest):
        return real(windows)[::-1]

    monkeypatch.setattr(on_demand.store, "plan_digest", plan_digest)
    with caplog.at_level(logging.WARNING), load("second") as source:
        assert len(source.evidence.features) == 96
    assert "other text" in caplog.text


def test_a_damaged_shard_is_not_used(load, collected, tmp_path, caplog):
    (shard,) = tmp_path.glob("with-us/*/evidence/*/shard-00000.safetensors")
    bytes_ = bytearray(shard.read_bytes())
    bytes_[-1] ^= 1
    shard.write_bytes(bytes_)
    with load("second") as source:
        same(source.evidence, collected)
        assert len(source.evidence.features) == 96
    assert "damaged" in caplog.text


@pytest.mark.parametrize("damage", ["{", "[]", '{"format": 1}', '{"format": 1, "features": ["x"]}'])
def test_a_damaged_manifest_is_not_used(damage, load, collected, tmp_path, caplog):
    (manifest,) = tmp_path.glob("with-us/*/evidence/*/manifest.json")
    manifest.write_text(damage)
    with load("second") as source:
        same(source.evidence, collected)
        assert len(source.evidence.features) == 96
    assert "cannot be used" in caplog.text


def test_no_text_is_shipped(collected, tmp_path):
    """No string of the corpus, and no token ids."""
    (folder,) = tmp_path.glob("with-us/*/evidence/*")
    held = b"".join(path.read_bytes() for path in folder.iterdir())
    assert not any(word.encode() in held for word in ("garden", "quickly", "sleeps"))
    header = json.loads((folder / "manifest.json").read_text())
    assert set(header) == {"format", "features", "shards", "key"}


def test_only_what_was_collected_can_be_shipped(load, tmp_path):
    with pytest.raises(EvidenceError, match="sagescope collect"):
        ship(tmp_path / "nothing", [1], tmp_path / "out")
    with load("first") as source:
        assert source.evidence
    (store,) = [path.parent for path in tmp_path.glob("first/*/manifest.json")]
    with pytest.raises(FeatureError, match="96"):
        ship(store, [96], tmp_path / "out")
