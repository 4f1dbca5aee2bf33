"""What rules are mined from: the tokens of a corpus and of probes, with a feature's activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from ...sae.evidence import SplitEvidence
from ...sae.tokens import TokenActivations, TokenTable
from .language import Clause, Condition, Rule
from .match import Matcher, held

#: A probe is an experiment, a corpus token an observation: how much more a probe's token counts,
#: as a share of the feature's energy in the corpus (and at least PROBE_WEIGHT_MIN).
PROBE_WEIGHT = 0.01
PROBE_WEIGHT_MIN = 2.0
#: Silent tokens looked at by the search: of each string that fires somewhere at most this many, and
#: of all others together this many. Each stands for the rest of its kind by its weight.
SILENT_PER_STRING = 100
SILENT_OTHERS = 8_000


@lru_cache(maxsize=4)
def matcher_of(split: SplitEvidence) -> Matcher:
    """The matcher of a split, shared by all features."""
    return Matcher(split.tokens)


# As many as features go at once: a feature's probes are asked about again after each call.
@lru_cache(maxsize=64)
def _matcher_of_texts(texts: tuple[tuple[str, ...], ...]) -> Matcher:
    return Matcher(TokenTable.of(texts))


@dataclass(frozen=True)
class View:
    """A way to name tokens. ids: int32 [n], each token's name; names[0] is for none."""

    kind: str
    names: list[str]
    ids: np.ndarray


