"""Feature sources: anything that maps texts to per-token activations of numbered features.

The loop, the scorers and the sessions know only `FeatureSource`. `FunctionSource` makes one from
any Python function; `sagescope.sae.model_source.ModelSource` from a subject model with an SAE.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .corpus import corpus_of
from .errors import CorpusError, FeatureError, TextError
from .evidence import Evidence, SplitEvidence, as_activations
from .splits import SHARES, Splitter
from .tokens import TokenActivations, TokenTable


@dataclass(frozen=True)
class FeatureId:
    """One feature: `SUBJECT/SAE/INDEX`. The subject's own name may hold slashes."""

    subject: str
    sae: str
    index: int

    def __str__(self) -> str:
        return f"{self.subject}/{self.sae}/{self.index}"


@runtime_checkable
class FeatureSource(Protocol):
    """What the loop, the scorers and the sessions know of a model with an SAE."""

    subject: str
    sae: str
    n_features: int

    @property
    def key(self) -> dict[str, Any] | None:
        """All that its numbers depend on, as JSON values: what a run is held to (None: unknown)."""
        ...

    @property
    def evidence(self) -> Evidence:
        """What the features did on the corpus, by split."""
        ...

    def cover(self, features: Sequence[int]) -> None:
        """Make sure that `evidence` has these features; that may take minutes.

        Raises FeatureError for one that the source does not have, or cannot get.
        """
        ...

    def tokenize(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """The token strings of each text."""
        ...

    async def activations(self, feature: int, texts: Sequence[str]) -> list[TokenActivations]:
        """The feature's activation on each token of each text.

        Raises FeatureError for a feature the source does not have, TextError for a text that
        cannot be run (the message names which).
        """
        ...


def check_feature(feature: int, n_features: int) -> None:
    """Raise FeatureError unless `feature` is one of n_features."""
    if not 0 <= feature < n_features:
        raise FeatureError(
            f"There is no feature {feature}: this source has {n_features}, numbered from 0."
        )


Function = Callable[[str, int], Sequence[tuple[str, float]]]


class FunctionSource:
    """Features from a function: `fn(text, feature) -> [(token, activation), ...]`.

    fn must cut a text into the same tokens for every feature: a TextError says where it does not.
    Tokens that leave out the white space
    between them get it back from the text, so that a token's string tells whether a space precedes
    it. corpus: the texts that explainers and scorers draw on; about a hundred or more, so that each
    split gets some. name: what stands for subject and SAE in feature ids.
    """

    def __init__(
        self, fn: Function, n_features: int, corpus: Sequence[str], name: str = "function"
    ):
        self.subject, self.sae = "function", name
        self.n_features = n_features
        self._fn = fn
        self._corpus = list(corpus)

    @cached_property
    def key(self) -> dict[str, Any]:
        """See FeatureSource. The code of the function is the one thing that is not in it."""
        corpus = corpus_of(self._corpus).digest()
        return {"function": self.sae, "n_features": self.n_features, "corpus": corpus}

    def cover(self, features: Sequence[int]) -> None:
        """See FeatureSource: the function gives every feature. Raises CorpusError for a bad corpus."""
        _ = self.evidence
        for feature in features:
            check_feature(feature, self.n_features)

    def tokenize(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """The token strings of each text, with the white space before them."""
        return [self._run(0, text).tokens for text in texts]

    async def activations(self, feature: int, texts: Sequence[str]) -> list[TokenActivations]:
        """The function's values on each text, computed in a thread. Errors: see FeatureSource."""
        check_feature(feature, self.n_features)
        return await asyncio.to_thread(lambda: [self._run(feature, text) for text in texts])

    @cached_property
    def evidence(self) -> Evidence:
        """The corpus, split by content; each feature's values are computed when first read."""
        splitter = Splitter(SHARES)
        texts: dict[str, list[str]] = {name: [] for name in SHARES}
        for document in corpus_of(self._corpus):
            split = splitter.place(document)
            if split:
                texts[split].append(document.text)
        empty = [name for name, members in texts.items() if not members]
        if empty:
            raise CorpusError(
                f"A corpus of {len(self._corpus)} texts leaves the split {empty[0]!r} empty: "
                f"give more distinct texts (about a hundred or more)."
            )
        splits = {name: self._split(name, members) for name, members in texts.items()}
        return Evidence(splits, range(self.n_features))

    def _split(self, name: str, texts: list[str]) -> SplitEvidence:
        table = TokenTable.of(self.tokenize(texts))

        def activations_of(feature: int) -> np.ndarray:
            check_feature(feature, self.n_features)
            found = [self._run(feature, text) for text in texts]
            for number, (text, one) in enumerate(zip(texts, found, strict=True)):
                if list(one.tokens) != table.window(number):
                    raise TextError(
                        f"The function cuts {text[:80]!r} into other tokens for feature {feature} "
                        f"than for feature 0: let it cut a text the same for every feature."
                    )
            return np.concatenate([one.activations for one in found])

        return SplitEvidence(name, table, activations_of)

    def _run(self, feature: int, text: str) -> TokenActivations:
        try:
            pairs = list(self._fn(text, feature))
            tokens = with_spaces(text, [token for token, _ in pairs])
            result = as_activations(tokens, [float(value) for _, value in pairs])
        except Exception as error:
            raise TextError(
                f"The function failed for feature {feature} on {text[:80]!r}: "
                f"{type(error).__name__}: {error}"
            ) from error
        if not np.isfinite(result.activations).all():
            raise TextError(f"Feature {feature} is not finite on {text[:80]!r}.")
        return result


def with_spaces(text: str, tokens: Sequence[str]) -> list[str]:
    """Tokens with the part of `text` before each of them that no token covers.

    A token that does not stand in the text (lower-cased, marked) is kept as it is.
    """
    found: list[str] = []
    at = 0
    for token in tokens:
        place = text.find(token, at) if token else -1
        gap = text[at:place] if place >= 0 else ""
        if place < 0 or gap.strip():
            found.append(token)
            continue
        found.append(gap + token)
        at = place + len(token)
    return found
