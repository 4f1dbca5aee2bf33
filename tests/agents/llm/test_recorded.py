import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from calling import open_calls, request

from sagescope.agents.budget import Budget, Spending
from sagescope.agents.llm.client import Message, Request
from sagescope.agents.llm.recorded import CallLog, RecordedClient
from sagescope.experiments.loopback import Cut, Failure, Text
from sagescope.sae.errors import BudgetExhausted, ProviderDown

HERE = Path(__file__).parent


class Calls(dict, CallLog):
    def put(self, digest, call):
        self[digest] = call


async def test_what_was_asked_before_costs_nothing(serve, connect):
    server, calls = serve(lambda call: "one two"), Calls()
    run = Spending(Budget.of_run())
    first, second = Spending(Budget(), run=run), Spending(Budget(), run=run)
    said = await RecordedClient(connect(server), calls).complete(request(1), first)
    again = await RecordedClient(connect(server), calls).complete(request(1), second)
    assert (said.replayed, again.replayed) == (False, True)
    assert again.model_copy(update={"replayed": False}) == said
    assert len(server.calls) == 1
    assert (second.calls, second.tokens, second.replayed) == (first.calls, first.tokens, 1)
    assert (run.calls, run.tokens, run.cost) == (1, first.tokens, first.cost)


async def test_a_feature_that_is_gone_on_with_ends_where_it_would_have(serve, connect):
    server, calls = serve(lambda call: "one two"), Calls()

    async def asks_until_spent():
        client, spending = RecordedClient(connect(server), calls), Spending(Budget(calls=3))
        for number in range(3):
            await client.complete(request(number), spending)
        with pytest.raises(BudgetExhausted):
            await client.complete(request(3), spending)
        return spending.calls, spending.tokens

    assert await asks_until_spent() == await asks_until_spent()
    assert len(server.calls) == 3


async def test_a_run_out_of_money_still_replays(serve, connect):
    server, calls = serve(lambda call: "one two"), Calls()
    client = RecordedClient(connect(server), calls)
    await client.complete(request(1))
    spending = Spending(Budget(), run=Spending(Budget.of_run(calls=0)))
    assert (await client.complete(request(1), spending)).replayed
    with pytest.raises(BudgetExhausted):
        await client.complete(request(2), spending)


async def test_equal_requests_at_the_same_time_are_sent_once(serve, connect):
    server = serve(lambda call: Text("yes", delay=0.1))
    client = RecordedClient(connect(server), Calls())
    replies = await asyncio.gather(*(client.complete(request(n % 2)) for n in range(10)))
    assert len(server.calls) == 2
    assert sum(reply.replayed for reply in replies) == 8


async def test_where_the_first_fails_the_next_one_asks(serve, connect):
    server = serve(lambda call: Failure(500, delay=0.05) if call.number <= 3 else "yes")
    client = RecordedClient(connect(server), Calls())
    first, second = await asyncio.gather(
        client.complete(request(1)), client.complete(request(1)), return_exceptions=True
    )
    assert isinstance(first, ProviderDown)
    assert second.text == "yes"


async def test_other_samples_are_asked_for(serve, connect):
    server = serve(lambda call: f"answer {call.number}")
    client = RecordedClient(connect(server), Calls())
    ask = Request(messages=(Message(role="user", text="say"),), temperature=1.0)
    texts = [
        (await client.complete(ask.model_copy(update={"sample": sample}))).text
        for sample in (0, 1, 0)
    ]
    assert texts == ["answer 1", "answer 2", "answer 1"]


async def test_the_journal_keeps_calls(serve, connect, tmp_path):
    server = serve(lambda call: "one \ud83d two \x00")
    texts = []
    for _ in range(2):
        with open_calls(tmp_path / "j.db") as calls:
            texts.append((await RecordedClient(connect(server), calls).complete(request(1))).text)
    assert texts[0] == texts[1]
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    "at", [3, pytest.param(1, marks=pytest.mark.slow), pytest.param(10, marks=pytest.mark.slow)]
)
def test_killed_and_resumed_no_call_is_paid_twice(serve, tmp_path, at):
    process = None

    def script(call):
        if call.number == at:
            os.kill(process.pid, signal.SIGKILL)
            return Text("too late", delay=2)
        return "yes"

    server = serve(script)
    command = [sys.executable, HERE / "calling.py", f"{server.url}/v1#m", tmp_path / "j.db", "10"]
    process = subprocess.Popen(command)
    assert process.wait() == -signal.SIGKILL
    assert sum(server.paid.values()) == at - 1
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"10\n"
    assert set(server.paid.values()) == {1}
    assert len(server.paid) == 10


# --- What may have been paid for without a reply --------------------------------------------------


class Asks(Calls):
    """Also tells what was asked, and what came of it."""

    def __init__(self):
        self.told = []

    def asked(self, digest, expected):
        self.told.append(("asked", expected.estimated))

    def gave_up(self, digest, maybe_paid):
        self.told.append(("gave up", maybe_paid))


async def test_attempts_without_a_reply_are_told(serve, connect):
    """Each before it is sent, so that no crash hides it."""
    server, calls = serve(lambda call: Cut() if call.number < 2 else "yes"), Asks()
    assert (await RecordedClient(connect(server), calls).complete(request(1))).text == "yes"
    assert calls.told == [("asked", True), ("gave up", True), ("asked", True)]
    for fault, maybe_paid in ((Cut(), True), (Failure(500), False)):
        server, calls = serve(lambda call, fault=fault: fault), Asks()
        with pytest.raises(ProviderDown):
            await RecordedClient(connect(server), calls).complete(request(1))
        assert calls.told == [("asked", True), ("gave up", maybe_paid)] * len(server.calls)


async def test_a_call_that_was_never_sent_is_not_told(serve, connect):
    server, calls = serve(lambda call: Text("late", delay=5)), Asks()
    run = Spending(Budget.of_run(calls=1))
    first, second = (
        asyncio.ensure_future(
            RecordedClient(connect(server), calls).complete(request(n), Spending(Budget(), run=run))
        )
        for n in range(2)
    )
    while not server.calls:  # noqa: ASYNC110 - another thread counts them
        await asyncio.sleep(0.001)
    for one in (first, second):
        one.cancel()
    await asyncio.wait([first, second])
    assert calls.told == [("asked", True)], "the second waited for the first"
    assert run.calls == 1
