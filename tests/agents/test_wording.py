"""Edited prompts: what is wrong with them is said before anything is asked."""

import inspect
from pathlib import Path

import pytest

from sagescope.agents.wording import check_prompts, render
from sagescope.prompts.render import render as filled_in
from sagescope.sae.errors import PromptError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one\n{% if %}", r"propose\.j2, line 2"),
        ("{{ no_such_thing }}", "no_such_thing"),
        ("{% include 'nowhere.j2' %}{% endif %}", "propose.j2"),
    ],
)
def test_templates_that_cannot_be_used_are_refused(tmp_path, text, said):
    (tmp_path / "sage").mkdir()
    (tmp_path / "sage" / "propose.j2").write_text(text)
    with pytest.raises(PromptError, match=said):
        check_prompts(tmp_path)


def test_templates_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "sage").mkdir()
    (tmp_path / "sage" / "propose.j2").write_bytes(b"\xff\xfe")
    with pytest.raises(PromptError, match="propose"):
        check_prompts(tmp_path)


def test_a_folder_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(PromptError, match="no folder"):
        check_prompts(tmp_path / "nowhere")


def test_our_own_templates_can_be_used():
    check_prompts(Path(inspect.getfile(filled_in)).parent)


def test_what_only_filling_in_shows_is_told(tmp_path):
    (tmp_path / "sage").mkdir()
    (tmp_path / "sage" / "system.j2").write_text("{{ stats.no_such_thing }}")
    with pytest.raises(PromptError, match="no_such_thing"):
        render("sage/system.j2", tmp_path, stats=object())
