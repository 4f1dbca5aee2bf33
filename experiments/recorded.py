"""Sources whose measurements stand in a run's journal, so that none is made twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from ..agents.hints import Hint
from ..sae.evidence import Evidence
from ..sae.generation.texts import Generation, Order, Steered
from ..sae.inside.attention import Attention
from ..sae.inside.attribution import Attributions
from ..sae.inside.circuits import Circuits
from ..sae.inside.token_vectors import TokenVectors
from ..sae.neighbours import Decoder
from ..sae.outputs import Losses, Outputs, Promoted, Steering
from ..sae.source import FeatureSource
from ..sae.tokens import TokenActivations
from .facts import plain_activations
from .journal import Run

STEERING = TypeAdapter(Steering)
WRITTEN = TypeAdapter(Steered)


class RecordedSource:
    """A feature source that writes what it measures into a run, and measures nothing twice."""

    def __init__(self, source: FeatureSource, run: Run):
        self.subject, self.sae, self.n_features = source.subject, source.sae, source.n_features
        self._source, self._run = source, run
        self._known: dict[int, dict[str, TokenActivations]] = {}

    @property
    def key(self) -> dict[str, Any] | None:
        """See FeatureSource."""
        return self._source.key

    @property
    def evidence(self) -> Evidence:
        """See FeatureSource."""
        return self._source.evidence

    def cover(self, features: Sequence[int]) -> None:
        """See FeatureSource."""
        self._source.cover(features)

    @property
    def outputs(self) -> Outputs | None:
        """Those of the source, if it has any (see `sagescope.sae.outputs`)."""
        found: Outputs | None = getattr(self._source, "outputs", None)
        return found and RecordedOutputs(found, self._run)

    @property
    def losses(self) -> Losses | None:
        """Those of the source, if it has any (see `sagescope.sae.outputs`)."""
        found: Losses | None = getattr(self._source, "losses", None)
        return found and RecordedLosses(found, self._run)

    @property
    def attention(self) -> Attention | None:
        """That of the source, if it has any: from weights, so that nothing of it is written down."""
        return getattr(self._source, "attention", None)

    @property
    def generation(self) -> Generation | None:
        """That of the source, if it has any (see `sagescope.sae.generation`)."""
        found: Generation | None = getattr(self._source, "generation", None)
        return found and RecordedGeneration(found, self._run)

    @property
    def token_vectors(self) -> TokenVectors | None:
        """Those of the source, if it has any; they are quick, and always the same."""
        return getattr(self._source, "token_vectors", None)

    @property
    def attributions(self) -> Attributions | None:
        """Those of the source, if it has any; they are always the same."""
        return getattr(self._source, "attributions", None)

    @property
    def circuits(self) -> Circuits | None:
        """Those of the source, if it has any; they are always the same."""
        return getattr(self._source, "circuits", None)

    @property
    def room(self) -> int | None:
        """Tokens that a text may have, if the source says."""
        return getattr(self._source, "room", None)

    @property
    def decoder(self) -> Decoder | None:
        """That of the source, if it has any."""
        return getattr(self._source, "decoder", None)

    def tokenize(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """See FeatureSource."""
        return self._source.tokenize(texts)

    async def activations(self, feature: int, texts: Sequence[str]) -> list[TokenActivations]:
        """See FeatureSource."""
        known = self._known.get(feature)
        if known is None:
            events = self._run.events(feature, ["measured"])
            with self._run.reading(feature):
                known = self._known[feature] = dict(_measurement(one.payload) for one in events)
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            found = dict(zip(new, await self._source.activations(feature, new), strict=True))
            self._run.write_all(
                ("measured", {"text": text, **plain_activations(one)}, feature)
                for text, one in found.items()
            )
            known.update(found)
        return [known[text] for text in texts]


class RecordedOutputs:
    """The outputs of a source. Steering is written into a run; what the weights say is quick."""

    def __init__(self, outputs: Outputs, run: Run):
        self._outputs, self._run = outputs, run

    async def promoted(self, feature: int, n: int = 10) -> Promoted:
        """See Outputs."""
        return await self._outputs.promoted(feature, n)

    async def steered(
        self,
        feature: int,
        prompts: Sequence[str],
        strength: float = 1.0,
        n: int = 10,
        seed: int = 0,
        watched: Sequence[int] = (),
    ) -> Steering:
        """See Outputs."""
        how: dict[str, Any] = {"strength": strength, "n": n, "seed": seed}
        if watched:
            how["watched"] = list(watched)
        asked = {"prompts": list(prompts), **how}
        events = self._run.events(feature, ["steered"])
        with self._run.reading(feature):
            for event in events:
                if event.payload["asked"] == asked:
                    return STEERING.validate_python(event.payload["found"])
        found = await self._outputs.steered(feature, prompts, **how)
        self._run.write("steered", {"asked": asked, "found": asdict(found)}, feature)
        return found


class RecordedGeneration:
    """The generation of a source. What it writes stands in the run, and is not written twice."""

    def __init__(self, generation: Generation, run: Run):
        self._generation, self._run = generation, run

    async def steered(
        self, feature: int, order: Order, watch: Callable[[int], None] = lambda _: None
    ) -> Steered:
        """See Generation."""
        asked = asdict(order)
        with self._run.reading(feature):
            for event in self._run.events(feature, ["written"]):
                if event.payload["order"] == asked:
                    return WRITTEN.validate_python(event.payload["found"])
        found = await self._generation.steered(feature, order, watch)
        self._run.write("written", {"order": asked, "found": asdict(found)}, feature)
        return found


class RunHints:
    """What hints said of a feature, written into a run: an attempt that is gone on with hears the same."""

    def __init__(self, run: Run, feature: int):
        self._run, self._feature = run, feature

    def find(self, explainer: str) -> Hint | None:
        """See HintLog."""
        with self._run.reading(self._feature):
            events = self._run.events(self._feature, ["hinted"])
            said = [Hint.model_validate(event.payload) for event in events]
        return next((one for one in reversed(said) if one.explainer == explainer), None)

    def keep(self, hint: Hint) -> None:
        """See HintLog."""
        self._run.write("hinted", hint.model_dump(), self._feature)


class RecordedLosses:
    """The losses of a source. Each is written into a run, with the prefix and the text it is of."""

    def __init__(self, losses: Losses, run: Run):
        self._losses, self._run = losses, run

    async def losses(self, prefix: str, texts: Sequence[str]) -> np.ndarray:
        """See Losses."""
        known: dict[str, float] = {}
        # They are the model's, and no feature's.
        for event in self._run.events(None, ["losses"]):
            if event.payload["prefix"] == prefix:
                known.update(zip(event.payload["texts"], event.payload["losses"], strict=True))
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            found = (await self._losses.losses(prefix, new)).tolist()
            self._run.write("losses", {"prefix": prefix, "texts": new, "losses": found})
            known.update(zip(new, found, strict=True))
        return np.array([known[text] for text in texts], np.float64)


def _measurement(payload: dict[str, Any]) -> tuple[str, TokenActivations]:
    values = np.array(payload["activations"], np.float32)
    return payload["text"], TokenActivations(tuple(payload["tokens"]), values)
