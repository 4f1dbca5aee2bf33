"""Windows and batches."""

import tiny
from hypothesis import given
from hypothesis import strategies as st

from sagescope.sae.windows import batches, cut, pad, tokenized


@given(st.lists(st.integers(0, 9), max_size=50), st.integers(1, 12))
def test_windows_are_the_document_in_pieces(ids, room):
    windows = cut(ids, 3, room)
    assert [token for window in windows for token in window.ids] == ids
    assert all(0 < len(window.ids) <= room and window.document == 3 for window in windows)
    assert all(window.ids == tuple(ids[window.start :][:room]) for window in windows)


@given(
    st.lists(st.integers(0, 200), max_size=60),
    st.integers(1, 500),
    st.none() | st.integers(0, 100),
)
def test_batches_keep_to_the_budget(lengths, budget, overhead):
    groups = batches(lengths, budget, overhead)
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or max(lengths[row] for row in group) * len(group) <= budget


def test_one_long_row_does_not_lengthen_many_short_ones():
    lengths = [16] * 15 + [32]
    assert batches(lengths, 1024) == [[15, *range(15)]]
    assert batches(lengths, 1024, overhead=48) == [[15], [*range(15)]]
    assert batches([16, 32, 16], 1024, overhead=48) == [[1, 0, 2]]  # a batch more would cost more


@given(st.lists(st.integers(1, 64), max_size=60), st.integers(64 * 60, 9000), st.integers(0, 100))
def test_where_all_fit_in_one_batch_several_are_no_dearer(lengths, budget, overhead):
    """Rows for more than one batch may come out dearer: a row more in one moves those behind it."""

    def cost(groups):
        padded = sum(max(lengths[row] for row in group) * len(group) for group in groups)
        return padded + overhead * len(groups)

    assert cost(batches(lengths, budget, overhead)) <= cost(batches(lengths, budget))


def test_padding_is_on_the_right_and_aligned():
    assert pad([[1, 2, 3], [4]], 0).tolist() == [[1, 2, 3], [4, 0, 0]]
    assert pad([[1, 2, 3], [4]], 9, multiple=4).tolist() == [[1, 2, 3, 9], [4, 9, 9, 9]]


def test_documents_keep_their_tokens(subject, corpus):
    for document, row in tokenized(corpus, subject, at_once=7):
        assert "".join(row.pieces) == document.text
    assert len(list(tokenized(corpus, subject, at_once=7))) == len(tiny.sentences(60))
