"""Jobs: nothing is lost, nothing is done twice, one feature's trouble is its own."""

import asyncio
import dataclasses
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sagescope.agents.budget import Budget
from sagescope.experiments import Journal, explain
from sagescope.experiments.jobs import Job, score_run, work
from sagescope.experiments.recorded import RecordedSource
from sagescope.experiments.results import Result, results_of
from sagescope.experiments.scoring import CONTROL_NAMES
from sagescope.sae.errors import FeatureError, JournalError, MindError, UnknownName

#: What `simulators` makes.
MADE_HERE = ("explanation", *CONTROL_NAMES[:4])

SCRIPT = Path(__file__).with_name("planted.py")


def comparable(results: list[Result]) -> list[str]:
    """Results as JSON, without the time they took."""
    rows = [json.loads(result.as_json()) for result in results]
    for row in rows:
        del row["cost"]["seconds"], row["run"]
    return [json.dumps(row) for row in rows]


def transcripts(journal: Journal, run: str) -> list[Any]:
    """What the latest attempt of each feature wrote, without measurements and times."""
    kinds = ("hypothesis", "probe", "outcome", "verdict", "note", "scored")
    begun = journal.run(run)
    return [
        (feature, [(e.kind, e.payload) for e in begun.attempt(feature) if e.kind in kinds])
        for feature in sorted(begun.features)
    ]


def test_one_result_for_each_feature_in_the_order_asked(source):
    results = explain(source, [2, 0, range(3, 5)])
    assert [result.index for result in results] == [2, 0, 3, 4]
    assert {result.status for result in results} == {"concluded"}
    assert all(result.scores["predictive_pearson"].value > 0.8 for result in results)


def test_the_same_job_gives_the_same_results(planted, source):
    first = explain(source, range(3), concurrency=1)
    second = explain(planted.PlantedSource(), [2, 1, 0], concurrency=3)
    assert comparable(first) == comparable(second[::-1])


def test_inside_a_running_event_loop(source):
    async def notebook() -> list[Result]:
        return explain(source, [0], score=False)

    (result,) = asyncio.run(notebook())
    assert result.status == "concluded"


def test_a_loop_in_another_thread_passes_errors_on(source, tmp_path: Path):
    async def notebook() -> list[Result]:
        return explain(source, [99])

    with pytest.raises(FeatureError, match="no feature 99"):
        asyncio.run(notebook())


