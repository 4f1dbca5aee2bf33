"""A language model that helps a person: its calls are in the session's journal too."""

from dataclasses import replace
from pathlib import Path

import pytest

from sagescope.experiments import Journal
from sagescope.experiments.loopback import LoopbackProvider
from sagescope.experiments.sessions.ledger import UNCAPPED
from sagescope.experiments.sessions.session import AsyncSession
from sagescope.sae.errors import BudgetExhausted

CLAIM = {
    "kind": "lexical",
    "statement": "Fires on the bank.",
    "groups": [{"label": "bank", "words": ["bank"]}],
}


async def test_its_calls_are_kept_and_asking_again_asks_again(source, tmp_path: Path):
    path = tmp_path / "j.db"
    with LoopbackProvider(lambda call: {"hypotheses": [CLAIM]}) as server:
        mind = f"{server.url}/v1#scripted"
        with AsyncSession.open(source, 0, run="r", journal=path, mind=mind) as session:
            (first,) = (await session.propose()).hypotheses
            assert first.hypothesis.rule
            await session.undo()
            # What was taken back is wanted otherwise: the same question has another answer.
            await session.propose()
            assert len(server.calls) == 2
        with AsyncSession.open(source, 0, run="r", journal=path) as session:
            assert len(session.hypotheses().hypotheses) == 1
            await session.propose()
            assert len(server.calls) == 3
    with Journal.open(path) as journal:
        assert [event.kind for event in journal.run("r").events(0, ["call"])] == ["call"] * 3


async def test_caps_hold_over_the_sessions_of_a_feature(source, tmp_path: Path):
    budget = replace(UNCAPPED, calls=1)
    with LoopbackProvider(lambda call: {"hypotheses": [CLAIM]}) as server:
        typed = {"run": "r", "journal": tmp_path / "j.db", "mind": f"{server.url}/v1#scripted"}
        # A call is kept back for the conclusion.
        for caps in ({"budget": budget}, {}):
            with (
                AsyncSession.open(source, 0, **typed, **caps) as session,
                pytest.raises(BudgetExhausted),
            ):
                await session.propose()
        assert not server.calls


async def test_what_a_session_accepts_says_what_it_cost(source, tmp_path: Path, monkeypatch):
    prices = tmp_path / "prices.yaml"
    prices.write_text("as_of: 2026-01-01\nhttp: {priced: {input: 1000, output: 1000}}")
    monkeypatch.setenv("SAGESCOPE_PRICES", str(prices))
    with LoopbackProvider(lambda call: {"hypotheses": [CLAIM]}) as server:
        for model, is_priced in (("priced", True), ("unpriced", False)):
            mind = f"{server.url}/v1#{model}"
            with AsyncSession.open(
                source, 0, run=model, journal=tmp_path / "j.db", mind=mind
            ) as session:
                await session.propose()
                accepted = await session.accept(hypothesis=0, score=False)
            cost = accepted.cost
            assert cost.calls == 1
            assert cost.dollars == (pytest.approx(cost.tokens / 1000) if is_priced else None)
