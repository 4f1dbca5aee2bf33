"""The page of `sagescope sae-eval`, and the tables, from rows as `--json` has them."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from sagescope.experiments import sae_eval, sae_identify
from sagescope.sae.errors import SagescopeError
from sagescope.sae.evaluation.figures import DENSITY_EDGES, Evaluation
from sagescope.sae.evaluation.stability import Stability
from sagescope.sae.identifiability import Mixing, Pair, Support
from sagescope.sae.identified import Identified

HOSTILE = "<script>alert(1)</script>\u202e"
ABOUT = {
    "subject": "model",
    "sae": "sae",
    "architecture": "topk",
    "latents": 66,
    "hook_point": "blocks.1.hook_resid_post",
    "corpus": "some.txt",
}


def row(path="mine", stability=None, **more):
    figures = {"explained": 0.9, "l0": 32.0, "smoothness": None} | more
    found = Evaluation(
        tokens=100, loss_tokens=10, loss=3.0, loss_with_sae=3.1, loss_without=10.0, dead=0.01,
        highest_density=0.25, densities=tuple(range(len(DENSITY_EDGES) - 1)), stability=stability,
        **figures,
    )  # fmt: skip
    return {**ABOUT, "path": path, **found.as_json()}


def shown(renderable) -> str:
    written = io.StringIO()
    Console(width=200, file=written).print(renderable)
    return written.getvalue()


def test_a_column_for_each_sae():
    text = shown(sae_eval.table([row(), row("other", Stability(1, 0.875, 0.25), smoothness=0.5)]))
    for words in ("mine", "other", "0.9857", "1.00%", "25.00%", "0.875 (0.250)", "0.500"):
        assert words in text
    assert text.count("1.0e-06 to 1.0e-05") == 1


def test_the_page_loads_nothing_and_shows_names_as_they_are():
    page = sae_eval.page([row(HOSTILE), row("worst", explained=-3.0, l0=64.0)])
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert not re.search(r"(src|href)=", page)
    # Worse than the mean stands at the bottom; twice the L0 stands twice as far to the right.
    points = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', page)
    (near, high), (far, low) = [tuple(map(float, point)) for point in points]
    assert (high, low) == (10, 100)
    assert far == pytest.approx(2 * near, abs=0.02)


def test_a_page_that_cannot_be_written(tmp_path: Path):
    sae_eval.write_page([row()], tmp_path / "a.html")
    assert "<table" in (tmp_path / "a.html").read_text()
    with pytest.raises(SagescopeError, match="could not be written"):
        sae_eval.write_page([row()], tmp_path / "a.html" / "b.html")


def test_pairs_are_listed_and_the_rest_is_counted():
    pairs = tuple(Pair(n, n + 1, 50, 0.95, 5.0 * (n % 4)) for n in range(30))
    support = Support(4.0, 60, 50, 0.5, 0.25, pairs, 0.1)
    found = Identified(1000, Mixing(0.5, 3.0, 17, 12.0, 1.5), support, None)
    none = Identified(1000, None, Support(0.0, 1, 0, 0.0, 0.0, (), 0.0), None)
    rows = [{**ABOUT, "path": one, **it.as_json()} for one, it in (("a", found), ("b", none))]
    text = shown(sae_identify.page(rows))
    assert "Tied pairs of a, 20 of 30" in text
    assert "Tied pairs of b" not in text
    assert "30, 14" in text
    assert text.count("15° ambiguous") == 5
