"""Tables: sorted and filtered by their address, and two rows feature by feature."""

import re

import pytest
from starlette.testclient import TestClient

from sagescope.experiments.results import results_of
from sagescope.experiments.web.figures import histogram, scatter
from sagescope.experiments.web.leaderboard import Asked
from sagescope.experiments.web.site import Site

from .test_pages import Parsed


def rows(client: TestClient, address: str) -> list[dict]:
    return client.get(f"/data{address}").json()["rows"]


def test_sorted_by_its_address(client: TestClient):
    for name in ("coverage", "predictive_pearson"):
        for order in ("down", "up"):
            found = rows(client, f"/leaderboard.json?sort={name}&order={order}")
            values = [row["scores"][name]["value"] for row in found]
            known = [one for one in values if one is not None]
            assert known == sorted(known, reverse=order == "down")
            assert values[len(known) :] == [None] * (len(values) - len(known))
    by_name = rows(client, "/leaderboard.json?sort=explainer&order=up")
    assert [row["explainer"] for row in by_name] == sorted(row["explainer"] for row in by_name)


def test_filtered_by_its_address(client: TestClient):
    everything = rows(client, "/leaderboard.json")
    assert {row["kind"] for row in everything} == {"run", "control"}
    own = rows(client, "/leaderboard.json?controls=0")
    assert {row["explainer"] for row in own} == {"sage", "sage:one-hypothesis"}
    (one,) = rows(client, "/leaderboard.json?controls=0&words=ONE-hyp")
    assert one["runs"] == ["second"]
    assert "No row is left" in client.get("/leaderboard?words=nobody").text


def test_an_address_says_how_it_is_looked_at():
    asked = Asked.of({"sort": "recall", "words": "a b&c", "controls": "0", "show": "skill"})
    query = dict(part.split("=") for part in asked.address().partition("?")[2].split("&"))
    assert query == {"table": "", "sort": "recall", "order": "down", "words": "a+b%26c", "controls": "0", "show": "skill"}  # fmt: skip
    assert "order=up" in asked.sorted_by("recall")
    assert "order=down" in asked.sorted_by("coverage")
    assert "order=up" in asked.sorted_by("mind")


def test_intervals_are_drawn(client: TestClient):
    shown = Parsed(client.get("/leaderboard").text)
    kinds = [one.get("class") for one in shown.all("rect")]
    assert kinds.count("interval") > 8
    assert client.get("/leaderboard?show=skill").text != client.get("/leaderboard").text


def test_two_of_them_feature_by_feature(client: TestClient, site: Site):
    query = "left=first~by sage&right=second~by sage:one-hypothesis&score=predictive_pearson"
    found = client.get(f"/data/compare.json?{query}").json()
    sides = [
        {one.index: one.scores["predictive_pearson"].value for one in results_of(site.journal.run(name))}
        for name in ("first", "second")
    ]  # fmt: skip
    assert {row["feature"]: (row["left"], row["right"]) for row in found["features"]} == {
        index: (sides[0][index], sides[1][index]) for index in sides[0]
    }
    mean = sum(sides[0][one] - sides[1][one] for one in sides[0]) / 3
    assert found["difference"]["value"] == pytest.approx(mean)
    shown = Parsed(client.get(f"/compare?{query}").text)
    links = [str(one.get("href")) for one in shown.all("a")]
    assert links.count("/runs/first/features/0") == 2  # a point, and a row of the table
    assert any(one.get("class") == "diagonal" for one in shown.all("line"))
    assert re.search(r"interval paired by feature", shown.text)


def test_a_control_is_compared_as_well(client: TestClient):
    found = client.get("/data/compare.csv?left=first~by sage&right=first~token_lookup").text
    assert found.count("\n") == 4


def test_a_scatter_has_room_for_what_is_below_zero():
    row = {"feature": 1, "name": "/x", "left": -0.3, "right": 1.0, "about": ""}
    drawn = scatter([row])
    assert drawn.low <= -0.3
    assert 0 <= drawn.points[0].x < 10
    assert drawn.points[0].y == 0


def test_a_histogram_counts_everything_once():
    import numpy as np

    values = np.random.default_rng(0).exponential(2, 1000).astype(np.float32)
    bars = histogram(values, 3.0)
    assert sum(bar.n for bar in bars) == 1000
    assert max(bar.height for bar in bars) == 1
    assert sum(bar.n for bar in bars if bar.fires) == pytest.approx((values >= 3).sum(), abs=80)
    assert histogram(values[:0], 0.0) == []
