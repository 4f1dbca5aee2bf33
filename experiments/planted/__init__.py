"""Planted features: the answer key. Sources whose meaning is known, and what recovering it means.

from sagescope.experiments.planted import planted_source, recovery
source = planted_source(seed=0)
recovery(source, 0, source.features[0].explanation).recovered
"""

from .recovery import Recovery, recovery
from .source import (
    ALL_CLASSES,
    CLASSES,
    DECOY,
    Options,
    PlantedFeature,
    PlantedSource,
    planted_source,
)

__all__ = [
    "ALL_CLASSES",
    "CLASSES",
    "DECOY",
    "Options",
    "PlantedFeature",
    "PlantedSource",
    "Recovery",
    "planted_source",
    "recovery",
]
