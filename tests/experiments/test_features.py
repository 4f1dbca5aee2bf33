"""Feature lists: what users may type, and draws that the seed alone decides."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagescope.experiments.features import FIRED_AT_LEAST, FeatureList, draw
from sagescope.sae.errors import FeatureError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", [7]),
        ("0-3", [0, 1, 2, 3]),
        ("5-5", [5]),
        ("0-2,9,1", [0, 1, 2, 9]),
        (" 3 , 1 - 2 ", [3, 1, 2]),
        ("007", [7]),
    ],
)
def test_lists(text: str, expected: list[int]):
    assert FeatureList.parse(text).check(10) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ",",
        "1,,2",
        "1,",
        ",1",
        "abc",
        "-3",
        "3-",
        "1-2-3",
        "1.5",
        "0x1",
        "1 2",
        "٣",
        "1_0",
        "²",
    ],
)
def test_what_is_no_list(text: str):
    with pytest.raises(ValueError, match="is no list of features: write it like 0-99,120"):
        FeatureList.parse(text)


def test_a_range_that_runs_backwards():
    with pytest.raises(ValueError, match="runs backwards: write 1-5"):
        FeatureList.parse("0,5-1")


@pytest.mark.parametrize("text", ["10", "0-10", "0-999999999999999999", "3,10-12"])
def test_a_feature_beyond_the_last_is_refused_before_the_list_is_made(text: str):
    with pytest.raises(FeatureError, match="this source has 10"):
        FeatureList.parse(text).check(10)


@given(st.text(st.characters(codec=None)))
def test_any_text_is_read_or_refused(text: str):
    try:
        found = FeatureList.parse(text)
    except ValueError:
        return
    assert found == FeatureList.parse(str(found))


@given(st.lists(st.integers(0, 50), min_size=1))
def test_what_was_written_is_read(features: list[int]):
    text = ",".join(map(str, features))
    assert FeatureList.parse(text).check(51) == list(dict.fromkeys(features))


def test_lists_from_python():
    assert FeatureList.of(3).check(10) == [3]
    assert FeatureList.of(range(8, 10)).check(10) == [8, 9]
    assert FeatureList.of([1, range(3), np.int64(7)]).check(10) == [1, 0, 2, 7]
    assert FeatureList.of([]).check(10) == []
    assert FeatureList.of(range(0)).check(10) == []
    for wrong in (["1"], [1.0], [True], "12"):
        with pytest.raises(FeatureError, match="is no feature"):
            FeatureList.of(wrong)


# --- Draws ---------------------------------------------------------------------------------------


class Table:
    """Evidence that is nothing but a table of so many lexical and contextual features."""

    def __init__(self, lexical: int, contextual: int, rare: int = 0):
        strata = ["lexical"] * lexical + ["contextual"] * contextual + ["lexical"] * rare
        fired = [FIRED_AT_LEAST] * (lexical + contextual) + [FIRED_AT_LEAST - 1] * rare
        self.frame = pd.DataFrame({"stratum": strata, "fired": fired})
        self.frame.index.name = "feature"

    def reader(self, role: str) -> "Table":
        return self

    def table(self, split: str) -> pd.DataFrame:
        return self.frame


def strata(evidence: Table, drawn: list[int]) -> dict[str, int]:
    return evidence.frame.loc[drawn]["stratum"].value_counts().to_dict()


def test_as_many_of_each_stratum():
    evidence = Table(100, 30, rare=50)
    drawn = draw(evidence, 16, seed=0)
    assert strata(evidence, drawn) == {"lexical": 8, "contextual": 8}
    assert drawn == sorted(set(drawn))
    assert max(drawn) < 130  # none that fires too rarely


def test_the_seed_decides():
    evidence = Table(100, 30)
    assert draw(evidence, 16, seed=0) == draw(evidence, 16, seed=0)
    assert draw(evidence, 16, seed=0) != draw(evidence, 16, seed=1)


def test_a_longer_draw_holds_the_shorter_one():
    evidence = Table(100, 30)
    assert set(draw(evidence, 8, seed=3)) < set(draw(evidence, 20, seed=3))


def test_where_a_stratum_has_too_few_the_other_fills_up():
    evidence = Table(100, 3)
    assert strata(evidence, draw(evidence, 16, seed=0)) == {"lexical": 13, "contextual": 3}


def test_too_few_altogether():
    with pytest.raises(FeatureError, match="Only 9 features fired 50 times or more"):
        draw(Table(5, 4, rare=20), 10, seed=0)
