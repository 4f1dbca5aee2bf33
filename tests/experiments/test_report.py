"""The report: one file, complete, and harmless whatever the corpus holds."""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile import HOSTILE, hostile_run
from hypothesis import given, settings
from hypothesis import strategies as st

from sagescope.experiments import Journal, explain
from sagescope.experiments.report import render_report, write_report
from sagescope.sae.errors import SagescopeError

#: The elements and attributes that the template itself writes.
ELEMENTS = set(
    [
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "section",
        "article",
        "footer",
        "h1",
        "h2",
        "h3",
        "p",
        "a",
        "b",
        "br",
        "ul",
        "li",
        "div",
        "span",
        "small",
        "data",
        "details",
        "summary",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "svg",
        "rect",
        "pre",
    ]
)
ATTRIBUTES = set(
    [
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "class",
        "title",
        "id",
        "href",
        "style",
        "data-of",
        "viewbox",
        "preserveaspectratio",
        "aria-hidden",
        "x",
        "y",
        "width",
        "height",
    ]
)


class Page(HTMLParser):
    """What a page is made of: its elements, attributes, links and text."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.ids |= {value or "" for name, value in attrs if name == "id"}

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_harmless(page: Page) -> None:
    assert page.elements <= ELEMENTS
    assert page.attributes <= ATTRIBUTES
    assert all(link.startswith("#") for link in page.links)


@pytest.fixture(scope="module")
def html(planted) -> str:
    def fn(text: str, feature: int):
        if feature == 2:
            raise RuntimeError("fell off <the> table")
        return planted.fires(text, feature)

    texts = planted.texts()
    corpus = [text + f" {HOSTILE[i % len(HOSTILE)]}" for i, text in enumerate(texts)]
    source = planted.PlantedSource(fn=fn, corpus=corpus)
    with Journal.open(None) as journal:
        explain(source, range(3), journal=journal, run="hostile")
        return render_report(journal.run("hostile"))


def test_it_is_whole(html: str):
    page = Page(html)
    assert html.rstrip().endswith("</html>")
    assert {"f0", "f1", "f2"} <= page.ids
    for words in (
        "3 of 3 features done",
        "confirmed",
        "should fire",
        "random explanation",
        "At low activation",
    ):
        assert words in page.text
    assert "fell off <the> table" in page.text
    assert all(link[1:] in page.ids for link in page.links)


def test_it_loads_and_runs_nothing(html: str):
    assert "default-src 'none'" in html
    assert not re.search(r"https?:|<script|@import|url\(|javascript:", html, re.IGNORECASE)
    assert_harmless(Page(html))


def test_hostile_text_is_there_as_text(html: str):
    text = Page(html).text
    for words in (
        "<script>alert(1)</script>",
        '" onmouseover="alert(1)" x="',
        "<img src=x onerror=alert(1)>",
        "{{ 7 * 7 }}",
        "⟨U+202E⟩gnp.exe⟨U+2066⟩",
        "nul⟨U+0000⟩ esc⟨U+001B⟩[2J",
        "lone ⟨U+D800⟩ surrogate",
        "--><!--]]>&lt;&#x0;",
    ):
        assert words in text


def test_shading_carries_the_exact_value(html: str):
    shaded = re.findall(r'<span class="t[ p]*" style="--a:([\d.]+)" title="([\d.]+)', html)
    assert len(shaded) > 20
    assert all(0 <= float(share) <= 1 for share, _ in shaded)
    assert len({value for _, value in shaded}) > 5


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_anywhere(text: str):
    with Journal.open(None) as journal:
        html = render_report(hostile_run(journal, text))
    html.encode("utf-8")
    assert_harmless(Page(html))


@given(st.text(st.one_of(st.sampled_from("<>\"'&;=/!-{}%# "), st.characters(codec=None))))
@settings(max_examples=40, deadline=None)
def test_any_text_anywhere(text: str):
    with Journal.open(None) as journal:
        html = render_report(hostile_run(journal, text))
    html.encode("utf-8")
    assert_harmless(Page(html))


def test_a_run_with_nothing_done():
    with Journal.open(None) as journal, journal.begin("x", CONFIG) as run:
        run.write("session", {"features": [7]})
        assert "not done" in Page(render_report(run)).text


CONFIG = {"subject": "s", "sae": "a", "explainer": "e", "mind": "m", "seed": 0, "sagescope": "0"}


def test_it_is_written_whole_or_not_at_all(tmp_path: Path):
    with Journal.open(None) as journal, journal.begin("x", CONFIG) as run:
        write_report(run, tmp_path / "new folder" / "report.html")
        assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["report.html"]
        (tmp_path / "file").touch()
        with pytest.raises(SagescopeError, match="could not be written"):
            write_report(run, tmp_path / "file" / "report.html")


def test_it_is_written_through_links_and_into_pipes(tmp_path: Path):
    with Journal.open(None) as journal, journal.begin("x", CONFIG) as run:
        for name in ("there.html", "new.html"):
            link = tmp_path / f"to {name}"
            link.symlink_to(name)
            (tmp_path / "there.html").write_text("old")
            write_report(run, link)
            assert link.is_symlink()
            assert (tmp_path / name).read_text("utf-8") == render_report(run)
        os.mkfifo(pipe := tmp_path / "pipe")
        with ThreadPoolExecutor(1) as pool:
            read = pool.submit(pipe.read_text, "utf-8")
            write_report(run, pipe)
            assert read.result() == render_report(run)
        assert pipe.is_fifo()
        with pytest.raises(SagescopeError, match="Is a directory"):
            write_report(run, tmp_path)


@pytest.mark.browser
def test_a_browser_shows_it_as_text(html: str, tmp_path: Path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("there is no chromium here")
    page = tmp_path / "report.html"
    page.write_text(html, encoding="utf-8")
    command = (
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri(),
    )  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    dom = Page(done.stdout)
    assert_harmless(dom)
    assert "<script>alert(1)</script>" in dom.text
