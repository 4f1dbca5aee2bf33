"""Numbers as people read them."""

import pytest

from sagescope.experiments.summary import two_decimals


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0.734, ".73"),
        (-0.05, "−.05"),
        (-0.004, ".00"),
        (1.0, "1.00"),
        (10.05, "10.05"),
        (-20.5, "−20.50"),
    ],
)
def test_scores_have_two_decimals(value, shown):
    assert two_decimals(value) == shown
