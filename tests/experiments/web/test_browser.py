"""The page in a real Chromium: a whole session, two tabs, sorting, accessibility, its policy."""

import contextlib
import importlib.resources
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile import HOSTILE, hostile_run
from playwright.sync_api import Browser, Page, expect, sync_playwright

from sagescope.experiments.web.site import Site

from .conftest import served

pytestmark = pytest.mark.browser

PAGES = {
    "runs": "/runs",
    "run": "/runs/first",
    "feature": "/runs/first/features/0",
    "session": "/sessions/session/0",
    "leaderboard": "/leaderboard",
    "compare": "/compare?left=first~by sage&right=second~by sage:one-hypothesis",
    "error": "/runs/nobody",
}


#: Milliseconds for what has to come about: a machine may be busy.
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no chromium here")
    with sync_playwright() as player:
        found = player.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def base(site: Site) -> Iterator[str]:
    with served(site) as address:
        yield address


@contextlib.contextmanager
def tab(browser: Browser, **how: Any) -> Iterator[Page]:
    """A page that must have nothing to complain of: no error, and nothing against its policy."""
    context = browser.new_context(**how)
    context.set_default_timeout(PATIENCE)
    page, said = context.new_page(), []
    page.on("console", lambda one: said.append(one.text) if one.type in ("error", "warning") else 0)
    page.on("pageerror", lambda one: said.append(str(one)))
    try:
        yield page
        assert said == []
    finally:
        context.close()


def begin(page: Page, base: str) -> None:
    page.goto(f"{base}/sessions/session/0")
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("heading", name="Where it stands")).to_be_visible()
    page.wait_for_load_state()  # before that, forms are sent without script


def is_whole(page: Page) -> None:
    """Wait until the parts of a feature's page that ask the model are there."""
    expect(page.locator(".histogram")).to_be_visible()
    expect(page.get_by_text("The model is being asked…")).to_have_count(0)
    expect(page.get_by_text("They are being looked for…")).to_have_count(0)


def test_a_whole_session_in_two_tabs(browser: Browser, base: str):
    with tab(browser) as first, tab(browser) as second:
        begin(first, base)
        second.goto(first.url)
        first.get_by_label("In words", exact=True).fill("fires on banks")
        first.get_by_label("Rule", exact=False).first.fill("word: bank @ .9")
        first.get_by_role("button", name="Add").click()
        expect(second.locator("#h0")).to_contain_text("fires on banks")
        expect(first.get_by_label("In words", exact=True)).to_have_value("")
        for text, prediction in (("he saw the bank .", "fires"), ("he saw the tree .", "silent")):
            first.locator("form[action$='/probe'] textarea").fill(text)
            first.get_by_label(prediction, exact=True).check()
            first.get_by_role("button", name="Predict").click()
            expect(second.locator("#state")).to_contain_text(text)
            expect(first.locator("form[action$='/probe'] textarea")).to_have_value("")
        second.locator("#h0 summary").click()
        second.get_by_label("In words", exact=True).fill("half a thought")
        first.get_by_role("button", name="Run those that wait").click()
        expect(first.locator("#answer")).to_contain_text("2 of 2")
        expect(second.locator("#h0")).to_contain_text("fired 1/1")
        # What somebody has open or has typed stays, whatever the other tab does.
        expect(second.locator("#h0 .probes li")).to_have_count(2)
        assert second.evaluate("document.querySelector('#h0').open")
        expect(second.get_by_label("In words", exact=True)).to_have_value("half a thought")
        first.get_by_role("button", name="Accept H0").click()
        expect(first.locator("#answer")).to_contain_text("on the leaderboard")
        expect(first.locator("#state")).not_to_contain_text("Under way")
        expect(second.locator("#accepted")).to_contain_text("Ada")
        tables = "[...document.querySelectorAll('.state .wide')]"
        assert first.evaluate(f"{tables}.length")
        assert first.evaluate(f"{tables}.every(one => one.scrollWidth <= one.clientWidth)")
        before = first.locator("#state").inner_text()
        first.reload()
        assert first.locator("#state").inner_text() == before
        first.get_by_role("link", name="Leaderboard").click()
        expect(first.get_by_role("rowheader", name="Ada", exact=False)).to_be_visible()


