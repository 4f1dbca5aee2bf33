"""Which contexts predictions are compared on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagescope.sae.evidence import SplitEvidence
from sagescope.sae.mixture import LIMIT, draw, lots
from sagescope.sae.tokens import TokenTable


def split(windows: list[list[float]], documents: list[int] | None = None) -> SplitEvidence:
    """Windows by their activations; each window's tokens are its own."""
    tokens = [[f" w{sum(w):.3f}-{len(w)}-{at}" for at in range(len(w))] for w in windows]
    values = np.array([value for window in windows for value in window], np.float32)
    return SplitEvidence("score", TokenTable.of(tokens, documents), lambda feature: values)


def rising(n_firing: int = 100, n_silent: int = 100) -> list[list[float]]:
    silent = [[0.0] * (2 + number) for number in range(n_silent)]
    return [[0.0, 1.0 + peak, 0.5] for peak in range(n_firing)] + silent


def test_ten_top_twenty_spread_thirty_random_each_once():
    evidence = split(rising())
    mixture = draw(evidence, 0, seed=0)
    assert mixture.top.tolist() == list(range(99, 89, -1))
    # The other 90 firing windows, highest first, in 20 bands of four or five.
    bands = np.array_split(np.arange(89, -1, -1), 20)
    assert all(w in band for w, band in zip(mixture.spread.tolist(), bands, strict=True))
    assert len(mixture.random) == 30
    every = np.concatenate([mixture.top, mixture.spread, mixture.random])
    assert len(np.unique(every)) == 60
    windows = evidence.tokens.window_of[mixture.tokens]
    assert set(windows.tolist()) == set(every.tolist())
    assert len(np.unique(mixture.tokens)) == len(mixture.tokens)


def test_small_and_silent_splits_give_what_they_have():
    mixture = draw(split([[1.0, 0.0], [2.0], [0.0, 0.0]]), 0, seed=0)
    assert (mixture.top.tolist(), mixture.spread.tolist()) == ([1, 0], [])
    assert mixture.random.tolist() == [2]
    silent = draw(split([[0.0]] * 3 + [[]]), 0, seed=0)
    assert (len(silent.top), len(silent.spread), sorted(silent.random)) == (0, 0, [0, 1, 2])
    assert len(draw(split([]), 0, seed=0).tokens) == 0


@pytest.mark.parametrize("peak", [0, 5, 200, 399])
def test_long_windows_are_cut_around_their_peak(peak: int):
    window = [0.0] * 400
    window[peak] = 3.0
    mixture = draw(split([window]), 0, seed=0)
    assert len(mixture.tokens) == LIMIT
    assert np.array_equal(np.diff(mixture.tokens), np.ones(LIMIT - 1))
    assert peak in mixture.tokens


def test_tokens_know_their_document():
    mixture = draw(split([[1.0, 0.0], [2.0], [0.0]], documents=[7, 7, 9]), 0, seed=0)
    assert mixture.documents.tolist() == [7, 7, 7, 9]


@given(st.integers(0, 2**63), st.randoms())
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_corpus_decides_nothing(seed, random):
    windows = rising(60, 60)
    shuffled = random.sample(windows, len(windows))

    def chosen(windows: list[list[float]]) -> tuple[set[tuple[float, ...]], ...]:
        mixture = draw(split(windows), 0, seed)
        kinds = (mixture.top, mixture.spread, mixture.random)
        return tuple({tuple(windows[number]) for number in kind} for kind in kinds)

    assert chosen(windows) == chosen(shuffled)


def test_the_seed_decides_the_draw():
    evidence = split(rising())
    again = draw(evidence, 0, seed=1)
    assert np.array_equal(again.tokens, draw(evidence, 0, seed=1).tokens)
    assert set(again.random.tolist()) != set(draw(evidence, 0, seed=2).random.tolist())


def test_lots_read_the_order_of_tokens():
    table = TokenTable.of([["a", "b"], ["b", "a"], ["a", "b"], ["a"], []])
    found = lots(table, seed=0)
    assert found[0] == found[2]
    assert len(set(found.tolist())) == 4
