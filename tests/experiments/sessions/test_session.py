"""A session: what is done stands in the journal at once, and nothing else decides its state."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagescope.agents.budget import Budget
from sagescope.agents.loop import ProbeDesign, Proposal
from sagescope.agents.records import Explanation
from sagescope.experiments import AsyncSession, Journal
from sagescope.experiments.results import result_of, results_of
from sagescope.experiments.transcript import transcript_of
from sagescope.sae.errors import (
    BudgetExhausted,
    FeatureError,
    JournalError,
    RuleError,
    SessionError,
    TextError,
    UnknownName,
)

BANK = "word: bank"


class Helper:
    """A mind that says the same every time; `broken` makes it fail instead."""

    name = "helper"
    broken = False

    async def propose(self, notebook):
        if self.broken:
            notebook.spending.spend("calls")
            raise RuntimeError("the mind is gone")
        notebook.spending.spend("calls")
        return [Proposal("words", "fires on banks")]

    async def design(self, notebook):
        number = len(notebook.probes)
        return [
            ProbeDesign(0, "should fire", f"the bank number {number}", True),
            ProbeDesign(0, "near miss", f"the tree number {number}", False, pair=0),
        ]

    async def refine(self, notebook):
        return []

    async def settle(self, notebook):
        return []

    async def conclude(self, notebook):
        return Explanation(labels=("banks",), description="fires on banks")


def state(session: AsyncSession) -> Any:
    """Everything that a session knows, as one value."""
    notebook = session.notebook
    return (
        tuple(notebook.hypotheses),
        tuple(notebook.probes),
        tuple(notebook.outcomes),
        frozenset(notebook.refined),
        frozenset(notebook.dropped),
        notebook.round,
        result_of(session.run, session.feature),
    )


# --- Looking -------------------------------------------------------------------------------------


async def test_contexts_come_from_the_explain_split_alone(planted):
    def banks_by_rivers(text: str, feature: int):
        return [(token, 3.0 * (token == "bank" and "river" in text)) for token in text.split()]

    source = planted.PlantedSource(fn=banks_by_rivers)
    with AsyncSession.open(source, 0) as session:
        for kind in ("top", "spread", "silent", "near"):
            shown = (await session.exemplars(kind, 50)).readings
            assert shown
            split = source.evidence.reader("explainer").split("explain").tokens
            windows = {tuple(split.window(n)) for n in range(len(split.starts) - 1)}
            assert {one.tokens for one in shown} <= windows
            assert {one.fired for one in shown} == {kind in ("top", "spread")}
        with pytest.raises(SessionError, match="near"):
            await session.exemplars("score")  # pyright: ignore[reportArgumentType]


async def test_any_text_at_once(source):
    with AsyncSession.open(source, 0) as session:
        bank, tree, nothing = (await session.activations(["the bank", "the tree", ""])).readings
        assert (bank.tokens, bank.fired, bank.peak) == (("the", " bank"), True, 1)
        assert (tree.maximum, tree.fired) == (0.0, False)
        assert (nothing.tokens, nothing.fired) == ((), False)
        assert session.overview().spent["probes"] == 3


async def test_two_texts_token_by_token(source):
    with AsyncSession.open(source, 0) as session:
        rows = (await session.compare("he saw the bank", "he saw the green tree now")).rows
    assert [(row.left, row.right) for row in rows] == [
        ("he", "he"),
        (" saw", " saw"),
        (" the", " the"),
        (" bank", " green"),
        (None, " tree"),
        (None, " now"),
    ]
    assert rows[3].left_activation > 3
    assert rows[4].left_activation is None


# --- Predicting, then measuring ------------------------------------------------------------------


async def test_a_prediction_stands_in_the_journal_before_the_text_runs(source):
    with AsyncSession.open(source, 0) as session:
        await session.add("fires on banks")
        await session.probe("he saw the bank.", True)
        await session.probe("he saw the tree.", True)
        assert source.measured == []
        trials = (await session.run_probes()).trials
        assert [trial.outcome.agreed for trial in trials] == [True, False]
        kinds = [event.kind for event in session.run.attempt(0)]
        assert kinds.index("probe") < kinds.index("measured") < kinds.index("outcome")
        (standing,) = session.hypotheses().hypotheses
        assert standing.verdict.fires_as_predicted == (1, 2)


async def test_what_was_seen_cannot_be_predicted_any_more(source):
    with AsyncSession.open(source, 0) as session:
        await session.add("fires on banks")
        await session.activations("he saw the bank.")
        with pytest.raises(SessionError, match="run before"):
            await session.probe("he saw the bank.", True)


async def test_what_cannot_be_done_says_what_to_do(source):
    with AsyncSession.open(source, 0) as session:
        for verb, words in (
            (lambda: session.probe("a bank", True), "add one first"),
            (lambda: session.run_probes(), "No probe is waiting"),
            (lambda: session.undo(), "nothing to undo"),
            (lambda: session.score(), "Nothing was accepted"),
            (lambda: session.drop(0), "no hypothesis H0"),
            (lambda: session.add(), "words or a rule"),
        ):
            with pytest.raises(SessionError, match=words):
                await verb()
        with pytest.raises(RuleError, match="no such shape"):
            await session.add(rule="shape: triangles")
        assert session.notebook.hypotheses == []


async def test_edited_and_dropped_hypotheses_leave_the_live_ones(source):
    with AsyncSession.open(source, 0) as session:
        await session.add("fires on banks", BANK)
        (better,) = (await session.edit(0, "fires on river banks")).hypotheses
        assert (better.hypothesis.parent, better.hypothesis.rule) == (0, None)
        (ruled,) = (await session.edit(1, rule="word: bank, river")).hypotheses
        assert "“river”" in ruled.hypothesis.text
        await session.drop(2)
        verdicts = [one.verdict for one in session.hypotheses().hypotheses]
        assert [one.replaced for one in verdicts] == [True, True, False]
        assert [one.dropped for one in verdicts] == [False, False, True]
        with pytest.raises(SessionError, match="add one first"):
            await session.probe("the bank", True)


# --- Accepting -----------------------------------------------------------------------------------


async def test_ones_own_rule_is_scored_like_any_other(source):
    with AsyncSession.open(source, 0, run="mine", journal=Journal.open(None)) as session:
        accepted = await session.accept("fires on banks", labels=["bank"], rule=BANK)
        assert accepted.explainer == "human"
        assert accepted.scores["predictive_pearson"].value > 0.8
        assert accepted.controls["token_lookup"]["predictive_pearson"].value > 0.8
        assert accepted.explanation.coverage == pytest.approx(1.0)
        (result,) = results_of(session.run)
        assert (result.explainer, result.mind, result.status) == ("human", "human", "concluded")
        assert result.explanation.labels == ("bank",)
        assert transcript_of(session.run, 0).result == result


async def test_words_alone_have_no_scores_and_say_why(source, monkeypatch):
    monkeypatch.setattr("sagescope.experiments.scoring.embedding.installed", lambda: False)
    with AsyncSession.open(source, 0) as session:
        accepted = await session.accept("fires on banks")
        assert set(accepted.scores.values()) == {None}
        assert "words alone" in accepted.why["explanation"]
        assert accepted.controls["token_lookup"]["predictive_pearson"].value > 0.8


async def test_a_hypothesis_may_be_accepted_and_another_after_it(source):
    with AsyncSession.open(source, 0) as session:
        await session.add("fires on trees", "word: tree")
        await session.add("fires on banks", BANK)
        wrong = await session.accept(hypothesis=0)
        right = await session.accept(hypothesis=1)
        assert right.scores["predictive_pearson"].value > wrong.scores["predictive_pearson"].value
        assert results_of(session.run)[0].explanation.description == "fires on banks"
        await session.undo()
        (result,) = results_of(session.run)
        assert result.explanation.description == "fires on trees"
        assert result.scores == wrong.scores
        await session.undo()
        assert results_of(session.run) == []
        assert session.run.done == 0


async def test_help_shows_on_the_leaderboard_even_when_undone(source):
    with AsyncSession.open(source, 0, mind=Helper()) as session:
        assert session.overview().explainer == "human"
        await session.propose()
        await session.undo()
        accepted = await session.accept("fires on banks", rule=BANK)
        assert (accepted.explainer, accepted.mind) == ("human + helper", "helper")
        assert accepted.cost.calls == 1


async def test_what_the_mind_concludes_may_be_accepted(source):
    with AsyncSession.open(source, 0) as session:
        await session.finish()
        accepted = await session.accept()
        assert accepted.explainer == "human + rules"
        assert accepted.scores["predictive_pearson"].value > 0.8
        assert accepted.cost.probes > 5


# --- The mind's turns ----------------------------------------------------------------------------


async def test_steps_are_those_of_a_batch_run(source, planted):
    """The loop is the same one: a session that only steps finds what a job finds."""
    from sagescope.experiments import explain

    (batch,) = explain(planted.PlantedSource(), [1], score=False)
    with AsyncSession.open(source, 1, budget=Budget()) as session:
        watched: list[Any] = []
        last = await session.finish(watch=watched.append)
        accepted = await session.accept(score=False)
    assert last.goes_on is False
    assert last.trials == tuple(trial for one in watched for trial in one.trials)
    assert accepted.explanation.model_dump() == batch.explanation.model_dump()
    assert accepted.cost.probes == batch.cost.probes


async def test_design_waits_for_run(source):
    with AsyncSession.open(source, 0, mind=Helper()) as session:
        await session.propose()
        designed = (await session.design()).trials
        assert [trial.outcome for trial in designed] == [None, None]
        assert designed[1].probe.pair == 0
        assert session.overview().waiting == 2
        ran = (await session.step()).trials
        assert [trial.probe.id for trial in ran] == [0, 1, 2, 3]


async def test_a_mind_that_fails_spoils_nothing(source):
    with AsyncSession.open(source, 0, mind=Helper()) as session:
        await session.add("fires on banks")
        before = state(session)
        session.mind.broken = True  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(RuntimeError, match="gone"):
            await session.propose()
        assert state(session) == before
        assert session.overview().spent["calls"] == 1
        assert session.overview().explainer == "human + helper"


async def test_caps_hold_for_looking_and_probing(source):
    with AsyncSession.open(source, 0, budget=Budget(probes=3, rounds=1), mind=Helper()) as session:
        await session.propose()
        await session.activations(["a bank", "a tree"])
        with pytest.raises(BudgetExhausted):
            await session.design()
        assert session.overview().waiting == 1
        with pytest.raises(BudgetExhausted):
            await session.activations("a house")
        last = await session.finish()
        assert last.goes_on is False
        assert len(session.notebook.outcomes) == 1


async def test_a_feature_that_never_fires(planted):
    source = planted.PlantedSource(fn=lambda text, feature: [(t, 0.0) for t in text.split()])
    with AsyncSession.open(source, 0) as session:
        assert (await session.exemplars("top")).readings == ()
        assert (await session.finish()).trials == ()
        accepted = await session.accept("nothing", rule=BANK)
        assert accepted.scores["predictive_pearson"].value is None


# --- Coming back ---------------------------------------------------------------------------------


async def test_leaving_and_coming_back(planted, tmp_path: Path):
    path = tmp_path / "j.db"
    with AsyncSession.open(planted.PlantedSource(), 0, run="r", journal=path, seed=3) as session:
        await session.add("fires on banks", BANK)
        await session.step()
        await session.drop(0)
        await session.probe("the tree", False, hypothesis=0)
        await session.accept("fires on banks", rule=BANK)
        await session.add("fires on rivers")
        left, spent = state(session), session.overview().spent
    again = planted.PlantedSource()
    with AsyncSession.open(again, 0, run="r", journal=path) as session:
        assert state(session) == left
        assert session.overview().spent == spent
        assert again.measured == []
        assert session.notebook.seed == 3


async def test_one_run_holds_sessions_of_several_features(planted, tmp_path: Path):
    path = tmp_path / "j.db"
    for feature, rule in enumerate([BANK, "word: green, blue"]):
        with AsyncSession.open(planted.PlantedSource(), feature, run="r", journal=path) as session:
            accepted = await session.accept(rule=rule)
    assert accepted.controls["random_explanation"]["predictive_pearson"].value < 0.2
    with Journal.open(path) as journal:
        assert [result.index for result in results_of(journal.run("r"))] == [0, 1]


async def test_other_settings_need_another_run(source, tmp_path: Path):
    path = tmp_path / "j.db"
    AsyncSession.open(source, 0, run="r", journal=path).close()
    for other in ({"seed": 1}, {"budget": Budget(probes=3)}, {"mind": Helper()}):
        with pytest.raises(JournalError, match="was begun with"):
            AsyncSession.open(source, 0, run="r", journal=path, **other)
    with pytest.raises(UnknownName, match="rules"):
        AsyncSession.open(source, 0, run="x", journal=path, mind="ruels")
    with pytest.raises(FeatureError):
        AsyncSession.open(source, 99, run="x", journal=path)
    # What could not be opened holds no lock.
    AsyncSession.open(source, 0, run="x", journal=path).close()


def test_nothing_is_kept_without_a_name(source, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with AsyncSession.open(source, 0) as session:
        asyncio.run(session.add("fires on banks"))
    assert list(tmp_path.iterdir()) == []


CHILD = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import planted
from sagescope.experiments import AsyncSession

async def main():
    source = planted.PlantedSource()
    with AsyncSession.open(source, 0, run="r", journal=sys.argv[2]) as session:
        await session.add("fires on banks", "word: bank")
        await session.probe("he saw the bank.", True)
        await session.run_probes()
        await session.probe("he saw the tree.", False)
        source.pause = 3600
        print("ready", flush=True)
        await session.run_probes()

asyncio.run(main())
"""


