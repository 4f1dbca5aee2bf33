"""Tables: who may enter, in which order, and what the figures are."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hostile import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

from sagescope.experiments import Journal, explain
from sagescope.experiments.jobs import score_run
from sagescope.experiments.journal import Event
from sagescope.experiments.leaderboard.benchmark import run_name
from sagescope.experiments.leaderboard.board import Board, board, cells_of, mean_of, skill
from sagescope.experiments.leaderboard.manifest import Manifest
from sagescope.experiments.leaderboard.output import as_json, as_markdown
from sagescope.experiments.leaderboard.rows import why_not
from sagescope.experiments.leaderboard.saes import rank_saes
from sagescope.experiments.scoring import Score
from sagescope.sae.errors import BenchmarkError


@pytest.fixture(scope="module")
def table(journal: Journal, manifest: Manifest) -> Board:
    return board([journal], manifest)


def copied(
    journal: Journal,
    into: Journal,
    run: str,
    name: str,
    leave: set[int],
    payload: Callable[[Event], dict] = lambda event: event.payload,
    **config,
) -> None:
    """A run once more, without some features, under other settings or with other payloads."""
    old = journal.run(run)
    with into.begin(name, {**old.config, **config}) as new:
        for event in old.events():
            if event.kind == "session":
                kept = [one for one in event.payload["features"] if one not in leave]
                new.write("session", {**event.payload, "features": kept})
            elif event.feature not in leave:
                new.write(event.kind, payload(event), event.feature)


def test_explainers_and_controls_are_rows(table: Board):
    kinds = {row.explainer: row.kind for row in table.rows}
    assert kinds["sage"] == kinds["sage:one-hypothesis"] == "run"
    assert {"random explanation", "token lookup"} <= {n for n, k in kinds.items() if k == "control"}
    values = [row.groups["all"].scores["coverage"].value or 0 for row in table.rows]
    assert values == sorted(values, reverse=True)
    sage = next(row for row in table.rows if row.explainer == "sage")
    assert (sage.done, sage.expected, sage.failed, sage.calls) == (4, 4, 0, 0)
    assert sage.controlled
    assert sage.probes is not None
    assert sage.probes > 0
    assert next(iter(table.columns)) == "coverage"


def test_the_means_are_those_of_the_results(table: Board):
    for row, entry in zip(table.rows, table.entries, strict=True):
        found = [score.value for _, score in entry.scores("coverage") if score]
        known = [value for value in found if value is not None]
        assert row.groups["all"].scores["coverage"].value == pytest.approx(sum(known) / len(known))


def test_the_random_explanation_has_no_skill(table: Board):
    cells = next(row for row in table.rows if row.explainer == "random explanation").groups["all"]
    for name, found in cells.skills.items():
        if found.value is not None:
            assert found.value == pytest.approx(0, abs=1e-12), name


def test_skill_by_hand():
    own = [(0, Score(value=0.9)), (1, Score(value=0.7)), (2, Score(value=0.1)), (3, None)]
    random = [(0, Score(value=0.5)), (1, Score(value=0.3)), (2, None), (3, Score(value=1.0))]
    # Means over the features 0 and 1: .8 and .4, so that (.8 − .4) / (1 − .4) = 2/3.
    assert skill(own, random).value == pytest.approx(2 / 3)
    perfect = [(0, Score(value=1.0)), (1, Score(value=1.0))]
    assert "nothing can be better" in str(skill(perfect, perfect).reason)
    assert "random control" in str(skill(own[2:], random[2:]).reason)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.99)), min_size=1, max_size=6))
def test_skill_is_at_most_one_and_has_the_sign_of_the_gain(pairs):
    own = [(n, Score(value=score)) for n, (score, _) in enumerate(pairs)]
    random = [(n, Score(value=control)) for n, (_, control) in enumerate(pairs)]
    found = skill(own, random).value
    gain = sum(score - control for score, control in pairs)
    assert found is not None
    assert found <= 1 + 1e-9
    assert found * gain >= -1e-9


def test_seeds_of_a_feature_count_as_their_mean():
    own = [(0, Score(value=1.0)), (0, Score(value=0.0)), (1, Score(value=0.5))]
    random = [(feature, Score(value=0.0)) for feature, _ in own]
    found = skill(own, random)
    assert (found.value, found.n) == (pytest.approx(0.5), 2)


def test_a_mean_is_over_features_however_many_seeds_have_a_value(table: Board):
    sage = next(entry for entry in table.entries if entry.explainer == "sage")
    first, second = sage.results[:2]

    def scored(one, value: float | None):
        score = None if value is None else Score(value=value)
        return one.model_copy(update={"scores": {**one.scores, "coverage": score}})

    # The first feature has .2 and .4 with two seeds, the second 1 and nothing.
    seeds = scored(first, 0.2), scored(first, 0.4), scored(second, 1.0), scored(second, None)
    found = mean_of(replace(sage, results=seeds), "coverage")
    assert (found.value, found.n) == (pytest.approx((0.3 + 1.0) / 2), 2)


def test_a_run_of_another_benchmark_is_refused_by_name(journal: Journal, manifest: Manifest):
    other = manifest.model_copy(update={"features": (0, 1)})
    (run, *_) = journal.runs()
    said = f"The run {run.name} is of another benchmark than tests, so it cannot enter its table: "
    with pytest.raises(BenchmarkError) as caught:
        board([journal], other, [run.name])
    assert str(caught.value) == f"{said}it has features [0, 1, 2, 3], not [0, 1]."
    assert len(board([journal], other).left_out) == 2
    assert board([journal], other).rows == ()


def test_runs_of_no_benchmark_are_passed_over(source, manifest: Manifest):
    with Journal.open(None) as journal:
        explain(source, [0], journal=journal, run="mine", score=False)
        assert board([journal], manifest).rows == ()
        assert "is of no benchmark" in str(why_not(journal.run("mine"), manifest))
        with pytest.raises(BenchmarkError, match="bench run"):
            board([journal], manifest, ["mine"])
        with pytest.raises(BenchmarkError, match="No journal has a run 'yours'"):
            board([journal], manifest, ["yours"])


def test_the_same_twice_is_one_row(journal: Journal, manifest: Manifest):
    found = board([journal, journal], manifest)
    assert [row.explainer for row in found.rows].count("sage") == 1
    assert any("only the first counts" in line for line in found.left_out)


def test_who_leaves_features_out_stands_below(journal: Journal, manifest: Manifest):
    """So that nobody comes first by explaining the easy ones only."""
    with Journal.open(None) as more:
        name = journal.runs()[0].name
        copied(journal, more, name, "easy", {1, 2, 3}, explainer="easy", submission="x")
        found = board([journal, more], manifest)
    complete = [row.done == row.expected for row in found.rows]
    assert complete == sorted(complete, reverse=True)
    easy = next(row for row in found.rows if row.explainer == "easy")
    assert (easy.kind, easy.done, easy.seconds) == ("submitted", 1, None)
    assert "1 of 4 done" in as_markdown([found], [], [])


def test_without_controls_a_row_is_marked(journal: Journal, manifest: Manifest):
    old = journal.runs()[0]
    with Journal.open(None) as bare:
        with bare.begin("bare", old.config) as new:
            for event in old.events():
                if event.kind != "scored" or event.payload["of"] == "explanation":
                    new.write(event.kind, event.payload, event.feature)
        found = board([bare], manifest)
    assert [(row.explainer, row.controlled) for row in found.rows] == [("sage", False)]
    assert "uncontrolled" in as_markdown([found], [], [])


def test_rows_are_compared_to_the_top(table: Board):
    others = [row for row in table.rows if row.kind != "control"][1:]
    top = next(row for row in table.rows if row.kind != "control")
    assert top.groups["all"].against == {}
    for row in others:
        found = row.groups["all"].against["coverage"]
        gap = (
            row.groups["all"].scores["coverage"].value - top.groups["all"].scores["coverage"].value
        )
        assert found.value == pytest.approx(gap)
        assert found.n == 4


def test_json_and_markdown_say_the_same(table: Board):
    (made,) = json.loads(as_json([table], [], []))["boards"]
    assert made["digest"] == table.manifest.digest
    assert [row["explainer"] for row in made["rows"]] == [row.explainer for row in table.rows]
    markdown = as_markdown([table], [], [])
    first = markdown.split("All features")[1].splitlines()[4]
    coverage = made["rows"][0]["groups"]["all"]["scores"]["coverage"]["value"]
    assert f"| {coverage:.2f}".replace("| 0.", "| .") in first
    widths = {line.count("|") for line in markdown.split("\n\n")[3].splitlines()}
    assert len(widths) == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_stays_a_table_whatever_a_row_is_called(
    journal: Journal, manifest: Manifest, text: str
):
    with Journal.open(None) as more:
        name = journal.runs()[0].name
        copied(journal, more, name, "h", set(), explainer=f"{text}|\n|x", mind=text, submission="x")
        markdown = as_markdown([board([more], manifest)], [], [])
    (table, *_) = [part for part in markdown.split("\n\n") if part.startswith("| explainer")]
    unescaped = [line.replace("\\|", "").count("|") for line in table.splitlines()]
    assert len(set(unescaped)) == 1
    assert "<script" not in markdown.replace("\\<", "")


def test_saes_are_ranked_on_features_that_fire_alike(
    journal: Journal, manifest: Manifest, table: Board
):
    other = manifest.model_copy(update={"sae": "other", "features": (0, 1, 2)})
    with Journal.open(None) as more:
        name = journal.runs()[0].name
        copied(journal, more, name, "other", {3}, sae="other", benchmark=other.decides)
        rankings, refused = rank_saes([table, board([more], other)])
    (ranking,) = rankings
    assert refused == []
    assert (ranking.explainer, ranking.mind) == ("sage", "rules")
    assert {row.sae for row in ranking.rows} == {"planted", "other"}
    assert len({row.matched for row in ranking.rows}) == 1
    assert all(0 < row.matched <= row.features for row in ranking.rows)


def test_saes_on_other_text_are_not_ranked_together(
    journal: Journal, manifest: Manifest, table: Board
):
    splits = {**manifest.splits, "score": manifest.splits["select"]}
    other = manifest.model_copy(update={"name": "else", "sae": "other", "splits": splits})
    with Journal.open(None) as more:
        name = journal.runs()[0].name
        copied(journal, more, name, "other", set(), sae="other", benchmark=other.decides)
        rankings, refused = rank_saes([table, board([more], other)])
    assert rankings == []
    (line,) = refused
    assert "splits score sha256" in line


def test_what_another_simulator_scored_is_not_compared(journal: Journal, manifest: Manifest):
    def answered_by_embeddings(event: Event) -> dict:
        by = {"simulator": "embedding"} if event.kind == "scored" else {}
        return {**event.payload, **by}

    by_rule = manifest.model_copy(update={"simulator": "rule"})
    words, rule = (run_name(manifest, name, "rules", 0) for name in ("sage:one-hypothesis", "sage"))
    with Journal.open(None) as mixed, Journal.open(None) as strict:
        copied(journal, mixed, rule, rule, set())
        copied(journal, mixed, words, words, set(), answered_by_embeddings)
        found = board([mixed], manifest)
        copied(
            journal, strict, words, "w", set(), answered_by_embeddings, benchmark=by_rule.decides
        )
        left = board([strict], by_rule)
        with pytest.raises(BenchmarkError, match="score it with --simulator rule"):
            board([strict], by_rule, ["w"])
    assert found.simulators[:2] == ("rule", "embedding")
    (row,) = (one for one in found.rows if one.explainer == "sage:one-hypothesis")
    assert row.simulator == "embedding"
    assert not row.groups["all"].against  # it is the top of its own block
    assert "answered for by embedding" in as_markdown([found], [], [])
    controls = [one for one in found.rows if one.explainer == "random explanation"]
    assert {one.simulator for one in controls} == {"rule", "embedding"}
    assert left.rows == ()
    assert "was scored by embedding, which does not answer in the benchmark" in left.left_out[0]


def test_each_score_says_whether_a_control_stands_beside_it(planted):
    source = planted.PlantedSource()
    with Journal.open(None) as own:
        scored = explain(source, [0, 1], journal=own, run="r", scorers=["predictive"])
        assert [one.uncontrolled for one in scored] == [(), ()]
        later = score_run(source, "r", journal=own, scorers=["graded"], controls=False)
    assert all(one.controlled for one in later)
    assert all("graded_coverage" in one.uncontrolled for one in later)
    assert not any("coverage" in one.uncontrolled for one in later)


def test_a_feature_with_random_weights_beside_several_is_one_unit(table: Board):
    sage = next(entry for entry in table.entries if entry.explainer == "sage")
    beside = [
        one.model_copy(
            update={
                "controls": {**one.controls, "random_weights": one.scores},
                "details": {**one.details, "random_weights": {"feature": f"m/s/{one.index % 2}"}},
            }
        )
        for one in sage.results
    ]
    control = replace(sage, kind="control", of="random_weights", results=tuple(beside))
    cells = cells_of(control, {"coverage": "coverage"})
    assert (mean_of(sage, "coverage").n, cells.features) == (4, 4)
    assert (cells.scores["coverage"].n, cells.scores["coverage"].low) == (2, None)
    assert cells.skills["coverage"].n == 2


def test_saes_are_ranked_by_what_was_scored(journal: Journal, manifest: Manifest):
    """Judges give no coverage by tokens: what they do give decides."""

    def judged(worth: float):
        def payload(event: Event) -> dict:
            if event.kind != "scored":
                return event.payload
            scores = {"graded_coverage": Score(value=worth).model_dump()}
            return {**event.payload, "simulator": "judge", "judge": "m", "scores": scores}

        return payload

    (name, *_) = (run.name for run in journal.runs())
    boards = []
    with Journal.open(None) as words:
        for sae, worth in (("worse", 0.2), ("better", 0.7)):
            own = manifest.model_copy(update={"sae": sae, "scorer_mind": "m"})
            copied(journal, words, name, sae, set(), judged(worth), sae=sae, benchmark=own.decides)
            boards.append(board([words], own, [sae]))
    (ranking,), _ = rank_saes(boards)
    assert [row.sae for row in ranking.rows] == ["better", "worse"]


def test_an_sae_without_a_value_is_no_zero_and_stands_last(journal: Journal, manifest: Manifest):
    def scored(value: float | None):
        def payload(event: Event) -> dict:
            if event.kind != "scored":
                return event.payload
            own = Score.undefined("no") if value is None else Score(value=value)
            other = Score(value=0.5).model_dump()
            scores = {"predictive_pearson": own.model_dump(), "predictive_auprc": other}
            return {**event.payload, "scores": scores}

        return payload

    name = journal.runs()[0].name
    scorers = tuple(one for one in manifest.scorers if one.name == "predictive")
    names = ("predictive_pearson", "predictive_auprc")
    scorers = tuple(one.model_copy(update={"scores": names}) for one in scorers)
    boards = []
    with Journal.open(None) as saes:
        for sae, value in (("unknown", None), ("bad", -0.5), ("good", 0.5)):
            own = manifest.model_copy(update={"sae": sae, "scorers": scorers})
            copied(journal, saes, name, sae, set(), scored(value), sae=sae, benchmark=own.decides)
            boards.append(board([saes], own, [sae]))
    (ranking,), _ = rank_saes(boards)
    assert [row.sae for row in ranking.rows] == ["good", "bad", "unknown"]
