"""Templates render whole or not at all."""

import json
from pathlib import Path

import jinja2
import pytest

import sagescope.prompts
from sagescope.prompts.render import digest, render

FOLDER = Path(sagescope.prompts.__file__).parent
TEMPLATES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.j2"))
#: Those that say the same of every feature.
FIXED = [
    "_sketch.j2",
    "one-shot/system.j2",
    "output-side/system.j2",
    "sage-paper/system.j2",
    "sage/system.j2",
    "scoring/system.j2",
]


@pytest.mark.parametrize("name", FIXED)
def test_what_is_fixed_needs_no_variable(name: str):
    assert len(render(name)) > 100


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - set(FIXED)))
def test_a_missing_variable_is_an_error(name: str):
    with pytest.raises(jinja2.UndefinedError):
        render(name)


def test_an_unknown_template_is_an_error():
    with pytest.raises(jinja2.TemplateNotFound, match="nothing"):
        render("nothing.j2")


def test_an_edited_copy_goes_before_ours(tmp_path):
    (tmp_path / "sage").mkdir()
    (tmp_path / "sage" / "system.j2").write_text("You are {{ who }}.\n")
    assert render("sage/system.j2", tmp_path, who="brief") == "You are brief."
    assert render("sage/system.j2").startswith("You study one feature")
    with pytest.raises(jinja2.TemplateNotFound):
        render("sage/nothing.j2", tmp_path)


def test_a_digest_tells_edited_copies_apart(tmp_path):
    (tmp_path / "one.j2").write_text("a")
    before = digest(tmp_path)
    assert digest(tmp_path) == before
    (tmp_path / "one.j2").write_text("b")
    assert digest(tmp_path) != before


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("don't & <b> café 字", '"don\'t & <b> café 字"'),
        ('a "quote"\n\x1b[2J\u202e', '"a \\"quote\\"\\n\\u001b[2J\\u202e"'),
    ],
)
def test_a_quoted_text_is_json_that_can_be_read(tmp_path, text, shown):
    (tmp_path / "x.j2").write_text("{{ text | quoted }}", "utf-8")
    found = render("x.j2", tmp_path, text=text)
    assert found == shown
    assert json.loads(found) == text
