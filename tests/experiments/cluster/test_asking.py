"""What is counted of calls in a worker and in the driver adds up, whatever the order."""

from hypothesis import given
from hypothesis import strategies as st

from sagescope.agents.budget import Budget, Charge, Spending
from sagescope.experiments.cluster.asking import Books, add, counts_of, since
from sagescope.experiments.cluster.messages import COUNTED, Answer

#: Tokens counted in the worker, or in the driver; or an answer that is still on its way arrives.
STEPS = st.lists(
    st.tuples(st.sampled_from(["worker", "asks", "driver", "answers"]), st.integers(1, 99))
)


@given(STEPS)
def test_both_sides_come_to_the_same_sum(steps):
    books, here, there = Books(), Spending(Budget()), Spending(Budget())
    reported = dict.fromkeys(COUNTED, 0)
    on_the_way: list[Answer] = []
    total = 0

    def ask() -> None:
        nonlocal reported
        more = books.account(here).more
        add(there, more)
        reported = {name: reported[name] + more[name] for name in COUNTED}

    def answer() -> None:
        nonlocal reported
        more, reported = since(counts_of(there), reported), counts_of(there)
        on_the_way.append(Answer(0, None, None, more, {}))

    for what, tokens in steps:
        if what == "asks":
            ask()
        elif what == "answers":
            answer()
        else:
            (here if what == "worker" else there).count(Charge(tokens))
            total += tokens
        if on_the_way and tokens % 3 == 0:
            books.settle(here, on_the_way.pop())  # in any order
    ask()
    answer()
    for late in on_the_way:
        books.settle(here, late)
    assert here.tokens == there.tokens == total
    assert here.calls == there.calls
