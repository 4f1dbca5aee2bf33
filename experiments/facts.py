"""What the journal keeps of a feature before anything is tried: facts, exemplars, versions."""

from __future__ import annotations

import contextlib
import importlib.metadata
from dataclasses import asdict
from typing import Any

import numpy as np

from ..sae.evidence import Exemplar
from ..sae.lookup import lookup_pearson, stratum_of
from ..sae.source import FeatureSource
from ..sae.tokens import TokenActivations

#: Exemplars that go into the journal for its readers: from the top, and spread over the quantiles.
SHOWN_TOP, SHOWN_SPREAD = 6, 6
#: Packages whose versions may change a number.
PACKAGES = ("sagescope", "torch", "transformers", "transformer-lens", "sae-lens", "numpy")


def facts_of(source: FeatureSource, feature: int) -> dict[str, Any]:
    """The payload of a "facts" event: stratum and statistics on the `explain` split.

    lookup_pearson: how well a table "token → its mean activation"
    predicts the feature, which decides the stratum.
    """
    split = source.evidence.reader("explainer").split("explain")
    pearson = lookup_pearson(split, feature)
    stats = split.stats(feature)
    return {
        "stratum": stratum_of(pearson),
        "lookup_pearson": pearson,
        "stats": {**asdict(stats), "fires_at": stats.fires_at},
    }


def exemplars_of(source: FeatureSource, feature: int) -> dict[str, Any]:
    """The payload of an "exemplars" event: contexts of the `explain` split to look at."""
    split = source.evidence.reader("explainer").split("explain")
    spread = split.spread(feature, SHOWN_SPREAD) if split.stats(feature).fired else []
    shown = {"top": split.top(feature, SHOWN_TOP), "spread": spread}
    return {
        name: [{**plain_activations(one), "peak": one.peak} for one in exemplars]
        for name, exemplars in shown.items()
    }


def versions() -> dict[str, str]:
    """Of the packages that matter, as installed here."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def plain_activations(one: TokenActivations | Exemplar) -> dict[str, Any]:
    """Tokens and activations as JSON values."""
    # A float32 is a float64, whose shortest decimal form JSON keeps: reading it back is exact.
    values = np.asarray(one.activations, np.float32).tolist()
    return {"tokens": list(one.tokens), "activations": values}
