"""Templates render whole or not at all."""

from pathlib import Path

import jinja2
import pytest

import sagescope.prompts
from sagescope.prompts.render import render

FOLDER = Path(sagescope.prompts.__file__).parent
TEMPLATES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.j2"))
#: Those that say the same of every feature.
FIXED = ["_sketch.j2", "one-shot/system.j2", "sage-paper/system.j2", "sage/system.j2"]


def test_a_rule_in_words():
    clauses = [("strongly", 0.9, "the word “bank”"), ("weakly", 0.123, "tokens of <digits>")]
    assert render("rule_description.j2", clauses=clauses) == (
        "Fires strongly (0.90 of its typical maximum) on the word “bank”.\n"
        "Fires weakly (0.12 of its typical maximum) on tokens of <digits>."
    )
    assert render("rule_description.j2", clauses=[]).startswith("No rule found")


@pytest.mark.parametrize("name", FIXED)
def test_what_is_fixed_needs_no_variable(name: str):
    assert "sketch" in render(name) or "hypotheses" in render(name)


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - set(FIXED)))
def test_a_missing_variable_is_an_error(name: str):
    with pytest.raises(jinja2.UndefinedError):
        render(name)


def test_an_unknown_template_is_an_error():
    with pytest.raises(jinja2.TemplateNotFound, match="nothing"):
        render("nothing.j2")