def test_killed_in_the_middle_nothing_is_lost(planted, tmp_path: Path):
    path, here = tmp_path / "j.db", str(Path(planted.__file__).parent)
    command = [sys.executable, "-c", CHILD, here, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGKILL)
    source = planted.PlantedSource()
    with AsyncSession.open(source, 0, run="r", journal=path) as session:
        assert len(session.notebook.outcomes) == 1
        assert session.overview().waiting == 1
        asyncio.run(session.run_probes())
        assert source.measured == [(0, ("he saw the tree.",))]
        assert session.hypotheses().hypotheses[0].verdict.silent_as_predicted == (1, 1)


async def test_cancelling_keeps_what_was_done(planted):
    source = planted.PlantedSource(pause=3600)
    with AsyncSession.open(source, 0) as session:
        await session.add("fires on banks")
        await session.probe("he saw the bank.", True)
        running = asyncio.create_task(session.run_probes())
        while not source.measured:  # noqa: ASYNC110
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert session.overview().waiting == 1
        source.pause = 0
        assert len((await session.run_probes()).trials) == 1


async def test_a_text_that_cannot_be_run_leaves_the_others_waiting(planted):
    def fn(text: str, feature: int):
        if "tree" in text and feature == 0:
            raise ValueError("no trees")
        return planted.fires(text, feature)

    corpus = [text.replace("tree", "house") for text in planted.texts()]
    with AsyncSession.open(planted.PlantedSource(fn=fn, corpus=corpus), 0) as session:
        await session.add("fires on banks")
        await session.probe("the bank", True)
        await session.probe("the tree", False)
        with pytest.raises(TextError, match="no trees"):
            await session.run_probes()
        await session.undo()
        (trial,) = (await session.run_probes()).trials
        assert trial.probe.text == "the bank"


