"""What a session shows, as HTML and in a terminal: hostile text becomes text to look at."""

import io
from html.parser import HTMLParser

import pytest
from hostile import HOSTILE
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sagescope.experiments import Session
from sagescope.experiments.sessions.pages import page
from sagescope.experiments.sessions.views import Comparison, Reading, Readings, Scale
from sagescope.sae.source import FunctionSource

SCALE = Scale(fires_at=1.0, typical_max=4.0)


def printed(view: object, colour: bool = False) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=200,
        force_terminal=colour,
        color_system="truecolor" if colour else None,
    )
    console.print(page(view))  # pyright: ignore[reportArgumentType]
    return out.getvalue()


def reading(*pairs: tuple[str, float]) -> Reading:
    tokens, values = zip(*pairs, strict=True)
    peak = max(range(len(values)), key=values.__getitem__)
    return Reading(
        kind="typed",
        tokens=tokens,
        activations=values,
        maximum=values[peak],
        peak=peak,
        fired=values[peak] >= 1,
    )


def test_the_more_active_the_stronger():
    shown = Readings(scale=SCALE, readings=(reading(("a", 0.0), (" b", 2.0), (" c", 4.0)),))
    html = shown._repr_html_()
    assert [f"20,{share})" in html for share in ("0.00", "0.45", "0.90")] == [True] * 3
    assert "a «b c»" in printed(shown)
    coloured = printed(shown, colour=True)
    assert "255;150;20" in coloured
    assert "«" not in coloured


def test_long_contexts_are_cut_around_their_peak():
    tokens = tuple(f" t{n}" for n in range(100))
    values = tuple(4.0 if n == 60 else 0.0 for n in range(100))
    one = Reading(kind="top", tokens=tokens, activations=values, maximum=4.0, peak=60, fired=True)
    shown = printed(Readings(scale=SCALE, readings=(one,)))
    assert "… " in shown
    assert " «t60» " in shown
    assert " t20 " not in shown
    assert one.trimmed().tokens[one.trimmed().peak] == " t60"


class Tags(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}


HARMLESS = {"div", "ul", "li", "span", "small", "b", "i", "p", "br", "table", "tr", "td"}


def everything(text: str):
    """Every view of a session in which everybody says one text."""
    corpus = [f"{n} {text} {n % 7}" for n in range(150)]

    def fn(text: str, feature: int):
        return [(token, 3.0 * (token.isdigit() and token < "5")) for token in text.split()]

    with Session.open(FunctionSource(fn, 1, corpus, name=text), 0, who=text) as session:
        yield session.exemplars(n=2)
        yield session.activations([text])
        yield session.compare(text, f"{text} 1")
        yield session.add(text, rule="shape: digits")
        yield session.probe(f"{text} 4", True, purpose=text)
        yield session.run_probes()
        yield session.edit(0, text)
        yield session.step()
        yield session.accept(text, labels=[text])
        yield session.undo()
        yield session.trials()
        yield session.overview()
        yield session


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_does_nothing(text: str):
    for view in everything(text):
        html = view._repr_html_()
        html.encode("utf-8")
        tags = Tags(html)
        assert tags.seen <= HARMLESS
        assert tags.attributes <= {"style", "title"}
        if not isinstance(view, Session):
            shown = printed(view)
            shown.encode("utf-8")
            assert not set(shown) & set("\x1b\x00\u202e\u2066")


pairs = st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 9)), min_size=1, max_size=12)


@given(pairs, pairs)
def test_comparing_keeps_every_token_of_both_in_order(left, right):
    rows = Comparison.of(reading(*left), reading(*right), SCALE).rows
    assert [(r.left, r.left_activation) for r in rows if r.left is not None] == left
    assert [(r.right, r.right_activation) for r in rows if r.right is not None] == right
