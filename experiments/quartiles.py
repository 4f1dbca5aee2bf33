"""Whether an explanation holds at low activation: how much of each quarter of the firings it says.

Of the tokens of the score split whose activation is in a quarter of the feature's range (quarters
of its non-zero activations on `explain`), the share that the explanation claims too. Turned round
this is the latent's precision for what the explanation says: how many of its weak, and of its
strong, firings are on that. A latent that fires weakly on much else falls from the strongest
quarter to the weakest; one of codes that are 0 or 1 has no weak firings.

The numbers are those of recall by quantile, bands put together (see `scoring.predictive`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from .results import Result
from .summary import two_decimals

#: Edges of the quarters, as quantiles.
QUARTERS = tuple(pairwise((0.0, 0.25, 0.5, 0.75, 1.0)))


def quarters_of(result: Result, of: str = "explanation") -> list[float | None]:
    """The share claimed in each quarter, the weakest first; None where there are no tokens."""
    bands = result.details.get(of, {}).get("recall_by_quantile", ())
    shares = []
    for low, high in QUARTERS:
        within = [
            (band["n"], band["recall"])
            for band in bands
            if low <= band["quantiles"][0] and band["quantiles"][1] <= high and band["n"]
        ]
        tokens = sum(n for n, _ in within)
        shares.append(sum(n * recall for n, recall in within) / tokens if tokens else None)
    return shares


def low_activation(result: Result) -> str:
    """Whether one explanation holds at low activation, in a sentence; "" where it is not scored."""
    weakest, *_, strongest = quarters_of(result)
    if weakest is None:
        return "" if strongest is None else "Its firings are all of one strength."
    return (
        f"Holds at low activation: {two_decimals(weakest)} of the weakest quarter of its firings "
        f"are on what the explanation says, {two_decimals(strongest)} of the strongest."
    )


def low_activation_line(results: Sequence[Result]) -> str:
    """The same of many explanations; "" where none can be said anything of."""
    found = [(weakest, strongest) for weakest, *_, strongest in map(quarters_of, results)]
    both = [(low, high) for low, high in found if low is not None and high is not None]
    if not both:
        return ""
    weakest, strongest = (sum(shares) / len(both) for shares in zip(*both, strict=True))
    halved = sum(low < high / 2 for low, high in both)
    return (
        f"At low activation: of the weakest quarter of a feature's firings {two_decimals(weakest)} "
        f"are on what its explanation says, of the strongest {two_decimals(strongest)} (means over "
        f"{len(both)} features; {halved} fall to less than half)."
    )
