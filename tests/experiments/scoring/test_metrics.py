"""Metrics beside small cases worked out by hand, and beside scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagescope.experiments.scoring import metrics

#: Five items of five documents: predicted, measured, and whether they fire.
P = np.array([4.0, 3.0, 3.0, 1.0, 0.0])
A = np.array([2.0, 0.0, 4.0, 0.0, 0.0])
FIRES, SAID = A > 0, P >= 3
UNITS = np.arange(5)


def test_by_hand():
    # Firing: 4 and one of the two 3; silent: the other 3, 1 and 0. 4 beats three, 3 beats two and ties one.
    assert metrics.auc(P, FIRES, UNITS, 0).value == pytest.approx((3 + 2.5) / 6)
    # At 4: precision 1, recall ½; at 3: precision ⅔, recall 1.
    assert metrics.auprc(P, FIRES, UNITS, 0).value == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert metrics.cosine(P, A, UNITS, 0).value == pytest.approx(20 / np.sqrt(35 * 20))
    assert metrics.f1(SAID, FIRES, UNITS, 0).value == pytest.approx(4 / 5)
    assert metrics.iou(SAID, FIRES, UNITS, 0).value == pytest.approx(2 / 3)


def test_gini_keeps_the_interval():
    area = metrics.auc(P, FIRES, UNITS, 0)
    score = metrics.gini(area)
    assert score.value == pytest.approx(2 * 5.5 / 6 - 1)
    assert (score.low, score.high) == (2 * area.low - 1, 2 * area.high - 1)


@pytest.mark.parametrize("name", ["auc", "f1", "iou"])
def test_what_cannot_be_told_is_undefined(name):
    nothing = np.zeros(5, bool)
    predicted = P if name == "auc" else SAID
    score = getattr(metrics, name)(predicted, nothing, UNITS, 0)
    assert score.value is None
    assert score.reason


def test_predicting_nothing_has_no_skill():
    nothing = np.zeros(5)
    assert metrics.cosine(nothing, A, UNITS, 0).value == 0
    assert metrics.auc(nothing, FIRES, UNITS, 0).value == 0.5
    assert metrics.f1(nothing > 0, FIRES, UNITS, 0).value == 0


columns = st.lists(
    st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 5)), min_size=2, max_size=40
)


@settings(max_examples=60, deadline=None)
@given(columns)
def test_like_scikit_learn(rows):
    from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score

    predicted = np.array([row[0] for row in rows], np.float64)
    fires = np.array([row[1] for row in rows])
    units = np.array([row[2] for row in rows])
    said = predicted >= 2
    if fires.any():
        found = metrics.auprc(predicted, fires, units, 0).value
        assert found == pytest.approx(average_precision_score(fires, predicted))
        assert metrics.f1(said, fires, units, 0).value == pytest.approx(f1_score(fires, said))
        assert metrics.iou(said, fires, units, 0).value == pytest.approx(jaccard_score(fires, said))
    if fires.any() and not fires.all():
        area = metrics.auc(predicted, fires, units, 0).value
        assert area == pytest.approx(roc_auc_score(fires, predicted))


@settings(max_examples=30, deadline=None)
@given(columns, st.randoms(use_true_random=False))
def test_the_order_of_items_changes_nothing(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    for name in ("auc", "auprc"):
        scores = [
            getattr(metrics, name)(
                np.array([row[0] for row in some], np.float64),
                np.array([row[1] for row in some]),
                np.array([row[2] for row in some]),
                0,
            )
            for some in (rows, shuffled)
        ]
        assert scores[0] == scores[1]