def test_nothing_is_kept_without_a_journal(source, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    explain(source, [0], score=False)
    assert list(tmp_path.iterdir()) == []
    explain(source, [0], score=False, run="kept")
    assert [path.name for path in tmp_path.iterdir()] == ["sagescope.db"]


def test_no_features_no_results(source):
    assert explain(source, []) == []


@pytest.mark.parametrize("features", [[-1], [5], [0, 99], range(3, 6), [True], ["1"], 1.0, [1.5]])
def test_features_that_there_are_not(source, features):
    with pytest.raises(FeatureError):
        explain(source, features)
    assert source.measured == []


def test_an_unknown_explainer_shows_the_known(source):
    with pytest.raises(UnknownName, match="sage"):
        explain(source, [0], explainer="sagge")


# --- Going on ------------------------------------------------------------------------------------


def test_a_finished_run_measures_nothing_again(planted, source, tmp_path: Path):
    first = explain(source, range(3), journal=tmp_path / "j.db")
    again = planted.PlantedSource()
    second = explain(again, range(3), journal=tmp_path / "j.db")
    assert again.measured == []
    assert [r.as_json() for r in first] == [r.as_json() for r in second]


def test_a_run_may_grow(planted, source, tmp_path: Path):
    explain(source, [1, 0], journal=tmp_path / "j.db")
    more = planted.PlantedSource()
    results = explain(more, range(3), journal=tmp_path / "j.db")
    assert [result.index for result in results] == [0, 1, 2]
    assert {feature for feature, _ in more.measured} == {2}
    with Journal.open(tmp_path / "j.db") as journal:
        assert journal.run("explain").features == [1, 0, 2]


def test_other_settings_need_another_run(source, tmp_path: Path):
    explain(source, [0], journal=tmp_path / "j.db", score=False)
    for other in ({"seed": 1}, {"budget": Budget(probes=3)}):
        with pytest.raises(JournalError, match="was begun with"):
            explain(source, [0], journal=tmp_path / "j.db", **other)
    explain(source, [0], journal=tmp_path / "j.db", seed=1, run="other", score=False)


def test_scores_can_be_made_later(planted, source, tmp_path: Path):
    plain = explain(source, range(2), journal=tmp_path / "j.db", score=False)
    assert plain[0].scores["input"] is None
    assert plain[0].controls == dict.fromkeys(CONTROL_NAMES)
    scored = explain(source, range(2), journal=tmp_path / "j.db")
    assert comparable(scored) == comparable(explain(planted.PlantedSource(), range(2)))


async def test_measurements_come_back_from_the_journal(planted, source, tmp_path: Path):
    asked = ["the bank.", "he saw the bank.", "the bank."]
    with Journal.open(tmp_path / "j.db") as journal:
        with journal.begin("x", {}) as run:
            first = await RecordedSource(source, run).activations(0, asked)
        assert source.measured == [(0, ("the bank.", "he saw the bank."))]
        with journal.begin("x", {}) as run:
            recorded = RecordedSource(source, run)
            second = await recorded.activations(0, asked)
            await recorded.activations(1, asked[:1])  # another feature's
        assert source.measured[1:] == [(1, ("the bank.",))]
    for one, other in zip(first, second, strict=True):
        assert one.tokens == other.tokens
        assert other.activations.dtype == np.float32
        np.testing.assert_array_equal(one.activations, other.activations)


def events_in(journal: Path) -> int:
    if not journal.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as connection:
            (count,) = connection.execute("SELECT COUNT(*) FROM events").fetchone()
        connection.close()
    except sqlite3.OperationalError:  # not yet made
        return 0
    return count


def kill_when(journal: Path, events: int) -> int:
    """Run the planted job, SIGKILL it once the journal holds so many events, count them after."""
    command = [sys.executable, str(SCRIPT), str(journal), "x", "0.004"]
    job = subprocess.Popen(command, start_new_session=True)
    while job.poll() is None and events_in(journal) < events:
        time.sleep(0.002)
    job.send_signal(signal.SIGKILL)
    job.wait()
    return events_in(journal)


def test_killed_at_any_moment_it_comes_to_the_same_end(planted, tmp_path: Path):
    with Journal.open(tmp_path / "whole.db") as journal:
        whole = explain(planted.PlantedSource(), range(5), journal=journal, run="x", concurrency=2)
        length = len(journal.run("x").events())
        expected = transcripts(journal, "x")
    draw = random.Random()
    moments = sorted(draw.sample(range(1, length), 3))
    reached = [kill_when(tmp_path / "killed.db", moment) for moment in moments]
    assert reached[0] < length, "it ended before it was killed: nothing was tested"
    with Journal.open(tmp_path / "killed.db") as journal:
        resumed = explain(
            planted.PlantedSource(), range(5), journal=journal, run="x", concurrency=2
        )
        assert comparable(resumed) == comparable(whole), f"killed at {moments} of {length} events"
        assert transcripts(journal, "x") == expected


def test_interrupting_ends_cleanly_and_goes_on(planted, tmp_path: Path):
    job = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(tmp_path / "j.db"), "x", "0.01"],
        stderr=subprocess.PIPE,
        text=True,
    )
    while events_in(tmp_path / "j.db") < 30:
        assert job.poll() is None
        time.sleep(0.01)
    job.send_signal(signal.SIGINT)
    _, stderr = job.communicate(timeout=60)
    assert job.returncode == -signal.SIGINT
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    assert not list(tmp_path.glob("*.lock"))
    source = planted.PlantedSource()
    results = explain(source, range(5), journal=tmp_path / "j.db", run="x", concurrency=2)
    assert comparable(results) == comparable(explain(planted.PlantedSource(), range(5)))


def test_interrupting_a_notebook_cell_stops_the_work(planted):
    class Interrupting(planted.PlantedSource):
        async def activations(self, feature, texts):
            if len(self.measured) == 5:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            return await super().activations(feature, texts)

    async def notebook() -> None:
        explain(source, range(5))

    source = Interrupting(pause=0.01)
    loop = asyncio.new_event_loop()  # unlike asyncio.run, but like a notebook, it leaves SIGINT be
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(notebook())
    loop.close()
    count = len(source.measured)
    assert count < 30
    time.sleep(0.1)
    assert len(source.measured) == count


# --- Trouble -------------------------------------------------------------------------------------


def test_one_failing_feature_leaves_the_others_alone(planted, tmp_path: Path):
    def fn(text: str, feature: int):
        if feature == 1:
            raise RuntimeError("the probe fell off")
        return planted.fires(text, feature)

    source = planted.PlantedSource(fn=fn)
    results = explain(source, range(3), journal=tmp_path / "j.db")
    assert [result.status for result in results] == ["concluded", "failed", "concluded"]
    failed = results[1]
    assert "the probe fell off" in failed.error
    assert failed.stratum is None
    assert failed.explanation.labels == ()
    assert set(failed.scores.values()) == {None}
    assert results[0].details["random_explanation"]["explanation_of"] == 2
    # It is not tried again unless one asks for it.
    again = explain(planted.PlantedSource(), range(3), journal=tmp_path / "j.db")
    assert again[1].as_json() == failed.as_json()
    mended = explain(
        planted.PlantedSource(), range(3), journal=tmp_path / "j.db", retry_failed=True
    )
    assert {result.status for result in mended} == {"concluded"}
    assert mended[0].as_json() == results[0].as_json()


