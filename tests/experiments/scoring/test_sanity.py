"""Metric sanity: what scores see of a label is measured, and is what they declare."""

import asyncio

from sagescope.experiments.scoring import SCORERS, Target, blind_to, score_simulator
from sagescope.experiments.scoring.bench import UNMEASURED
from sagescope.experiments.scoring.sanity import blindness, known_feature
from sagescope.experiments.scoring.simulator import RuleSimulator


def test_every_score_declares_what_it_does_not_see():
    measured = asyncio.run(blindness(("all",)))
    known = {name: blind for name, blind in measured.items() if blind != UNMEASURED}
    assert known == {name: blind_to(name) for name in known}
    # What has no value here must not look as if it saw everything.
    assert all(blind_to(name) for name in measured.keys() - known.keys())
    declared = {name for one in SCORERS.values() for name in one.blind}
    assert declared <= {name for one in SCORERS.values() for name in one.scores}


def test_the_headline_sees_something():
    """Between them, scores of the tables see labels that are too narrow and ones too broad."""
    measured = asyncio.run(blindness(features=2, seeds=1))
    for kind in ("extra", "missing"):
        assert any(kind not in blind for blind in measured.values())
    # Mean correlation over the range sees both.
    assert measured["predictive_pearson"] == ()


def test_the_true_rule_is_the_best_there_is():
    known = known_feature(7)
    target = Target(known.source, 0)
    simulator = RuleSimulator(known.true, known.source.tokenize)
    found = asyncio.run(score_simulator(target, simulator, ["predictive"]))
    assert {name: round(one.value or 0, 6) for name, one in found.scores.items()} == dict.fromkeys(
        SCORERS["predictive"].scores, 1.0
    )