async def test_verbs_wait_for_each_other(source):
    with AsyncSession.open(source, 0) as session:
        await asyncio.gather(*(session.add(f"hypothesis {n}") for n in range(9)))
        assert [one.id for one in session.notebook.hypotheses] == list(range(9))


# --- Undoing -------------------------------------------------------------------------------------

VERBS = {
    "add": lambda session, n: session.add(f"fires on {n}", BANK if n % 2 else None),
    "edit": lambda session, n: session.edit(n % 3, f"better {n}"),
    "drop": lambda session, n: session.drop(n % 3),
    "probe": lambda session, n: session.probe(f"the bank {n}", bool(n % 2)),
    "run": lambda session, n: session.run_probes(),
    "propose": lambda session, n: session.propose(),
    "design": lambda session, n: session.design(),
    "refine": lambda session, n: session.refine(),
    "step": lambda session, n: session.step(),
    "accept": lambda session, n: session.accept(f"banks {n}", score=False),
    "undo": lambda session, n: session.undo(),
}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(st.sampled_from(sorted(VERBS)), max_size=14))
def test_undo_takes_back_any_step_and_the_journal_alone_decides(planted, script):
    async def body() -> None:
        source = planted.PlantedSource(corpus=CORPUS)
        with Journal.open(None) as journal:
            with AsyncSession.open(source, 0, run="r", journal=journal, mind=Helper()) as session:
                history = [state(session)]
                for n, verb in enumerate(script):
                    steps = _steps(session)
                    try:
                        await VERBS[verb](session, n)
                    except SessionError:
                        assert _steps(session) == steps
                        continue
                    if verb == "undo":
                        history.pop()
                    # Where there was nothing yet, one verb makes two steps.
                    history += [None] * (_steps(session) - len(history))
                    if _steps(session) == len(history):
                        history.append(state(session))
                    assert history[-1] in (None, state(session))
                left = state(session)
            with AsyncSession.open(source, 0, run="r", journal=journal, mind=Helper()) as session:
                assert state(session) == left
                while _steps(session):
                    history.pop()
                    await session.undo()
                    assert history[-1] in (None, state(session))
                assert session.notebook.hypotheses == []

    asyncio.run(body())


def _steps(session: AsyncSession) -> int:
    return sum(event.kind == "step" for event in session.run.attempt(session.feature))


CORPUS = [f"{n} he saw the {word} {n}." for n in range(60) for word in ("bank", "tree", "house")]
