"""Outliers beside random directions: planted sums of embeddings, as the specification has them."""

import numpy as np
import pytest
import torch

from sagescope.sae.inside.outliers import Rows

SEEDS = range(5)
FEATURES = 40


def embedding(seed, tokens=2000, width=256):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(tokens, width, generator=draw) / width**0.5, draw


def planted(matrix, draw, size, noise):
    """The sum of `size` rows and noise of so many times its norm; and which rows."""
    members = torch.randperm(len(matrix), generator=draw)[:size]
    signal = matrix[members].sum(0)
    other = torch.randn(len(signal), generator=draw)
    return signal + noise * signal.norm() * other / other.norm(), set(members.tolist())


def f1(found, members):
    hits = len(set(found) & members)
    return 2 * hits / (len(found) + len(members))


@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_sums_of_six_tokens_are_found(noise):
    for seed in SEEDS:
        matrix, draw = embedding(seed)
        rows = Rows(matrix)
        scores = []
        for _ in range(FEATURES):
            direction, members = planted(matrix, draw, 6, noise)
            scores.append(f1(rows.outliers(direction, 64).rows.tolist(), members))
        assert np.mean(scores) >= 0.9


def test_directions_without_tokens_have_none():
    described = []
    for seed in SEEDS:
        matrix, draw = embedding(seed)
        rows = Rows(matrix)
        for _ in range(FEATURES):
            direction = torch.randn(256, generator=draw)
            described.append(len(rows.outliers(direction, 64).rows) > 0)
    assert np.mean(described) <= 0.1


def test_explaining_away_finds_what_the_others_hide():
    found = {True: [], False: []}
    matrix, draw = embedding(7)
    rows = Rows(matrix)
    for _ in range(FEATURES):
        direction, members = planted(matrix, draw, 6, 1.0)
        for explain_away, scores in found.items():
            listed = rows.outliers(direction, 64, explain_away).rows.tolist()
            scores.append(f1(listed, members))
    assert np.mean(found[True]) > np.mean(found[False]) + 0.1


def test_the_threshold_depends_on_the_matrix():
    few, many = Rows(embedding(0, 100)[0]), Rows(embedding(0, 4000)[0])
    assert few.threshold < many.threshold - 0.5
    assert few.threshold == Rows(embedding(0, 100)[0]).threshold


def test_dependent_rows_and_a_full_width_are_no_trouble():
    """Rows that occur twice, and more of them than the width has dimensions."""
    draw = torch.Generator().manual_seed(0)
    base = torch.randn(30, 16, generator=draw)
    found = Rows(torch.cat([base, base])).outliers(base[3] * 5, 64)
    assert {3, 33} <= set(found.rows.tolist())
    assert len(set(found.rows.tolist())) == len(found.rows)


def test_nothing_is_listed_beyond_what_was_asked_for():
    matrix, draw = embedding(1)
    direction, _ = planted(matrix, draw, 6, 0.2)
    found = Rows(matrix).outliers(direction, 3)
    assert len(found.rows) == len(found.z) == len(found.values) == 3
    assert found.z[0] == pytest.approx(found.highest)
