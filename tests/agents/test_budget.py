"""Budgets: what may be a cap."""

import pytest

from sagescope.agents.budget import Budget, Spending


@pytest.mark.parametrize("cap", [-1, -0.5, float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["probes", "seconds"])
def test_a_cap_is_a_number_from_0_on(name, cap):
    with pytest.raises(ValueError, match=f"The cap on {name} must be a number from 0 on"):
        Budget(**{name: cap})


def test_none_is_no_cap():
    assert Spending(Budget(probes=None)).left("probes") == float("inf")
    assert Spending(Budget(probes=0)).left("probes") == 0
