"""SAE architectures of recent papers, as architectures of SAELens.

They train with SAELens's trainer, are saved to its two files and load with `SAE.load_from_disk`.
Importing this package imports SAELens and torch, and registers them. `import sagescope.sae` is
enough: that has this package imported as soon as SAELens is.
"""

from __future__ import annotations

from typing import Any

from sae_lens.registry import (
    SAE_CLASS_REGISTRY,
    SAE_TRAINING_CLASS_REGISTRY,
    register_sae_class,
    register_sae_training_class,
)

from ..errors import SAEError
from .aen import AdaptiveElasticNetTrainingSAE, AdaptiveElasticNetTrainingSAEConfig
from .binary import (
    BinaryDenseSAE,
    BinaryDenseSAEConfig,
    BinaryDenseTrainingSAE,
    BinaryDenseTrainingSAEConfig,
    BinaryTopKSAE,
    BinaryTopKSAEConfig,
    BinaryTranscoder,
    BinaryTranscoderConfig,
    BinaryTranscoderTraining,
    BinaryTranscoderTrainingConfig,
)
from .binary_topk import BinaryTopKTrainingSAE, BinaryTopKTrainingSAEConfig
from .gsae import GraphTrainingSAE, GraphTrainingSAEConfig
from .spade import SpaDESAE, SpaDESAEConfig, SpaDETrainingSAE, SpaDETrainingSAEConfig
from .transcoder import TrainingTranscoder, TranscoderTrainingConfig
from .tsae import TemporalTrainingSAE, TemporalTrainingSAEConfig
from .vsae import VariationalTrainingSAE, VariationalTrainingSAEConfig

#: What is trained: a class and its settings. Most are saved as an architecture that SAELens has.
TRAINED: tuple[tuple[Any, Any], ...] = (
    (AdaptiveElasticNetTrainingSAE, AdaptiveElasticNetTrainingSAEConfig),
    (BinaryDenseTrainingSAE, BinaryDenseTrainingSAEConfig),
    (BinaryTopKTrainingSAE, BinaryTopKTrainingSAEConfig),
    (BinaryTranscoderTraining, BinaryTranscoderTrainingConfig),
    (SpaDETrainingSAE, SpaDETrainingSAEConfig),
    (GraphTrainingSAE, GraphTrainingSAEConfig),
    (TemporalTrainingSAE, TemporalTrainingSAEConfig),
    (TrainingTranscoder, TranscoderTrainingConfig),
    (VariationalTrainingSAE, VariationalTrainingSAEConfig),
)

#: What is loaded and is none of SAELens's own.
LOADED: tuple[tuple[Any, Any], ...] = (
    (BinaryDenseSAE, BinaryDenseSAEConfig),
    (BinaryTopKSAE, BinaryTopKSAEConfig),
    (BinaryTranscoder, BinaryTranscoderConfig),
    (SpaDESAE, SpaDESAEConfig),
)


def register() -> None:
    """Tell SAELens of all of them; once or more often.

    Raises SAEError where another package has taken one of the names.
    """
    for registry, add, pairs in (
        (SAE_TRAINING_CLASS_REGISTRY, register_sae_training_class, TRAINED),
        (SAE_CLASS_REGISTRY, register_sae_class, LOADED),
    ):
        for sae, settings in pairs:
            name = settings.architecture()
            taken = registry.get(name)
            if taken is None:
                add(name, sae, settings)
            elif taken[0].__qualname__ != sae.__qualname__:
                raise SAEError(
                    f"SAELens already has an architecture {name}, of {taken[0].__module__}: load "
                    f"that package and Sagescope in separate programs."
                )


register()
