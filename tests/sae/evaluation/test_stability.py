"""How alike dictionaries are, and which SAEs are of one kind."""

import json

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from sagescope.sae.evaluation import stability
from sagescope.sae.evaluation.stability import kind_of, mean_correlation, random_floor
from sagescope.sae.loading import LoadedSAE


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_order_sign_and_length_do_not_matter(seed):
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(12, 8))
    changed = draw.permutation(rows) * draw.choice([-2.0, 0.5, 3.0], size=(12, 1))
    assert mean_correlation(rows, changed) == pytest.approx(1, abs=1e-5)
    assert mean_correlation(rows, draw.normal(size=(12, 8))) < 0.95


def test_of_many_latents_some_are_matched(monkeypatch):
    monkeypatch.setattr(stability, "MATCHED", 10)
    rows = np.random.default_rng(0).normal(size=(40, 16))
    assert mean_correlation(rows, rows[::-1]) == pytest.approx(1, abs=1e-5)


def test_the_floor_rises_with_latents_and_falls_with_dimensions():
    assert random_floor(20, 20, 64) < random_floor(20, 20, 8) < random_floor(20, 200, 8) < 1


def test_kinds_are_settings_without_the_seed(tmp_path):
    sae = LoadedSAE("one", tiny.make_sae("topk"))
    wider = LoadedSAE("wide", tiny.make_sae("topk", features=128))
    reseeded = LoadedSAE("two", tiny.make_sae("topk", seed=5))
    assert kind_of(sae, tmp_path) == kind_of(reseeded, tmp_path) != kind_of(wider, tmp_path)
    trained = []
    for name, own in {"a": {"seed": 0}, "b": {"seed": 1}, "c": {"arch": "tsae"}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.json").write_text(json.dumps({"arch": "topk", **own}))
        trained.append(kind_of(sae, tmp_path / name))
    assert trained[0] == trained[1] != trained[2]
