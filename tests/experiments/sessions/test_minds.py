"""A language model that helps a person: its calls are in the session's journal too."""

from pathlib import Path

from sagescope.experiments import Journal
from sagescope.experiments.loopback import LoopbackProvider
from sagescope.experiments.sessions.session import AsyncSession

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
