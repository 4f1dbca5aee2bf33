from sagescope.agents.rules.language import Clause, Match, Near, Position, Rule, current
from sagescope.agents.rules.render import describe, labels


def test_a_rule_reads_as_sentences():
    rule = Rule(
        clauses=(
            Clause(
                conditions=(
                    current("word", "bank", "banks"),
                    Near(match=Match(kind="stem", values=("river",)), first=-8, last=-1),
                    Position(of="text", low=3),
                ),
                level=0.9,
            ),
            Clause(conditions=(current("shape", "digits"),), level=0.2),
        ),
        unit=7.0,
    )
    assert describe(rule) == (
        "Fires strongly (0.90 of its typical maximum) on the words “bank”, “banks”, with words that "
        "begin with “river” among the 8 tokens before, from token 4 of the text on. "
        "Fires weakly (0.20 of its typical maximum) on tokens of digits."
    )
    assert labels(rule) == ("“bank”, “banks” after “river”", "digits")


def test_line_breaks_are_shown():
    assert "“↵”" in describe(Rule(clauses=(Clause(conditions=(current("token", "\n"),), level=1),)))


def test_no_rule_says_so():
    assert describe(Rule()).startswith("No rule found")
