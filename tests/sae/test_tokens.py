"""Tables of tokens."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sagescope.sae.tokens import TokenTable

WINDOWS = st.lists(st.lists(st.sampled_from(["a", " b", "", "ö", "\n"]), max_size=6), max_size=8)


@given(WINDOWS)
def test_a_table_gives_back_its_windows(windows):
    table = TokenTable.of(windows)
    assert [table.window(number) for number in range(len(windows))] == windows
    assert len(table) == sum(map(len, windows))
    places = [place for window in windows for place in range(len(window))]
    assert table.position.tolist() == places
    assert table.window_of.tolist() == [n for n, window in enumerate(windows) for _ in window]


@given(WINDOWS, WINDOWS)
def test_joining(one, other):
    joined = TokenTable.of(one).joined(TokenTable.of(other))
    wanted = TokenTable.of([*one, *other])
    assert joined.vocab == wanted.vocab
    for name in ("ids", "starts", "documents"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(wanted, name))
