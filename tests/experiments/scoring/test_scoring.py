"""Scoring from end to end: an explanation in, every score and its controls out."""

import asyncio
import json
import subprocess
import sys

import pytest

from sagescope.agents.rules.frames import PLAIN_WORDS
from sagescope.experiments.scoring import (
    CONTROL_NAMES,
    SCORERS,
    Marks,
    Score,
    ScoredWithControls,
    Target,
    score_explanation,
    score_simulator,
    scorer,
    simulators,
    target_of,
)
from sagescope.sae.errors import FeatureError, UnknownName
from sagescope.sae.evidence import Evidence
from sagescope.sae.source import FunctionSource

LEVELS = {"red": 4.0, "green": 2.4}
#: The two scorers that these tests speak of, and what they give; clarity has no ceiling of 1 here,
#: since windows of the corpus hold the words as well.
BASIC = ("predictive", "generated")
NAMES = tuple(name for one in BASIC for name in SCORERS[one].scores if name != "clarity")


def scored(make, rule, source=None, scorers=BASIC, **options) -> ScoredWithControls:
    options["scorers"] = scorers
    source = source or make.words(LEVELS)
    return asyncio.run(score_explanation(make.explanation(rule), source, 0, **options))


def values(found) -> dict[str, float | None]:
    return {name: score.value for name, score in found.scores.items() if name != "clarity"}


def test_the_perfect_rule_beside_its_controls(make):
    other = make.explanation(make.rule({"table": 1.0}, unit=9.0))
    found = scored(make, make.rule({"red": 1.0, "green": 0.6}), other=other)
    assert values(found) == pytest.approx(dict.fromkeys(NAMES, 1.0))
    # The other two are made by a job, which has a mind and a model.
    assert tuple(found.controls) == CONTROL_NAMES[:4]
    assert all(set(control.scores) == {*NAMES, "clarity"} for control in found.controls.values())
    random = values(found.controls["random_explanation"])
    assert random["predictive_pearson"] <= 0
    assert random["recall"] == random["generative"] == random["input"] == 0
    # A word list is exactly what the table can know.
    table = values(found.controls["token_lookup"])
    assert table["predictive_pearson"] == pytest.approx(1.0)
    assert table["input"] == pytest.approx(1.0)


def test_features_share_what_is_known_of_the_text(make):
    """Which tokens are words is worked out once for a source, not once for each feature."""
    source = make.words(LEVELS)
    first, second = Target(source, 0), Target(source, 0, seed=1)
    assert first.text is second.text
    assert first.text.table is source.evidence.reader("scorer").split("score").tokens
    assert first.text is not Target(make.words(LEVELS), 0).text


def test_a_plain_function_source_is_scored_as_well(make):
    planted = make.words(LEVELS, n=150)
    texts = [text for split in planted.splits.values() for text in split]
    source = FunctionSource(planted.fn, 1, texts)
    found = scored(make, make.rule({"red": 1.0, "green": 0.6}), source)
    assert values(found) == pytest.approx(dict.fromkeys(NAMES, 1.0))


def test_always_never_and_half(make):
    perfect = values(scored(make, make.rule({"red": 1.0, "green": 0.6})))
    always = values(scored(make, make.always()))
    assert always["boundary"] == always["input"] == 0
    assert always["predictive_pearson"] == 0
    assert always["generative"] < 0.5
    never = scored(make, None, scorers=BASIC)
    assert values(never) == {
        **dict.fromkeys(NAMES, 0.0),
        "predictive_auprc": never.details.mixture.base_rate,
        "precision": None,
    }
    half = values(scored(make, make.rule({"red": 1.0})))
    assert half["recall"] < perfect["recall"]
    # Scores from generated texts cannot see what an explanation leaves out.
    assert half["generative"] == 1


def test_a_broader_rule_loses_precision_and_input(make):
    words = {"red": 1.0, "green": 0.6}
    broad = {**words, "table": 1.0, "window": 1.0, "letter": 1.0}
    narrow, wide = (values(scored(make, make.rule(rule))) for rule in (words, broad))
    for name in ("precision", "predictive_pearson", "predictive_auprc", "generative", "input"):
        assert wide[name] < narrow[name]


def test_too_narrow_a_rule_loses_boundary(make):
    # The feature fires on many words; what is written to miss two of them hits others.
    source = make.words({**LEVELS, **dict.fromkeys(PLAIN_WORDS, 4.0)})
    found = values(scored(make, make.rule({"red": 1.0, "green": 0.6}), source))
    assert found["boundary"] < 0.7
    assert found["recall"] < 0.7


def test_the_same_again(make):
    rule = make.rule({"red": 1.0, "table": 0.3})
    one, again = (scored(make, rule, seed=5) for _ in range(2))
    assert one == again
    assert scored(make, rule, seed=6) != one


def test_scored_survives_json(make):
    found = scored(make, make.rule({"red": 1.0}), other=make.explanation(None))
    text = json.dumps(found.model_dump(mode="json"), allow_nan=False)
    assert ScoredWithControls.model_validate_json(text) == found


def test_pieces_are_the_whole(make):
    explanation = make.explanation(make.rule({"red": 1.0}))
    other = make.explanation(make.rule({"table": 1.0}))
    source = make.words(LEVELS)
    target = Target(source, 0, seed=2)
    whole = asyncio.run(score_explanation(explanation, source, 0, seed=2, other=other))
    for name, simulator in simulators(target, explanation, other).items():
        piece = asyncio.run(score_simulator(target_of(name, target), simulator))
        assert piece.scores == (whole if name == "explanation" else whole.controls[name]).scores


def test_a_silent_feature_is_undefined_and_not_zero(make):
    source = make.spelled(["a b c"], ["a b c"])
    found = scored(make, make.rule({"red": 1.0}), source)
    assert set(values(found).values()) == {None}
    assert all(score.reason for score in found.scores.values())


def test_generation_never_reads_the_corpus(make, monkeypatch):
    source = make.words(LEVELS)
    rule = make.rule({"red": 1.0})
    (simulator,) = list(simulators(Target(source, 0), make.explanation(rule)).values())[:1]
    monkeypatch.setattr(Evidence, "reader", None)
    assert asyncio.run(simulator.firing_texts(4, 0))
    assert asyncio.run(simulator.near_miss_texts(4, 0))


# --- The registry --------------------------------------------------------------------------------


def test_scorers_by_name(make):
    found = scored(make, make.rule({"red": 1.0}), scorers=["generated"])
    assert tuple(sorted(found.scores)) == tuple(sorted(SCORERS["generated"].scores))
    with pytest.raises(UnknownName, match="generated"):
        scored(make, None, scorers=["generate"])


def test_one_more_scorer(make, monkeypatch):
    monkeypatch.setattr("sagescope.experiments.scoring.bench.SCORERS", dict(SCORERS))

    @scorer("vowels", ["vowels"])
    async def vowels(target, simulator):
        return Marks({"vowels": Score(value=0.5)})

    assert values(scored(make, None, scorers=["vowels"])) == {"vowels": 0.5}
    with pytest.raises(ValueError, match="two scorers"):
        scorer("vowels", ["vowels"])(vowels.function)


def test_unknown_feature(make):
    source = FunctionSource(lambda text, feature: [], 1, [f"text {n}" for n in range(100)])
    with pytest.raises(FeatureError):
        asyncio.run(score_explanation(make.explanation(None), source, 7))


def test_importing_is_light():
    code = (
        "import sys, sagescope.experiments.scoring;"
        "print([m for m in ('torch', 'transformers', 'scipy', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