def test_scoring_that_fails_leaves_the_others_alone(source, planted, monkeypatch):
    from sagescope.experiments import scored

    real = scored.score_simulator

    async def score_simulator(target: Any, simulator: Any, scorers: Any) -> Any:
        if target.feature == 1:
            raise RuntimeError("no luck")
        return await real(target, simulator, scorers)

    with Journal.open(None) as journal:
        monkeypatch.setattr(scored, "score_simulator", score_simulator)
        good, bad = explain(source, [0, 1], journal=journal)
        assert bad.status == "concluded"
        assert bad.details["explanation"]["why"] == "RuntimeError: no luck"
        assert set(bad.scores.values()) == {None}
        monkeypatch.undo()
        mended = explain(source, [0, 1], journal=journal, retry_failed=True)
    assert mended[0].as_json() == good.as_json()
    assert mended[1].controls["random_explanation"] is not None
    assert comparable(mended) == comparable(explain(planted.PlantedSource(), [0, 1]))


def test_an_explanation_that_cannot_be_scored_leaves_its_controls_alone(source, monkeypatch):
    from sagescope.experiments import scored

    real, failed = scored.score_simulator, []

    async def score_simulator(target: Any, simulator: Any, scorers: Any) -> Any:
        if not failed:  # the explanation comes first
            failed.append(simulator)
            raise RuntimeError("no luck")
        return await real(target, simulator, scorers)

    with Journal.open(None) as journal:
        monkeypatch.setattr(scored, "score_simulator", score_simulator)
        first, other = explain(source, [0, 1], journal=journal, concurrency=1)
        failed_by = {"simulator": "rule", "why": "RuntimeError: no luck"}
        assert first.details["explanation"] == failed_by
        assert set(first.scores.values()) == {None}
        made = [scores for scores in first.controls.values() if scores]
        assert len(made) == 5
        assert all(scores["input"] for scores in made)
        again = explain(source, [0, 1], journal=journal, concurrency=1)
    assert [result.as_json() for result in again] == [first.as_json(), other.as_json()]