class Sample:
    """A feature's activations on a corpus and on probes, as shares of its typical maximum.

    target: float32 [n], activation / typical maximum, at most 1.5. weight: float32 [n] (corpus: see
    `_balanced`). weighted_squares: float32 [n], weight × target². weighted_energy: their sum. unit:
    the typical maximum. The first `n_corpus` tokens are the corpus, the others the probes. doubtful:
    bool [windows], silent windows in which rules fired all the same: together they weigh as much as
    those that fire. is_tested: whether there are probes or doubtful text, which tell what a plain
    corpus hardly does: how far back something may stand.
    """

    def __init__(
        self,
        split: SplitEvidence,
        feature: int,
        probes: Sequence[TokenActivations] = (),
        doubtful: np.ndarray | None = None,
    ):
        self.unit = split.stats(feature).typical_max
        self._corpus = matcher_of(split)
        self._probes = _matcher_of_texts(tuple(probe.tokens for probe in probes))
        self.n_corpus = len(split.tokens)
        measured = [split.activations(feature), *(probe.activations for probe in probes)]
        self.target = np.clip(np.concatenate(measured) / (self.unit or 1.0), 0, 1.5)
        self.energy = float(np.square(self.target[: self.n_corpus]).sum())
        heavy = max(PROBE_WEIGHT_MIN, PROBE_WEIGHT * self.energy)
        self.weight = np.full(len(self.target), heavy, np.float32)
        self.weight[: self.n_corpus] = _balanced(split, feature, doubtful)
        self.is_tested = bool(len(probes)) or doubtful is not None
        self.weighted_squares = self.weight * np.square(self.target)
        self.weighted_energy = float(np.sum(self.weighted_squares)) or 1.0

    def __len__(self) -> int:
        return len(self.target)

    def condition(self, condition: Condition) -> np.ndarray:
        """bool [n]: where a condition holds."""
        return np.concatenate(
            [self._corpus.condition(condition), self._probes.condition(condition)]
        )

    def clause(self, clause: Clause) -> np.ndarray:
        """bool [n]: where a clause holds."""
        return np.concatenate([self._corpus.clause(clause), self._probes.clause(clause)])

    def held(self, clauses: Sequence[Clause]) -> tuple[np.ndarray, list[np.ndarray]]:
        """int64 [m]: the tokens on which any of the clauses holds; and of each, bool [m]: on which."""
        return held([self.clause(clause) for clause in clauses], len(self))

    def predict(self, rule: Rule) -> np.ndarray:
        """float32 [n]: the rule's prediction, as a share of the typical maximum."""
        parts = [self._corpus.predict(rule), self._probes.predict(rule)]
        return np.concatenate(parts) / np.float32(rule.unit or 1.0)

    @cached_property
    def starts(self) -> np.ndarray:
        """int64 [n]: the first token of the window that each token is in."""
        first, second = self._corpus.table, self._probes.table
        return np.concatenate(
            [first.starts[first.window_of], self.n_corpus + second.starts[second.window_of]]
        )

    @cached_property
    def position(self) -> np.ndarray:
        """int64 [n]: place in the window."""
        return np.concatenate([self._corpus.table.position, self._probes.table.position])

    @cached_property
    def in_sentence(self) -> np.ndarray:
        """int64 [n]: place in the sentence."""
        return np.concatenate([self._corpus.in_sentence, self._probes.in_sentence])

    @cached_property
    def documents(self) -> np.ndarray:
        """int64 [n]: the document (each probe is one)."""
        first, second = self._corpus.table, self._probes.table
        shift = int(first.documents.max(initial=-1)) + 1
        return np.concatenate(
            [first.documents[first.window_of], shift + second.documents[second.window_of]]
        )

    @cached_property
    def tokens(self) -> View:
        """Tokens by their exact string."""
        return _joined_view("token", [(m.table.vocab, m.table.ids) for m in self._both])

    @cached_property
    def words(self) -> View:
        """Tokens by the word up to and with them, case-folded."""
        return _joined_view("word", [m.words for m in self._both])

    def renamed(
        self, kind: str, of: Literal["words", "tokens"], name: Callable[[str], str]
    ) -> View:
        """Tokens by what `name` makes of their word or string; "" is for none."""
        return _joined_view(kind, [m.renamed(of, name) for m in self._both])

    def spelling(self, word: str) -> str:
        """The commonest spelling of a case-folded word in the corpus."""
        return self._corpus.spelling(word)

    @property
    def _both(self) -> tuple[Matcher, Matcher]:
        return self._corpus, self._probes

    @cached_property
    def focus(self) -> tuple[np.ndarray, np.ndarray]:
        """The tokens that the search looks at, in order, and their weights.

        All firing tokens and all probes; of each string that fires somewhere, up to
        SILENT_PER_STRING silent tokens; SILENT_OTHERS of the rest. Weights make each group count
        as much as it does whole.
        """
        chosen = self.target > 0
        chosen[self.n_corpus :] = True
        fires = np.zeros(len(self.tokens.names), bool)
        fires[self.tokens.ids[self.target > 0]] = True
        quiet = np.random.default_rng(0).permutation(np.flatnonzero(~chosen))
        group = np.where(fires, np.arange(len(fires)), 0)[self.tokens.ids[quiet]]
        order = np.argsort(group, kind="stable")
        quiet, group = quiet[order], group[order]
        sizes = np.bincount(group, minlength=len(fires))
        rank = np.arange(len(quiet)) - (np.cumsum(sizes) - sizes)[group]
        taken = rank < np.where(group == 0, SILENT_OTHERS, SILENT_PER_STRING)
        weight = self.weight[quiet]
        whole = np.bincount(group, weights=weight, minlength=len(fires))
        kept = np.bincount(group[taken], weights=weight[taken], minlength=len(fires))
        scale = (whole / np.maximum(kept, 1e-9))[group[taken]]
        places = np.concatenate([np.flatnonzero(chosen), quiet[taken]])
        weights = np.concatenate([self.weight[chosen], (scale * weight[taken]).astype(np.float32)])
        order = np.argsort(places)
        return places[order], weights[order]


def _balanced(split: SplitEvidence, feature: int, doubtful: np.ndarray | None) -> np.ndarray:
    """float32 [n]: 1 in windows where the feature fires, less in the others where they are more.

    Windows with and without firing count equally, as in the mixture of contexts that explanations
    are scored on; otherwise the best thing to say of a rare feature would be that it never fires.
    Of those without firing, the doubtful ones count once more as much as all others.
    """
    fires = split.peaks(feature) > 0
    silent = np.float32(min(1.0, fires.sum() / max(1, (~fires).sum())))
    weight = np.where(fires, np.float32(1.0), silent)
    if doubtful is not None and doubtful.any():
        weight[doubtful] = max(silent, np.float32(min(1.0, fires.sum() / doubtful.sum())))
    return np.repeat(weight, np.diff(split.tokens.starts))


def _joined_view(kind: str, parts: list[tuple[Sequence[str], np.ndarray]]) -> View:
    names: dict[str, int] = {"": 0}
    ids = []
    for vocab, places in parts:
        moved = np.array([names.setdefault(name, len(names)) for name in vocab], np.int32)
        ids.append(moved[places] if len(places) else np.zeros(0, np.int32))
    return View(kind, list(names), np.concatenate(ids))
