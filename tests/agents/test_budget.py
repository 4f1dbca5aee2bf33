"""Budgets: caps that hold, whatever comes back and whoever asks at once."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagescope.agents.budget import Budget, Charge, Spending
from sagescope.agents.llm.client import Message, Request, open_client
from sagescope.agents.llm.recorded import RecordedClient
from sagescope.agents.llm.retry import Patience
from sagescope.agents.minds.choice import Mind
from sagescope.experiments.calls import RunCalls, spending_of
from sagescope.experiments.journal import Journal
from sagescope.experiments.loopback import Cut, Failure, LoopbackProvider, Text
from sagescope.sae.errors import BudgetExhausted, PriceError, ProviderError


@pytest.mark.parametrize("cap", [-1, -0.5, float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["probes", "seconds"])
def test_a_cap_is_a_number_from_0_on(name, cap):
    with pytest.raises(ValueError, match=f"The cap on {name} must be a number from 0 on"):
        Budget(**{name: cap})


def test_none_is_no_cap():
    assert Spending(Budget(probes=None)).left("probes") == float("inf")
    assert Spending(Budget(probes=0)).left("probes") == 0


async def test_caps_are_checked_before_and_counted_after():
    spending = Spending(Budget(calls=2, tokens=100))
    (await spending.reserve(Charge(40))).settle(Charge(70))
    assert (spending.calls, spending.tokens, spending.left("tokens")) == (1, 70, 30)
    with pytest.raises(BudgetExhausted, match="100 tokens"):
        await spending.reserve(Charge(31))
    (await spending.reserve(Charge(30))).settle(Charge(30))
    with pytest.raises(BudgetExhausted, match="2 calls"):
        await spending.reserve(Charge(0))


async def test_what_is_released_may_be_spent():
    spending = Spending(Budget(calls=1))
    (await spending.reserve(Charge(10))).release()
    (await spending.reserve(Charge(10))).settle(Charge(10))
    assert spending.left("calls") == 0


async def test_what_a_feature_spends_its_run_spends():
    run = Spending(Budget.of_run(calls=3))
    one, two = Spending(Budget(), run=run), Spending(Budget(calls=9), run=run)
    for spending in (one, two, two):
        (await spending.reserve(Charge(5))).settle(Charge(5))
    assert (one.calls, two.calls, run.calls, run.tokens) == (1, 2, 3, 15)
    assert two.left("calls") == 0
    with pytest.raises(BudgetExhausted, match="3 calls"):
        await two.reserve(Charge(5))
    two.spend("probes", 4)
    assert run.probes == 4


async def test_a_refused_reservation_holds_nothing_back():
    run = Spending(Budget.of_run(calls=0))
    feature = Spending(Budget(calls=1), run=run)
    with pytest.raises(BudgetExhausted):
        await feature.reserve(Charge(5))
    assert feature.left("tokens") == float("inf")
    feature.run = None
    await feature.reserve(Charge(5))


async def test_a_replay_counts_for_the_feature_and_not_for_the_run():
    run = Spending(Budget.of_run(cost=0.0))
    feature = Spending(Budget(), run=run)
    (await feature.reserve(Charge(5, 1.0), replayed=True)).settle(Charge(7, 2.0))
    assert (feature.calls, feature.tokens, feature.cost, feature.replayed) == (1, 7, 2.0, 1)
    assert (run.calls, run.cost) == (0, 0)


async def test_money_without_a_price_is_not_made_up():
    free = Spending(Budget())
    (await free.reserve(Charge(5, None))).settle(Charge(5, None))
    assert (free.cost, free.unpriced) == (0, 1)
    with pytest.raises(PriceError):
        await Spending(Budget(cost=100)).reserve(Charge(5, None))
    with pytest.raises(BudgetExhausted, match=r"\$0.5 has"):
        await Spending(Budget(cost=0.5)).reserve(Charge(5, 0.6))


@pytest.mark.parametrize("cap", ["calls", "tokens", "cost", "seconds"])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_a_cap_is_a_number_from_zero_on(cap, value):
    with pytest.raises(ValueError, match=cap):
        Budget(**{cap: value})


# --- Waiting for what is set aside ---------------------------------------------------------------


async def test_what_is_only_set_aside_is_waited_for():
    """A call that is reckoned at more than it takes keeps nobody from the rest."""
    run = Spending(Budget.of_run(tokens=100))
    one, two = Spending(Budget(), run=run), Spending(Budget(), run=run)
    held = await one.reserve(Charge(90))
    waiting = asyncio.ensure_future(two.reserve(Charge(50)))
    await asyncio.sleep(0)
    assert not waiting.done()
    held.settle(Charge(40))
    (await waiting).settle(Charge(50))
    assert (run.tokens, two.cut_by_run) == (90, False)


async def test_who_waits_is_refused_once_it_is_spent():
    run = Spending(Budget.of_run(tokens=100))
    one, two = Spending(Budget(), run=run), Spending(Budget(), run=run)
    held = await one.reserve(Charge(90))
    waiting = asyncio.ensure_future(two.reserve(Charge(50)))
    await asyncio.sleep(0)
    held.settle(Charge(90))
    with pytest.raises(BudgetExhausted, match="100 tokens"):
        await waiting
    assert two.cut_by_run


async def test_who_stops_waiting_leaves_nothing_behind():
    run = Spending(Budget.of_run(calls=1))
    one, two, three = (Spending(Budget(), run=run) for _ in range(3))
    held = await one.reserve(Charge(1))
    waiting = [asyncio.ensure_future(spending.reserve(Charge(1))) for spending in (two, three)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    held.release()
    (await waiting[1]).settle(Charge(1))
    assert waiting[0].cancelled()
    assert (two.calls, three.calls, run.calls) == (0, 1, 1)


async def test_what_must_be_left_counts_in_the_features_own_caps_alone():
    run = Spending(Budget.of_run(calls=1))
    feature = Spending(Budget(calls=2, tokens=100, cost=1.0), run=run)
    last = Charge(40, 0.3)
    (await feature.reserve(Charge(50, 0.5), leaving=last)).release()
    for too_much in (Charge(61, 0.5), Charge(50, 0.71), Charge(1, 0.0, calls=2)):
        with pytest.raises(BudgetExhausted):
            await feature.reserve(too_much, leaving=last)
    assert not feature.cut_by_run


# --- Random scripts ------------------------------------------------------------------------------

caps = st.none() | st.integers(0, 60)
#: What a call is expected to take, what it takes (None: nothing), and after how many others it ends.
steps = st.tuples(st.integers(0, 20), st.none() | st.integers(0, 40), st.integers(0, 4))


@given(
    scripts=st.lists(st.lists(steps, max_size=12), min_size=1, max_size=4),
    what=st.sampled_from(["tokens", "cost"]),
    calls=caps,
    of_feature=caps,
    of_run=caps,
)
def test_no_cap_is_passed_by_more_than_the_calls_in_flight(
    scripts, what, calls, of_feature, of_run
):
    """Features side by side, each asking one thing after another, as tasks of one event loop."""
    run = Spending(Budget.of_run(**{what: of_run}))
    in_flight: dict[int, int] = {}
    in_flight_when_passed: list[int] = []

    async def explain(number, script):
        spending = Spending(Budget(calls=calls, **{what: of_feature}), run=run)
        taken = 0
        for expected, takes, others in script:
            try:
                held = await spending.reserve(Charge(expected, float(expected)))
            except BudgetExhausted:
                break
            taken = in_flight[number] = takes or 0
            for _ in range(others):
                await asyncio.sleep(0)
            if takes is None:
                held.release()
            else:
                held.settle(Charge(takes, float(takes)))
            if of_run is not None and getattr(run, what) > of_run:
                in_flight_when_passed.append(sum(in_flight.values()))
            del in_flight[number]
        assert calls is None or spending.calls <= calls
        assert of_feature is None or getattr(spending, what) <= of_feature + taken
        return spending

    async def everything():
        return await asyncio.gather(*(explain(n, script) for n, script in enumerate(scripts)))

    spendings = asyncio.run(everything())
    allowance = in_flight_when_passed[0] if in_flight_when_passed else 0
    assert of_run is None or getattr(run, what) <= of_run + allowance
    for name in ("calls", "tokens", "cost"):
        assert getattr(run, name) == sum(getattr(one, name) for one in spendings)
    assert of_run is None or run.left(what) == max(0, of_run - getattr(run, what))


@settings(deadline=None)
@given(
    calls=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), min_size=1, max_size=12),
    spare=st.integers(0, 40),
    saved=st.integers(0, 29),
)
def test_what_is_there_is_used(calls, spare, saved):
    """Everybody at once, each reckoned at up to 30 and taking less: enough for all serves all."""
    takes = [max(0, expected - saved) for expected, _ in calls]
    # One after another, this is what the last of them would find too little by nothing.
    run = Spending(Budget.of_run(tokens=sum(takes) + min(saved, 30) + spare))

    async def call(expected, others, took):
        spending = Spending(Budget(), run=run)
        held = await spending.reserve(Charge(expected))
        for _ in range(others):
            await asyncio.sleep(0)
        held.settle(Charge(took))

    async def everybody():
        asked = [call(e, n, took) for (e, n), took in zip(calls, takes, strict=True)]
        async with asyncio.timeout(30):  # where it waits for ever, this says so
            await asyncio.gather(*asked)

    asyncio.run(everybody())
    assert (run.calls, run.tokens) == (len(calls), sum(takes))


@settings(max_examples=30, deadline=None)
@given(
    lost=st.lists(st.sampled_from(["reply", "cut", "busy", "killed"]), min_size=1, max_size=10),
    most=st.integers(1, 6),
    sessions=st.integers(1, 4),
)
def test_a_cap_holds_over_sessions_whatever_is_lost(provider, lost, most, sessions):
    """Sessions that go on with one run: the provider's own count is held against the run's cap."""
    fates: list[str] = []

    def script(call):
        fates.append(lost[(call.number - 1) % len(lost)])
        answers = {"cut": Cut(), "busy": Failure(429, retry_after="0"), "killed": Text("", delay=9)}
        return answers.get(fates[-1], "yes")

    provider.reset(script)
    patience = Patience(attempts=2, first=0.0, longest=0.0)
    mind = Mind(f"{provider.url}/v1#m")

    async def session(run, number):
        spending = Spending(Budget(), run=spending_of(run, [mind], Budget.of_run(calls=most)))
        client = RecordedClient(open_client(mind.name, patience), RunCalls(run, 0))
        for step in range(4):
            request = Request(messages=(Message(role="user", text=f"{number}.{step}"),))
            asked = asyncio.ensure_future(client.complete(request, spending))
            while not asked.done():
                await asyncio.sleep(0.001)
                if fates and fates[-1] == "killed":
                    asked.cancel()
                    break
            await asyncio.wait([asked])
            if asked.cancelled():
                fates.append("gone")
                return
            if isinstance(asked.exception(), BudgetExhausted):
                return

    with Journal.open(None) as journal:
        for number in range(sessions):
            with journal.begin("x", {}) as run:
                run.write("session", {"features": [0], "versions": {}})
                asyncio.run(session(run, number))
    charged = [fate for fate in fates if fate in ("reply", "cut", "killed")]
    assert len(charged) <= most


@pytest.fixture(scope="module")
def provider():
    with LoopbackProvider(lambda call: "") as server:
        yield server


words = st.integers(0, 3000).map(lambda count: Text("word " * count))
faults = st.sampled_from([Failure(500), Failure(429, retry_after="0"), Failure(400), Cut()])


@settings(max_examples=40)
@given(
    answers=st.lists(words | faults, min_size=1, max_size=8),
    side_by_side=st.integers(1, 6),
    tokens=st.integers(0, 12_000),
    calls=st.none() | st.integers(0, 10),
)
def test_the_same_with_a_real_client(provider, answers, side_by_side, tokens, calls):
    """Through the wire, with retries: the provider's own count is held against the caps."""
    provider.reset(lambda call: answers[call.number % len(answers)])
    run = Spending(Budget.of_run(tokens=tokens, calls=calls))
    patience = Patience(attempts=3, first=0.0, longest=0.0)
    took = []

    async def explain(number):
        client, spending = (
            open_client(f"{provider.url}/v1#m", patience),
            Spending(Budget(), run=run),
        )
        for step in range(4):
            text = f"question {number}.{step}"
            request = Request(messages=(Message(role="user", text=text),))
            try:
                took.append((await client.complete(request, spending)).usage.tokens)
            except BudgetExhausted:
                return
            except ProviderError as error:
                expected = client.charge(request.expected_usage()).tokens
                took.extend([expected] * 2 * error.maybe_paid)

    async def everything():
        await asyncio.gather(*(explain(number) for number in range(side_by_side)))

    asyncio.run(everything())
    assert calls is None or run.calls <= calls
    assert sum(provider.paid.values()) <= run.calls
    in_flight = sum(sorted([*took, *[1100] * side_by_side])[-side_by_side:])
    assert run.tokens <= tokens + in_flight