def test_controls_that_cannot_be_made_cost_no_score(source, planted, monkeypatch):
    from sagescope.experiments import scored

    def simulators(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no table")

    with Journal.open(None) as journal:
        (alone,) = explain(source, [0], journal=journal)
        monkeypatch.setattr(scored, "simulators", simulators)
        kept, other = explain(source, [0, 1], journal=journal)
        assert kept.scores == alone.scores
        assert kept.controls["token_lookup"] == alone.controls["token_lookup"]
        assert kept.details["random_explanation"]["why"] == "RuntimeError: no table"
        whys = {what.get("why") for name, what in other.details.items() if name in MADE_HERE}
        assert whys == {"RuntimeError: no table"}
        monkeypatch.undo()
        for retry in (False, True):
            found = explain(source, [0, 1], journal=journal, retry_failed=retry)
            assert (found[1].as_json() == other.as_json()) is not retry
    assert comparable(found) == comparable(explain(planted.PlantedSource(), [0, 1]))


def test_a_feature_that_never_fires_has_a_result(planted):
    source = planted.PlantedSource(fn=lambda text, feature: [(t, 0.0) for t in text.split()])
    for result in explain(source, [0, 1]):
        assert result.status != "failed"
        assert result.scores["predictive_pearson"].value is None
        assert result.controls["token_lookup"] is None
        assert (
            result.details["token_lookup"]["why"] == "the feature never fires on the explain split"
        )
        result.as_json()


def test_a_journal_that_fails_ends_the_run_with_its_reason(source):
    async def body() -> None:
        with Journal.open(None) as journal, journal.begin("x", {}) as run:

            def stop_writing(stage: str, done: int, total: int) -> None:
                run.writable = done == 0

            job = Job([0, 1, 2], concurrency=1)
            await work(job, source, run, stop_writing)

    with pytest.raises(JournalError, match="reading only"):
        asyncio.run(body())


def test_evidence_that_cannot_be_had_is_said_at_once(planted, tmp_path: Path):
    source = planted.PlantedSource(corpus=["one text", "another"])
    with pytest.raises(Exception, match="empty"):
        explain(source, [0], journal=tmp_path / "j.db")


# --- Controls ------------------------------------------------------------------------------------


def partners(results: list[Result]) -> dict[int, int]:
    return {r.index: r.details["random_explanation"]["explanation_of"] for r in results}


def test_every_feature_gets_anothers_explanation_as_control(planted, source):
    found = partners(explain(source, range(5), concurrency=5))
    assert sorted(found) == sorted(found.values())
    assert all(feature != other for feature, other in found.items())
    assert found == partners(explain(planted.PlantedSource(), [4, 2, 0, 1, 3], concurrency=1))


def test_a_lone_feature_has_no_random_control(source, tmp_path: Path):
    (result,) = explain(source, [0], journal=tmp_path / "j.db")
    assert result.controls["random_explanation"] is None
    assert "no other feature" in result.details["random_explanation"]["why"]
    grown = explain(source, [0, 1], journal=tmp_path / "j.db")
    assert partners(grown) == {0: 1, 1: 0}


# --- What it tells on the way --------------------------------------------------------------------


def test_progress_is_told(source):
    told: list[tuple[str, int, int]] = []
    explain(source, range(2), watch=lambda *news: told.append(news))
    assert told == [
        *(("Explaining", done, 2) for done in range(3)),
        *(("Scoring", done, 2) for done in range(3)),
    ]


def test_probes_and_outcomes_that_an_explainer_only_returned_are_written(source, monkeypatch):
    from sagescope.agents.explainers import EXPLAINERS, Task

    real = EXPLAINERS["sage"]

    class Silent:
        async def explain(self, task: Task):
            return await real.explain(dataclasses.replace(task, record=lambda *event: None))

    monkeypatch.setitem(EXPLAINERS, "silent", Silent())
    with Journal.open(None) as journal:
        explain(source, [0], explainer="silent", journal=journal, run="x", score=False)
        explain(source, [0], journal=journal, run="y", score=False)
        pairs = [
            [(e.kind, e.payload) for e in journal.run(name).attempt(0) if e.kind == kind]
            for name in "xy"
            for kind in ("probe", "outcome")
        ]
        assert pairs[0] == pairs[2]
        assert pairs[1] == pairs[3]
        assert len(results_of(journal.run("x"))) == 1


def test_more_scorers_later(source, monkeypatch):
    """What one scorer made stays, byte for byte, when another one comes."""
    both = explain(source, [0, 1], scorers=["predictive", "generated"])
    with Journal.open(None) as journal:
        explain(source, [0, 1], journal=journal, run="r", scorers=["generated"])
        found = score_run(source, "r", journal=journal, scorers=["predictive"])
        events = len(list(journal.run("r").events(0, ["scored"])))
        again = score_run(source, "r", journal=journal, scorers=["all"])
        assert again[0].scores.items() >= found[0].scores.items()
        assert len(list(journal.run("r").events(0, ["measured"])))
        more = len(list(journal.run("r").events(0, ["scored"])))
        score_run(source, "r", journal=journal, scorers=["all"])
        assert len(list(journal.run("r").events(0, ["scored"]))) == more >= events
    assert comparable(found) == comparable(both)


def test_scoring_a_run_of_another_source(source, planted):
    other = planted.PlantedSource(corpus=planted.texts(seed=1))
    with Journal.open(None) as journal:
        explain(source, [0], journal=journal, run="r")
        with pytest.raises(JournalError, match="begun with"):
            score_run(other, "r", journal=journal)
        with pytest.raises(UnknownName, match="scorer"):
            score_run(source, "r", journal=journal, scorers=["none such"])


# --- Entries that another version wrote ----------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("measured", {"text": "the bank.", "values": [1.0]}),
        ("measured", ["the bank."]),
        ("concluded", {"seconds": 1.0}),
        ("concluded", {"conclusion": {"status": "concluded", "explanation": {"text": "new"}}}),
    ],
)
def test_an_entry_that_is_not_as_it_was_written_is_said(source, tmp_path: Path, kind, payload):
    with Journal.open(tmp_path / "j.db") as journal:
        with journal.begin("x", Job([0]).config(source)) as run:
            run.write(kind, payload, 0)
        with pytest.raises(JournalError, match=r"event of feature 0 of the run 'x' .* is damaged"):
            explain(source, [0], journal=journal, run="x")


# --- Explainers and minds ------------------------------------------------------------------------


def alone(name: str) -> bool:
    """Whether an explainer can do without a language model."""
    return name.startswith("sage") and "paper" not in name and name != "sage:model-verdicts"


def test_an_explainer_that_needs_a_language_model_says_so_before_anything(source):
    from sagescope.agents.explainers import EXPLAINERS, INSIDE

    source.cover = None  # nothing may be collected
    others = {"output-side", *INSIDE}
    for name in (name for name in EXPLAINERS if not alone(name) and name not in others):
        with Journal.open(None) as journal:
            with pytest.raises(MindError, match=f"{name!r} needs a language model.*--mind"):
                explain(source, [0], explainer=name, journal=journal)
            assert journal.runs() == []


def test_the_others_do_without(source):
    from sagescope.agents.explainers import EXPLAINERS

    for name in filter(alone, EXPLAINERS):
        (result,) = explain(source, [0], explainer=name, score=False)
        assert result.status == "concluded", (name, result.error)
