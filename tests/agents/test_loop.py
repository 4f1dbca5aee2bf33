import asyncio

import pytest

from sagescope.agents.budget import Budget, Spending
from sagescope.agents.explainers import EXPLAINERS, Task
from sagescope.agents.loop import Investigation, ProbeDesign, Proposal, run_loop
from sagescope.agents.minds.choice import Mind
from sagescope.agents.records import Explanation
from sagescope.agents.rules.mind import RuleMind
from sagescope.sae.errors import BudgetExhausted, UnknownName

from .sentences import on_words, source_of


class Scripted:
    """A mind that proposes one hypothesis and designs the probes it is given, one batch a round."""

    name = "scripted"

    def __init__(self, *batches, refinements=(), states=None):
        self.batches, self.refinements = list(batches), list(refinements)
        self.seen, self.states = [], states
        self.settling: list[list[ProbeDesign]] = []

    async def propose(self, notebook):
        return [Proposal("words", "fires on boat")]

    async def design(self, notebook):
        return self.batches.pop(0) if self.batches else []

    async def refine(self, notebook):
        self.seen.append([outcome.fired for outcome in notebook.outcomes])
        return self.refinements.pop(0) if self.refinements else []

    async def settle(self, notebook):
        return self.settling.pop(0) if self.settling else []

    async def conclude(self, notebook):
        return Explanation(labels=("boat",), description="boats", hypothesis=self.states)


def probe(text, fires, **more):
    return ProbeDesign(hypothesis=0, purpose="test", text=text, fires=fires, **more)


def agreeing(fires, silent):
    """So many probes of each side that come out as predicted."""
    said = [probe(f"Boat {i} is a boat.", True) for i in range(fires)]
    return said + [probe(f"Car {i} is a car.", False) for i in range(silent)]


def run(mind, *, budget=Budget(), feature=on_words("boat")):  # noqa: B008
    events = []
    conclusion = asyncio.run(
        run_loop(
            Investigation(
                source_of(feature),
                0,
                mind,
                spending=Spending(budget),
                seed=0,
                record=lambda kind, *records: events.extend((kind, one) for one in records),
            )
        )
    )
    return conclusion, [kind for kind, _ in events]


def test_predictions_are_recorded_before_anything_is_measured():
    _, kinds = run(Scripted([probe("A boat.", True), probe("A car.", False)]))
    assert kinds == ["hypothesis", "probe", "probe", "outcome", "outcome", "verdict"]


def test_verdicts_are_counted_from_measurements():
    conclusion, _ = run(Scripted(agreeing(5, 5)))
    assert conclusion.verdicts[0].status == "confirmed"
    assert conclusion.verdicts[0].fires_as_predicted == (5, 5)
    assert conclusion.verdicts[0].posterior == pytest.approx((4 + 5 / 2) / (4.5 + 5 / 2))
    wrong = [probe(f"Car {i} is a car.", True) for i in range(4)]
    assert run(Scripted(wrong))[0].verdicts[0].status == "refuted"


def test_what_is_concluded_is_probed_once_nothing_refines_it():
    mind = Scripted(agreeing(2, 2), states=0)
    mind.settling = [agreeing(3, 0), [probe(f"Train {i} is a train.", False) for i in range(3)]]
    conclusion, kinds = run(mind)
    assert conclusion.explanation.verdict == "confirmed"
    assert conclusion.explanation.counts.fires_as_predicted == (5, 5)
    assert kinds.count("verdict") == 3


def test_settling_ends_with_the_budget():
    mind = Scripted(agreeing(2, 2))
    mind.settling = [agreeing(3, 3)] * 9
    conclusion, _ = run(mind, budget=Budget(probes=12))
    assert (conclusion.status, len(conclusion.probes)) == ("out_of_budget", 12)


@pytest.mark.parametrize(("fires", "silent"), [(4, 4), (3, 5), (9, 1)])
def test_few_probes_confirm_nothing_whatever_they_say(fires, silent):
    assert run(Scripted(agreeing(fires, silent)))[0].verdicts[0].status == "open"


def test_what_half_of_one_side_speaks_against_is_open_and_more_refuted():
    half = [probe(f"Boat {i} is a boat.", False) for i in range(2)]
    half += [probe(f"Car {i} is a car.", False) for i in range(2)]
    assert run(Scripted(agreeing(9, 0) + half))[0].verdicts[0].status == "open"
    more = [*half, probe("One boat more.", False)]
    assert run(Scripted(agreeing(9, 0) + more))[0].verdicts[0].status == "refuted"


def test_one_side_alone_confirms_nothing():
    conclusion, _ = run(Scripted([probe(f"Boat {i} is a boat.", True) for i in range(9)]))
    assert conclusion.verdicts[0].status == "open"


