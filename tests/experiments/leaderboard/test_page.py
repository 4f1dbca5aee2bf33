"""The page: complete, harmless whatever a row is called, and alive in a browser."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from chromium import Chromium
from hostile import HOSTILE
from test_board import copied

from sagescope.experiments import Journal
from sagescope.experiments.leaderboard.board import board
from sagescope.experiments.leaderboard.manifest import Manifest
from sagescope.experiments.leaderboard.output import as_page, write_leaderboard


class Parsed(HTMLParser):
    """A page's elements, attributes and text."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def hostile(journal: Journal, manifest: Manifest) -> str:
    """A page whose submissions are called by names that mean harm."""
    with Journal.open(None) as more:
        name = journal.runs()[0].name
        for number, text in enumerate(HOSTILE):
            copied(
                journal, more, name, f"h{number}", set(), explainer=text, mind=text, submission="x"
            )
        return as_page([board([journal, more], manifest)], [], [])


def test_only_its_own_script_may_run(hostile: str):
    page = Parsed(hostile)
    assert page.elements.count("script") == page.elements.count("style") == 1
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', hostile)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert len(re.findall(r"'sha256-[\w+/=]{44}'", policy[1])) == 2
    assert "unsafe" not in policy[1]
    assert not [name for name in page.attributes if name.startswith("on") or name == "style"]
    assert not re.search(r"https?:|@import|url\(|javascript:", hostile)
    assert not {"img", "iframe", "object", "form", "a", "link"} & set(page.elements)


def test_names_are_there_as_text(hostile: str):
    text = Parsed(hostile).text
    for words in (
        "<script>alert(1)</script>",
        "{{ 7 * 7 }}",
        "⟨U+202E⟩gnp.exe",
        "lone ⟨U+D800⟩ surrogate",
    ):
        assert words in text
    hostile.encode("utf-8")


def test_three_files_are_written(journal: Journal, manifest: Manifest, tmp_path: Path):
    written = write_leaderboard([board([journal], manifest)], tmp_path / "new" / "board.html")
    assert [path.name for path in written] == ["board.html", "board.json", "board.md"]
    assert all(path.stat().st_size > 500 for path in written)
    assert "No run of this benchmark" in as_page([board([], manifest)], [], [])


def names(browser: Chromium) -> list[str]:
    """The rows that can be seen, from the top."""
    script = (
        "[...document.querySelectorAll('tbody tr')].filter(row => row.offsetParent !== null)"
        ".map(row => row.querySelector('th').firstChild.textContent.trim())"
    )
    return browser.run(script)


def choose(browser: Chromium, tool: str, value: str) -> None:
    """Set one of the tools, as a hand would."""
    browser.run(
        f"(() => {{ const one = document.querySelector('[data-tool={tool}]');"
        f"if (one.type === 'checkbox') one.checked = {value or 'false'};"
        f"else one.value = '{value}';"
        "for (const kind of ['input', 'change']) one.dispatchEvent(new Event(kind)); })()"
    )


@pytest.mark.browser
def test_sorting_and_filtering_in_a_browser(journal: Journal, manifest: Manifest, tmp_path: Path):
    table = board([journal], manifest)
    (page, *_) = write_leaderboard([table], tmp_path / "board.html")
    with Chromium(tmp_path / "profile") as browser:
        browser.open(page)
        assert browser.complaints() == []
        assert names(browser) == [row.explainer for row in table.rows]
        browser.run("document.querySelector('thead th button').click()")
        assert names(browser) == sorted(row.explainer for row in table.rows)
        browser.run("document.querySelector('thead th button').click()")
        assert names(browser) == sorted((row.explainer for row in table.rows), reverse=True)
        assert browser.run("document.querySelectorAll('[aria-sort]').length") == 1
        place = [*table.columns].index("predictive_pearson") + 4
        browser.run(f"document.querySelectorAll('thead th button')[{place}].click()")
        by_pearson = [
            row.groups["all"].scores["predictive_pearson"].value
            for name in names(browser)
            for row in table.rows
            if row.explainer == name
        ]
        known = [value for value in by_pearson if value is not None]
        assert by_pearson == sorted(known, reverse=True) + [None] * (len(by_pearson) - len(known))
        choose(browser, "control", "false")
        assert set(names(browser)) == {"sage", "sage:one-hypothesis"}
        choose(browser, "search", "ONE-hyp")
        assert names(browser) == ["sage:one-hypothesis"]
        choose(browser, "search", "")
        choose(browser, "show", "skill")
        shown = browser.run("getComputedStyle(document.querySelector('.figure.raw')).display")
        assert shown == "none"
        assert browser.complaints() == []


@pytest.mark.browser
def test_a_browser_runs_nothing_of_a_stranger(hostile: str, tmp_path: Path):
    page = tmp_path / "hostile.html"
    page.write_text(hostile, encoding="utf-8")
    with Chromium(tmp_path / "profile") as browser:
        browser.open(page)
        assert browser.run("document.scripts.length") == 1
        assert "<script>alert(1)</script>" in names(browser)
        assert browser.complaints() == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_screen(journal: Journal, manifest: Manifest, tmp_path: Path, width: int):
    (page, *_) = write_leaderboard([board([journal], manifest)], tmp_path / "board.html")
    with Chromium(tmp_path / "profile") as browser:
        browser.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        browser.open(page)
        assert browser.run("document.documentElement.scrollWidth") <= width
