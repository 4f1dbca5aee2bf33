"""What a feature does on a text: subject models, SAEs, corpora, the host, evidence, training.

Importing this also makes the SAE architectures of `architectures` known to SAELens, as soon as
SAELens is imported; nothing heavy is imported here.
"""

import importlib

import wrapt


@wrapt.when_imported("sae_lens")
def _register_architectures(_: object) -> None:
    importlib.import_module(".architectures", __package__)
