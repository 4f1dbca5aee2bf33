"""Forms of tokens: letters and digits left open, marks kept."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagescope.agents.rules.forms import form


@pytest.mark.parametrize(
    ("token", "opened", "exact"),
    [
        (" 2019-03-14", r"\d+\-\d+\-\d+", r"\d{4}\-\d{2}\-\d{2}"),
        ("#harbour", r"\#[a-z]+", ""),
        ("getName()", r"[a-z]+[A-Z]+[a-z]+\(\)", ""),
        (" 1998", "", r"\d{4}"),
        ("bank", "", ""),
        (" (", r"\(", ""),
        ("", "", ""),
    ],
)
def test_forms(token: str, opened: str, exact: str):
    assert (form(token, False), form(token, True)) == (opened, exact)


@given(st.text(max_size=20), st.booleans())
def test_every_token_matches_its_own_form(token: str, exact: bool):
    found = form(token, exact)
    assert not found or re.fullmatch(found, token.strip())