def test_what_is_refused_is_said(browser: Browser, base: str):
    context = browser.new_context()
    page = context.new_page()
    begin(page, base)
    page.get_by_role("button", name="Undo the last step").click()
    expect(page.get_by_role("alert")).to_have_text("There is nothing to undo.")
    context.close()


def test_a_text_that_is_typed_shows_its_activations(browser: Browser, base: str):
    with tab(browser) as page:
        page.goto(f"{base}/runs/first/features/0")
        expect(page.locator(".histogram")).to_be_visible()
        page.keyboard.press("/")
        page.keyboard.type("the tree by the bank")
        expect(page.locator("#tried data")).to_have_text("bank")
        page.locator("#tried data").hover()
        shown = "getComputedStyle(document.querySelector('#tried data'), '::after').content"
        assert page.evaluate(shown).startswith('"3.57142')
        page.keyboard.press("Escape")
        page.keyboard.press("]")
        page.wait_for_url("**/features/1")


def test_sorting_and_comparing(browser: Browser, base: str):
    with tab(browser) as page:
        page.goto(f"{base}/leaderboard")
        names = page.locator("tbody th")
        page.get_by_role("link", name="explainer").click()
        page.wait_for_url("**sort=explainer**")
        assert page.locator("[aria-sort]").get_attribute("aria-sort") == "ascending"
        found = [one.split("\n")[0] for one in names.all_inner_texts()]
        assert found == sorted(found)
        page.get_by_label("controls").select_option("0")
        page.wait_for_url("**controls=0**")
        expect(names).to_have_count(2)
        page.get_by_role("button", name="Compare left").click()
        expect(page.locator(".plot circle")).to_have_count(3)
        page.get_by_role("link", name="feature 1:").press("Enter")  # others may lie above it
        page.wait_for_url("**/runs/first/features/1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_everybody_can_use_it(browser: Browser, base: str, name: str, scheme: Any):
    axe = importlib.resources.files("axe_playwright_python") / "axe.min.js"
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    if name == "session":
        begin(page, base)
        page.get_by_label("In words", exact=True).fill("fires on banks")
        page.get_by_role("button", name="Add").click()
        expect(page.locator("#h0")).to_be_visible()
    else:
        page.goto(f"{base}{PAGES[name]}")
    page.wait_for_load_state("load")
    for one in page.locator("details").all():
        one.evaluate("one => { one.open = true; }")
    if name == "feature":
        is_whole(page)
    page.evaluate(axe.read_text("utf-8"))
    found = page.evaluate("axe.run()")
    said = [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for one in found["violations"]
        for node in one["nodes"][:3]
    ]
    assert said == []
    context.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_screen(browser: Browser, base: str, width: int):
    with tab(browser, viewport={"width": width, "height": 844}) as page:
        begin(page, base)
        for name, address in PAGES.items():
            if name == "error":  # whose status the browser's console tells of
                continue
            page.goto(f"{base}{address}")
            if name == "feature":
                is_whole(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_nothing_of_a_stranger_runs(browser: Browser, make_site, tmp_path: Path):
    text = "".join(HOSTILE[:4])
    site: Site = make_site(tmp_path / "hostile.db")
    hostile_run(site.journal, text)
    with served(site) as base, tab(browser) as page:
        page.on("dialog", lambda one: pytest.fail(one.message))
        for address in ("/runs", "/runs/x", "/leaderboard"):
            page.goto(f"{base}{address}")
            assert page.evaluate("document.scripts.length") == 2
            assert page.evaluate("document.images.length") == 0
