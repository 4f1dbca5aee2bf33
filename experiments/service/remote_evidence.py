"""The evidence of a source that runs elsewhere, read over HTTP as it is asked for."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...sae.evidence import Evidence, Features, Role, SplitEvidence
from ...sae.tokens import TokenTable
from . import wire

if TYPE_CHECKING:
    from pandas import DataFrame

    from .remote import RemoteSource

#: Features of which entries are asked for at once.
AT_ONCE = 256
#: In which role a split is read, so that the service can refuse any other.
ROLES: dict[str, Role] = {"explain": "explainer", "select": "selector", "score": "scorer"}


class RemoteEvidence(Evidence):
    """Every feature's activations on the corpus of a service, by split."""

    def __init__(self, source: RemoteSource):
        from .remote import parsed

        answer = source.ask("GET", "/v1/evidence", sae=source.sae)
        about = parsed(wire.AboutEvidence, answer.content)
        covered = range(source.n_features) if about.features is None else about.features
        super().__init__({}, covered)
        if about.reference is not None:
            self.reference = about.reference
        self.splits = Splits(source, about.splits)
        self._source = source
        self._figures: dict[str, DataFrame] = {}

    def table(self, split: str = "explain") -> DataFrame:
        """See Evidence."""
        import pandas as pd

        if split not in self._figures:
            path = f"/v1/evidence/{split}/figures"
            answer = self._source.ask("GET", path, role=ROLES[split], sae=self._source.sae)
            self._figures[split] = pd.read_parquet(io.BytesIO(answer.content))
        return self._figures[split]


class Splits(Mapping[str, SplitEvidence]):
    """Splits by name, whose tokens are fetched when one is first looked at."""

    def __init__(self, source: RemoteSource, names: Iterable[str]):
        self._source, self._names = source, list(names)
        self._known: dict[str, SplitEvidence] = {}
        self._turn = threading.Lock()

    def __getitem__(self, name: str) -> SplitEvidence:
        if name not in self._names:
            raise KeyError(name)
        with self._turn:
            if name not in self._known:
                self._known[name] = RemoteSplit(self._source, name)
            return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class RemoteSplit(SplitEvidence):
    """A split whose tokens were fetched, and whose activations a service has."""

    def __init__(self, source: RemoteSource, name: str):
        path = f"/v1/evidence/{name}/tokens"
        answer = source.ask("GET", path, role=ROLES[name], sae=source.sae)
        super().__init__(name, _table(answer.content), self._dense)
        self._source = source

    def entries(self, features: Features) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See SplitEvidence."""
        asked = [int(feature) for feature in features]
        parts = []
        for first in range(0, max(1, len(asked)), AT_ONCE):
            found = self._read(asked[first : first + AT_ONCE])
            parts.append((found["places"] + first, found["tokens"], found["values"]))
        places, tokens, values = (np.concatenate(kind) for kind in zip(*parts, strict=True))
        return places, tokens, values

    def _read(self, features: list[int]) -> dict[str, np.ndarray]:
        from safetensors.numpy import load

        asked: dict[str, Any] = {
            "role": ROLES[self.name],
            "features": features,
            "sae": self._source.sae,
        }
        answer = self._source.ask("POST", f"/v1/evidence/{self.name}/entries", asked)
        return load(answer.content)

    def _dense(self, feature: int) -> np.ndarray:
        _, tokens, values = self.entries([feature])
        found = np.zeros(len(self.tokens), np.float32)
        found[tokens] = values
        return found


def _table(content: bytes) -> TokenTable:
    """The tokens of a split; their strings are in the metadata of the file's header."""
    from safetensors.numpy import load

    found = load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    vocab = json.loads(header["__metadata__"]["vocab"])
    return TokenTable(vocab, found["ids"], found["starts"], found["documents"])
