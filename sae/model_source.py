"""A subject model with an SAE as a feature source (see `source`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .collect import Readers
from .corpus import load_corpus
from .encoder import LatentReader
from .errors import FeatureError
from .evidence import Evidence, SplitEvidence
from .generation.model_generation import ModelGeneration
from .host import ActivationHost, Firing
from .inside.head import HeadAttention
from .inside.model_attribution import ModelAttributions
from .inside.model_circuits import ModelCircuits
from .inside.model_token_vectors import ModelTokenVectors
from .joined import HostPart
from .loading import load_sae
from .model_losses import ModelLosses
from .model_outputs import ModelOutputs
from .on_demand import EvidenceOnDemand
from .source import FeatureId, check_feature
from .subject import SubjectModel
from .tokens import TokenActivations

#: Text that the SAEs which come with Sagescope were not trained on.
DEFAULT_CORPUS = "builtin:english#held-out"
DEFAULT_TOKENS = 500_000


class ModelSource:
    """The features of an SAE on its subject model.

    reader: the two, joined. evidence: what the features did on a corpus, now or on demand. host:
    its part of one that several SAEs share, by default a host of its own. upstream: SAEs on the same
    subject model whose features this one's are traced to (see `inside`). Close it, or use it as a
    context manager.
    """

    def __init__(
        self,
        reader: LatentReader,
        evidence: Evidence | EvidenceOnDemand,
        host: HostPart | None = None,
        upstream: Sequence[LatentReader] = (),
    ):
        self.reader = reader
        self.upstream = tuple(upstream)
        self.host = host or ActivationHost(reader)
        self.subject, self.sae = reader.subject.id, reader.sae.name
        self.n_features = reader.sae.n_features
        self._evidence = evidence

    @classmethod
    def load(
        cls,
        subject: str,
        sae: str,
        corpus: str = DEFAULT_CORPUS,
        tokens: int = DEFAULT_TOKENS,
        *,
        device: str = "auto",
        dtype: str = "auto",
        root: Path | None = None,
        progress: bool = True,
        upstream: Sequence[str] = (),
    ) -> ModelSource:
        """Load what the specs name; the evidence is collected, or found, when first asked for.

        Specs: see `subject`, `loading` and `corpus`. root, progress: see `collect`.
        """
        model = SubjectModel.load(subject, device=device, dtype=dtype)
        reader, *others = [LatentReader(model, load_sae(spec)) for spec in (sae, *upstream)]
        evidence = EvidenceOnDemand(reader, load_corpus(corpus), tokens, root, progress)
        return cls(reader, evidence, upstream=others)

    def __enter__(self) -> ModelSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the activation host."""
        self.host.close()

    @property
    def evidence(self) -> Evidence:
        """What the features did on the corpus, by split. Its table always has all features."""
        held = self._evidence
        return held if isinstance(held, Evidence) else held.get()

    @property
    def room(self) -> int:
        """Tokens that a text may have."""
        return self.reader.room

    def decoder(self, features: Sequence[int]) -> np.ndarray:
        """The directions that features write: [features, d], float32."""
        rows = self.reader.sae.module.W_dec.detach()[list(features)]
        return rows.float().cpu().numpy()

    def cover(self, features: Sequence[int]) -> None:
        """See FeatureSource. Where the evidence at hand lacks a feature, all are collected."""
        for feature in features:
            check_feature(feature, self.n_features)
        held = self._evidence
        covered = held if isinstance(held, Evidence) else held.covering(features)
        if missing := sorted(set(features) - set(covered.features)):
            raise FeatureError(
                f"The evidence does not cover feature {missing[0]}: collect it for that feature."
            )

    def collect_with(self, readers: Readers | None) -> None:
        """Have evidence that is yet to be collected run through others' models (None: its own)."""
        if isinstance(self._evidence, EvidenceOnDemand):
            self._evidence.readers = readers

    def ship(self, features: Sequence[int], target: Path) -> Path:
        """Write the evidence of some features, without its text, below a folder (see `shipped`).

        Raises FeatureError where the evidence was not collected by this source.
        """
        if isinstance(self._evidence, Evidence):
            raise FeatureError("Only evidence that the source has collected itself can be shipped.")
        return self._evidence.ship(features, target)

    def with_random_weights(self, tokens: int) -> ModelSource | None:
        """The same SAE's features on the model with random weights; None without a corpus.

        tokens: of the source's corpus, if it has so many; they are collected as all evidence is,
        once. Close it too.
        """
        held = self._evidence
        if isinstance(held, Evidence):
            return None
        subject = self.reader.subject.with_random_weights()
        reader = LatentReader(subject, self.reader.sae)
        return ModelSource(reader, held.of(reader, tokens))

    @property
    def key(self) -> dict[str, Any] | None:
        """All that its numbers depend on, as JSON values: what a run is held to (None: unknown)."""
        return self._evidence.key if isinstance(self._evidence, EvidenceOnDemand) else None

    def tokenize(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """The token strings of each text, without the BOS token."""
        return [row.pieces for row in self.reader.subject.tokenize(list(texts))]

    async def activations(self, feature: int, texts: Sequence[str]) -> list[TokenActivations]:
        """The feature's activation on each token of each text, in the SAE's own units.

        Raises FeatureError for a feature the SAE does not have, TextError for a text that cannot be
        run.
        """
        return await self.host.activations(feature, texts)

    async def strongest(
        self, texts: Sequence[str], n: int
    ) -> list[tuple[tuple[str, ...], list[Firing]]]:
        """The tokens of each text, and the n features that fire highest on any of them.

        Raises TextError for a text that cannot be run.
        """
        found = await self.host.latents(texts)
        return [(one.pieces, one.strongest(n)) for one in found]

    @cached_property
    def outputs(self) -> ModelOutputs:
        """What its features do to the model's next token. Steering asks for the evidence."""
        return ModelOutputs(self.reader, self._typical_max)

    @cached_property
    def losses(self) -> ModelLosses:
        """How well its subject model foretells texts."""
        return ModelLosses(self.reader.subject)

    @cached_property
    def circuits(self) -> ModelCircuits:
        """What its features read of what the model wrote before, and of features of upstream SAEs."""
        return ModelCircuits(self.reader, self.upstream)

    @cached_property
    def attention(self) -> HeadAttention:
        """What the attention head that its SAE reads gives its features. Asks for the evidence."""
        return HeadAttention(self.reader, self._explain)

    @cached_property
    def generation(self) -> ModelGeneration:
        """What its model writes while a feature is steered. Asks for the evidence."""
        return ModelGeneration(self.reader, lambda: self.evidence.reader("selector"))

    def _explain(self) -> SplitEvidence:
        return self.evidence.reader("explainer").split("explain")

    @cached_property
    def token_vectors(self) -> ModelTokenVectors:
        """What its weights say of tokens, beside what upstream SAEs hand on."""
        return ModelTokenVectors(self.reader, self.upstream)

    @cached_property
    def attributions(self) -> ModelAttributions:
        """Which tokens of a text make its features fire."""
        return ModelAttributions(self.reader)

    def _typical_max(self, feature: int) -> float:
        return self._explain().stats(feature).typical_max

    def id(self, feature: int) -> FeatureId:
        """The name of one of its features."""
        return FeatureId(self.subject, self.sae, feature)
