"""Features of a run that are called the same."""

import numpy as np
import pytest

from sagescope.experiments.collisions import collisions
from sagescope.experiments.results import Cost, Explanation, Result


def result(index, *labels):
    return Result(
        feature=f"m/s/{index}",
        stratum=None,
        status="concluded",
        explanation=Explanation(labels=labels, description="something"),
        scores={},
        controls={},
        cost=Cost(calls=0, tokens=0, probes=0, seconds=0.0),
        explainer="sage",
        mind="rules",
        run="r",
        seed=0,
    )


def test_equal_sets_collide_whatever_their_order_and_case():
    found = collisions(
        [
            result(0, "Red", "blue  sea"),
            result(1, "blue sea", "red "),
            result(2, "red"),
            result(3),
            result(4, "tea"),
        ]
    )
    assert found.groups == (("m/s/0", "m/s/1"),)
    assert (found.same, found.features, found.share, found.near_share) == (2, 4, 0.5, None)
    assert found.line() == "Labels: 2 of 4 features share theirs with another."


def test_near_labels_by_their_vectors():
    angles = {"red": 0.0, "crimson": 0.3, "tea": 1.5}

    def vectors(texts):
        return np.array([[np.cos(angles[text]), np.sin(angles[text])] for text in texts])

    labelled = [result(k, name) for k, name in enumerate(angles)]
    found = collisions(labelled, vectors)
    assert (found.same, found.near) == (0, 2)
    assert found.near_share == pytest.approx(2 / 3)
    assert "2 nearly" in found.line()
    ((one, other, cosine),) = found.pairs
    assert (one, other, cosine) == ("m/s/0", "m/s/1", pytest.approx(np.cos(0.3)))
    assert found.as_json()["pairs"] == [{"features": ["m/s/0", "m/s/1"], "cosine": cosine}]


def test_one_feature_alone_collides_with_nothing():
    found = collisions([result(0, "red")])
    assert (found.share, found.line()) == (None, "")
    assert collisions([]).line() == ""