def test_moving_the_trigger_is_no_test_of_its_meaning():
    designs = agreeing(5, 5)
    moved = [
        ProbeDesign(hypothesis=0, purpose="bare", text=f"car{i}", fires=True) for i in range(9)
    ]
    conclusion, _ = run(Scripted(designs + moved))
    assert len(conclusion.outcomes) == 19
    assert conclusion.verdicts[0].status == "confirmed"
    assert conclusion.verdicts[0].fires_as_predicted == (5, 5)


def test_a_refined_hypothesis_gives_way_to_its_child():
    child = Proposal("words", "only small boats", parent=0)
    conclusion, _ = run(Scripted([probe("A boat.", True)], refinements=[[child]]))
    assert [verdict.replaced for verdict in conclusion.verdicts] == [True, False]
    assert [verdict.status for verdict in conclusion.verdicts] == ["open", "untested"]
    assert conclusion.hypotheses[1].parent == 0
    assert conclusion.hypotheses[1].round == 1


@pytest.mark.parametrize("cap", [0, 1, 3])
def test_the_cap_on_probes_is_never_passed(cap):
    designs = [probe(f"Boat number {i}.", True) for i in range(5)]
    conclusion, _ = run(Scripted(designs), budget=Budget(probes=cap))
    assert len(conclusion.outcomes) == cap
    assert conclusion.status == "out_of_budget"
    assert conclusion.explanation.labels == ("boat",)


def test_the_cap_on_rounds_ends_the_loop():
    again = [[Proposal("words", f"more {i}", parent=i)] for i in range(9)]
    mind = Scripted(refinements=again)
    conclusion, _ = run(mind, budget=Budget(rounds=3))
    assert len(mind.seen) == 3
    assert conclusion.status == "out_of_budget"
    # What could not be probed any more was not taken up.
    assert len(conclusion.hypotheses) == 3


def test_a_conclusion_carries_the_verdict_on_what_it_states():
    designs = agreeing(5, 5)
    for states, verdict in ((0, "confirmed"), (1, "untested"), (None, None)):
        child = Proposal("words", "boats, too", parent=0)
        conclusion, _ = run(Scripted(designs, refinements=[[child]], states=states))
        assert conclusion.explanation.verdict == verdict


def test_a_feature_that_never_fires_is_not_probed():
    conclusion, kinds = run(RuleMind(), feature=lambda tokens, i: 0.0)
    assert conclusion.status == "concluded"
    assert "never fires" in conclusion.explanation.description
    assert "probe" not in kinds


def test_a_budget_of_negative_probes_is_refused():
    with pytest.raises(ValueError, match="probes"):
        Budget(probes=-1)


def test_no_time_left_ends_the_loop():
    class Late(Scripted):
        async def propose(self, notebook):
            notebook.spending.check("calls")
            raise BudgetExhausted("no time")

    assert run(Late(), budget=Budget(seconds=0))[0].status == "out_of_budget"


def test_the_rule_mind_explains_and_says_what_it_covers():
    conclusion, _ = run(RuleMind(), feature=on_words("boat", "clock"))
    assert conclusion.status == "concluded"
    rule = conclusion.explanation.rule
    assert {
        value.casefold() for c in rule.clauses for n in c.conditions for value in n.match.values
    } >= {
        "boat",
        "clock",
    }
    assert conclusion.explanation.coverage == pytest.approx(1.0)
    confirmed = [v for v in conclusion.verdicts if v.status == "confirmed"]
    assert confirmed
    pairs = [p for p in conclusion.probes if p.pair is not None]
    assert pairs
    assert all(p.pair < p.id for p in pairs)


def test_the_rule_mind_tells_case_from_no_case():
    """The corpus has only "May"; probes show that "may" does not fire."""
    conclusion, _ = run(RuleMind(), feature=lambda tokens, i: 2.0 * (tokens[i] == " May"))
    rule = conclusion.explanation.rule
    assert next(n.match.kind for c in rule.clauses for n in c.conditions) == "token"


def test_the_rule_mind_is_deterministic():
    first, _ = run(RuleMind())
    second, _ = run(RuleMind())
    leave_out = {"spent": {"seconds"}}
    assert first.model_dump_json(exclude=leave_out) == second.model_dump_json(exclude=leave_out)


def test_an_unknown_mind_shows_the_known_ones():
    with pytest.raises(UnknownName, match="rules"):
        asyncio.run(
            EXPLAINERS["sage"].explain(
                Task(
                    source_of(on_words("boat")),
                    0,
                    Mind("ruels"),
                    Spending(Budget()),
                    seed=0,
                    record=lambda kind, *records: None,
                )
            )
        )
