"""Simplifying: what probes do not bear out goes, what they do stays."""

import numpy as np

from sagescope.agents.rules.fitting import cost
from sagescope.agents.rules.language import Clause, Match, Near, Rule, current
from sagescope.agents.rules.sample import Sample
from sagescope.agents.rules.simplify import simplified
from sagescope.sae.source import FunctionSource
from sagescope.sae.tokens import TokenActivations


def before(*words: str) -> Near:
    return Near(match=Match(kind="word", values=words), first=-1, last=-1)


def sample_of(probes: list[tuple[str, bool]]) -> Sample:
    """The feature fires on "bank" after "river"; in the corpus, always after "old" or "river"."""

    def fires(text: str, feature: int):
        words = text.split()
        pairs = zip(["", *words], words, strict=False)
        return [(w, 2.0 * (w == "bank" and b == "river")) for b, w in pairs]

    texts = [f"number {n} of the river bank was seen" for n in range(120)]
    source = FunctionSource(fires, 1, texts)
    measured = []
    for text, fired in probes:
        (tokens,) = source.tokenize([text])
        values = [2.0 * (fired and token.strip() == "bank") for token in tokens]
        measured.append(TokenActivations(tokens, np.array(values, np.float32)))
    split = source.evidence.reader("explainer").split("explain")
    return Sample(split, 0, measured)


def test_a_word_that_probes_speak_against_goes():
    rule = Rule(
        clauses=(Clause(conditions=(current("word", "bank"), before("river", "old")), level=1.0),),
        unit=2.0,
    )
    sample = sample_of([("an old bank", False), ("a river bank", True)])
    (clause,) = simplified(rule, sample).clauses
    assert clause.conditions == (current("word", "bank"), before("river"))


def test_a_condition_that_tells_nothing_goes_and_one_that_probes_need_stays():
    noise = Near(match=Match(kind="word", values=("number",)), first=None, last=-1)
    conditions = (current("word", "bank"), before("river"), noise)
    rule = Rule(clauses=(Clause(conditions=conditions, level=1.0),), unit=2.0)
    sample = sample_of([("an old bank", False), ("a river bank", True), ("the old bank", False)])
    simple = simplified(rule, sample)
    assert simple.clauses[0].conditions == conditions[:2]
    assert cost(sample, simple) < cost(sample, rule)
