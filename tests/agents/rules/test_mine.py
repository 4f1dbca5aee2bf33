import numpy as np
import pytest

from sagescope.agents.rules.language import MAX_CONDITIONS, MAX_VALUES, Near
from sagescope.agents.rules.mine import Language, Miner
from sagescope.agents.rules.sample import Sample
from sagescope.sae.tokens import TokenActivations

from ..sentences import on_words, source_of


def mined(feature, probes=(), language=Language(), n=500):  # noqa: B008
    source = source_of(feature, n=n)
    split = source.evidence.reader("explainer").split("explain")
    sample = Sample(split, 0, probes)
    return sample, Miner(sample, language).mine()


def fit(sample, rule):
    return float(np.corrcoef(sample.predict(rule), sample.target)[0, 1])


def word(tokens, i):
    return tokens[i].strip().casefold() if i >= 0 else ""


PLANTED = {
    "one word": on_words("boat"),
    "a set of words": on_words("may", "friday"),
    "a word family": lambda t, i: 2.0 * word(t, i).startswith("govern"),
    "numbers": lambda t, i: 5.0 * word(t, i).isdigit(),
    "capitals": lambda t, i: 1.0 * (t[i].strip() == "NASA"),
    "a phrase": lambda t, i: 3.0 * (word(t, i) == "river" and word(t, i - 2) == "near"),
    "only when negated": lambda t, i: 3.0 * (word(t, i) == "good" and word(t, i - 1) == "not"),
    "not when negated": lambda t, i: 3.0 * (word(t, i) == "good" and word(t, i - 1) != "not"),
    "the first token": lambda t, i: 2.0 * (i == 0),
    "the first time": lambda t, i: (
        2.0 * (word(t, i) == "the" and "the" not in map(str.strip, t[:i]))
    ),
    "two levels": lambda t, i: 4.0 * (word(t, i) == "bank") + 1.5 * (word(t, i) == "clock"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_meanings_are_found(name):
    sample, rule = mined(PLANTED[name])
    assert fit(sample, rule) > 0.97, rule
    assert rule.n_conditions <= 4


def test_levels_are_shares_of_the_typical_maximum():
    _, rule = mined(PLANTED["two levels"])
    assert rule.unit == pytest.approx(4.0)
    assert [clause.level for clause in rule.clauses] == pytest.approx([1.0, 0.375], abs=0.05)


def test_noise_gets_no_rule():
    draw = np.random.default_rng(0)
    kept = {}

    def noise(tokens, i):
        return kept.setdefault((tuple(tokens), i), float(draw.random() < 0.02))

    _, rule = mined(noise)
    assert rule.clauses == ()


def test_a_silent_feature_gets_no_rule():
    _, rule = mined(lambda tokens, i: 0.0)
    assert rule.clauses == ()
    assert rule.unit == 0.0


def test_rules_stay_short_however_many_words_fire():
    draw = np.random.default_rng(1)
    level = {}
    _, rule = mined(lambda t, i: level.setdefault(t[i], float(draw.choice([0, 0, 1, 2, 3, 4]))))
    assert rule.n_conditions <= MAX_CONDITIONS
    values = [
        len(condition.match.values)
        for clause in rule.clauses
        for condition in clause.conditions
        if isinstance(condition, Near)
    ]
    assert max(values) <= MAX_VALUES


def test_a_language_without_context_finds_none():
    _, rule = mined(PLANTED["a phrase"], language=Language(windows=(), positions=False))
    assert all(
        isinstance(condition, Near) and condition.is_current
        for clause in rule.clauses
        for condition in clause.conditions
    )


def test_probes_overrule_what_the_corpus_cannot_tell():
    """In the corpus "Friday" always follows "on", so either may be the cause; probes say which."""

    def follows_on(tokens, i):
        return 3.0 * (word(tokens, i) == "friday")

    probes = [
        TokenActivations((" We", " met", " at", " Friday", "."), np.array([0, 0, 0, 0, 0.0])),
        TokenActivations((" Then", " Friday", " came"), np.array([0, 0.0, 0])),
        TokenActivations((" We", " met", " on", " Friday"), np.array([0, 0, 0, 3.0])),
        TokenActivations((" Go", " on", " Friday"), np.array([0, 0, 3.0])),
        TokenActivations((" See", " Friday", " now"), np.array([0, 0.0, 0])),
        TokenActivations((" A", " Friday"), np.array([0, 0.0])),
    ]
    without_probes, rule = mined(follows_on)
    assert len(rule.clauses[0].conditions) == 1
    sample, rule = mined(follows_on, probes=probes)
    measured = np.concatenate([probe.activations for probe in probes]) / sample.unit
    predicted = sample.predict(rule)[sample.n_corpus :]
    assert np.abs(predicted - measured).max() < 0.3
    assert len(without_probes) < len(sample)


def test_mining_is_deterministic():
    assert mined(PLANTED["a word family"])[1] == mined(PLANTED["a word family"])[1]
