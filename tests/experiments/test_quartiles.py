"""Whether an explanation holds at low activation."""

from types import SimpleNamespace
from typing import Any

import pytest

from sagescope.experiments.quartiles import low_activation, low_activation_line, quarters_of

EDGES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


def result(*bands: tuple[int, float | None]) -> Any:
    """A result whose explanation finds so large a share of so many tokens, band by band."""
    found = [
        {"quantiles": EDGES[k : k + 2], "n": n, "recall": recall}
        for k, (n, recall) in enumerate(bands)
    ]
    return SimpleNamespace(details={"explanation": {"recall_by_quantile": found}})


HELD = result((10, 0.0), (30, 0.4), (50, 0.5), (50, 0.6), (30, 0.8), (15, 1.0), (5, 1.0))
FLAT = result((10, 0.5), (10, 0.5), (10, 0.5), (10, 0.5), (10, 0.5), (0, None), (0, None))
BINARY = result(*[(0, None)] * 6, (40, 0.7))


def test_bands_are_weighted_by_their_tokens():
    assert quarters_of(HELD) == pytest.approx([0.3, 0.5, 0.6, 0.88])
    assert quarters_of(BINARY) == [None, None, None, 0.7]
    assert quarters_of(HELD, "random_explanation") == [None] * 4


def test_one_explanation():
    assert ".30 of the weakest quarter" in low_activation(HELD)
    assert low_activation(HELD).endswith(".88 of the strongest.")
    assert low_activation(BINARY) == "Its firings are all of one strength."
    assert low_activation(result()) == ""


def test_many_explanations():
    line = low_activation_line([HELD, FLAT, BINARY])
    assert ".40 are on what" in line
    assert "strongest .69" in line
    assert "over 2 features; 1 fall to less than half" in line
    assert low_activation_line([BINARY]) == ""
