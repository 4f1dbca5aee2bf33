"""The figure of an attribution graph: whole, harmless, and its numbers those of the record."""

import re

import pytest

from sagescope.agents.inside.circuit_graph import CircuitGraph, GraphGroup, GraphNode, GraphToken
from sagescope.experiments.circuit_figure import circuit_figure, circuit_style

HOSTILE = '"><script>alert(1)</script>'


def group(label: str = "bank after river") -> GraphGroup:
    nodes = (
        GraphNode(
            kind="head", name="head 11.5", value=1.25, detail="reads 1 before (9/10): “river”"
        ),
        GraphNode(kind="neuron", name="neuron 3.102", value=0.75),
        GraphNode(kind="neuron", name="neuron 4.7", value=-0.5),
        GraphNode(kind="rest", name="1,530 other neurons", value=0.4),
        GraphNode(kind="embedding", name="the token's embedding", value=0.2),
        GraphNode(kind="bias", name="biases", value=-0.1),
    )
    return GraphGroup(
        label=label,
        samples=40,
        pre_activation=2.0,
        nodes=nodes,
        promoted=(GraphToken(token=" loan", weight=0.5), GraphToken(token=HOSTILE, weight=0.25)),
        suppressed=(GraphToken(token=" tree", weight=-0.4),),
        examples=(f"by the river ⟦ bank⟧ {HOSTILE}",),
    )


def figure(*labels: str) -> str:
    graph = CircuitGraph(groups=tuple(group(label) for label in labels))
    return str(circuit_figure(graph.model_dump()))


def test_each_term_stands_in_it_with_its_exact_number():
    html = figure("bank after river", "maple")
    assert html.count('<details class="cluster"') == 2
    for exact in ("head 11.5: +1.25 of 2; reads 1 before", "neuron 4.7: -0.5 of 2", "+0.5 logits"):
        assert html.count(exact) >= 2
    table = re.findall(r'<td class="n">([^<]+)</td>', html)[:7]
    assert sum(map(float, table[:6])) == pytest.approx(float(table[6])) == pytest.approx(2.0)


def test_text_from_outside_does_no_harm():
    html = figure(HOSTILE)
    assert "<script" not in html
    assert "style=" not in html
    assert " on" not in re.sub(r">[^<]*<|\"[^\"]*\"", "", html)


def test_there_is_none_without_a_graph():
    assert circuit_figure(None) == ""


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_in_a_browser(width, scheme, tmp_path):
    """Nothing runs over the page's edge, texts do not overlap, and the pointer singles a term out."""
    playwright = pytest.importorskip("playwright.sync_api")
    page_file = tmp_path / "figure.html"
    page_file.write_text(page_of(figure("bank after river", "maple")), encoding="utf-8")
    with playwright.sync_playwright() as start:
        browser = start.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.goto(page_file.as_uri())
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        assert page.evaluate(OVERLAPS) == []
        node = page.locator(".cluster[open] .node.neuron").first
        other = page.locator(".cluster[open] .node.head").first
        node.locator("rect").hover()
        assert float(other.evaluate("e => getComputedStyle(e).opacity")) < 0.5
        assert float(node.evaluate("e => getComputedStyle(e).opacity")) == 1
        page.locator(".cluster > summary").nth(1).click()
        assert page.locator(".cluster[open]").count() == 2
        browser.close()


#: Pairs of texts of one graph whose boxes cover each other.
OVERLAPS = """() => {
  const found = [];
  for (const svg of document.querySelectorAll('.cluster[open] svg.graph')) {
    const texts = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
    texts.forEach(([name, a], i) => texts.slice(i + 1).forEach(([other, b]) => {
      if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4)
        found.push([name, other]);
    }));
  }
  return found;
}"""


def page_of(html: str) -> str:
    colours = ":root{--ink:#222;--soft:#666;--line:#ddd;--accent:#25a;--bad:#b32;--card:#fff}"
    return (
        '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<style>{colours} body{{margin:0;font:16px sans-serif}} {circuit_style()}</style>{html}"
    )


def chromium() -> str:
    import shutil

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("there is no chromium here")
    return found
