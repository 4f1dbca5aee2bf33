"""Sessions for plain Python: inside a running event loop, with the real demo SAE too."""

import asyncio
from pathlib import Path

import pytest

from sagescope.experiments import Session
from sagescope.sae.errors import SessionError


def whole(session: Session) -> str:
    """Every verb once; returns who made the explanation."""
    assert session.exemplars("top", 2).readings
    assert session.activations("the bank").readings[0].fired
    assert session.compare("the bank", "the tree").rows
    session.add("fires on banks", rule="word: bank")
    session.probe("he saw the bank.", fires=True)
    assert session.run_probes().trials[0].outcome is not None
    session.edit(0, "fires on any bank", rule="word: bank")
    session.drop(1)
    session.propose()
    session.design()
    session.refine()
    session.step()
    assert session.finish(1).scale == session.session.scale
    assert session.trials().trials
    session.accept(score=False)
    accepted = session.score()
    assert session.overview().accepted == accepted.explanation.labels
    assert accepted.scores["predictive_pearson"] is not None
    assert "<div" in session._repr_html_()
    assert session.undo().verb == "accept"
    return accepted.explainer


def test_every_verb(source):
    with Session.open(source, 0) as session:
        assert whole(session) == "human + rules"


def test_inside_a_running_event_loop(source):
    async def notebook() -> str:
        with Session.open(source, 0) as session:
            return whole(session)

    assert asyncio.run(notebook()) == "human + rules"


def test_errors_come_through_and_closing_twice_is_fine(source, tmp_path: Path):
    session = Session.open(source, 0, run="r", journal=tmp_path / "j.db")
    with pytest.raises(SessionError, match="nothing to undo"):
        session.undo()
    session.close()
    session.close()
    Session.open(source, 0, run="r", journal=tmp_path / "j.db").close()


@pytest.mark.slow
def test_the_demo_sae(tmp_path: Path):
    from sagescope.sae.loading import pretrained_names
    from sagescope.sae.model_source import ModelSource

    if not pretrained_names():
        pytest.skip("no SAE comes with this checkout")
    with ModelSource.load("smollm2-135m-instruct", pretrained_names()[0]) as source:
        feature = int(source.evidence.features[0])
        with Session.open(source, feature, run="r", journal=tmp_path / "j.db") as session:
            assert session.exemplars("spread", 4).readings
            session.step()
            before = session.hypotheses()
        with Session.open(source, feature, run="r", journal=tmp_path / "j.db") as session:
            assert session.hypotheses() == before
            accepted = session.accept()
    assert accepted.explainer == "human + rules"
    assert accepted.scores["predictive_pearson"] is not None
