"""Each thing that goes wrong with real providers: what is raised, what was spent, what is repeated."""

import email.utils
import time

import pytest
from pydantic import BaseModel

from sagescope.agents.budget import Budget, Spending
from sagescope.agents.llm.client import Message, Request, open_client
from sagescope.agents.llm.recorded import CallLog, RecordedClient
from sagescope.agents.llm.retry import Patience, seconds_until
from sagescope.agents.llm.structured import ask
from sagescope.experiments.loopback import (
    Cut,
    Endless,
    Failure,
    LoopbackProvider,
    Raw,
    Refusal,
    Text,
)
from sagescope.sae.errors import (
    BudgetExhausted,
    KeyRefused,
    PriceError,
    ProviderBusy,
    ProviderDown,
    ProviderError,
    ReplyError,
    RequestRefused,
)

MESSAGES = [Message(role="user", text="What does it respond to?")]
REQUEST = Request(messages=tuple(MESSAGES))


class Labels(BaseModel):
    labels: list[str]


class Calls(dict, CallLog):
    def put(self, digest, call):
        self[digest] = call


def script_of(*answers):
    """Give these answers in turn, the last one for good."""
    return lambda call: answers[min(call.number, len(answers)) - 1]


GOOD = Text('{"labels": ["boats"]}')

#: A fault, what is raised where it stays, after how many calls, how many of them may cost.
LASTING = [
    (Failure(429), ProviderBusy, 3, 0),
    (Failure(529), ProviderBusy, 3, 0),
    (Failure(500), ProviderDown, 3, 0),
    (Failure(429, retry_after="9999"), ProviderBusy, 1, 0),
    (Failure(400), RequestRefused, 2, 0),  # with the schema, and without
    (Failure(401), KeyRefused, 1, 0),
    (Failure(402), KeyRefused, 1, 0),
    (Failure(403), KeyRefused, 1, 0),
    (Failure(404), RequestRefused, 1, 0),
    (Cut(), ProviderDown, 2, 2),
    (Endless(), ProviderDown, 2, 2),
    (Raw("<html>Welcome to nginx</html>", "text/html"), ProviderError, 1, 1),
    (Raw('{"choices": [{"mess'), ProviderDown, 2, 2),
    (Raw('{"error": {"message": "in a reply"}}'), ProviderError, 1, 1),
    (Refusal(), ReplyError, 1, 1),
    (Text(""), ReplyError, 1, 1),
    (Text('{"labels": ["bo', finish="length"), ReplyError, 1, 1),
    (Text('{"labels": "boats"}'), ReplyError, 2, 2),
    (Text("I would say boats."), ReplyError, 2, 2),
]


@pytest.mark.parametrize(("fault", "error", "calls", "paid"), LASTING)
async def test_a_lasting_fault_ends_in_an_error(serve, connect, fault, error, calls, paid):
    server = serve(script_of(fault))
    spending = Spending(Budget())
    with pytest.raises(error) as caught:
        await ask(connect(server), MESSAGES, Labels, spending=spending)
    assert type(caught.value) is error
    assert len(server.calls) == calls
    assert spending.calls == paid
    assert bool(spending.tokens) == bool(paid)


@pytest.mark.parametrize("fault", [one[0] for one in LASTING if one[2] > 1])
async def test_a_passing_fault_is_survived_and_paid_once(serve, connect, fault):
    server = serve(script_of(fault, GOOD))
    calls = Calls()
    client = RecordedClient(connect(server), calls)
    labels, _ = await ask(client, MESSAGES, Labels)
    assert labels.labels == ["boats"]
    asked, paid = len(server.calls), server.paid.copy()
    again, replies = await ask(RecordedClient(connect(server), calls), MESSAGES, Labels)
    assert again == labels
    assert all(reply.replayed for reply in replies)
    assert (len(server.calls), server.paid) == (asked, paid)


@pytest.mark.parametrize(
    ("answers", "reason", "words"),
    [
        ([Refusal("No, thanks.")], "refusal", "No, thanks."),
        ([Text("")], "empty", "empty"),
        ([Text("", finish="length")], "empty", "thinking"),
        ([Text('{"labels": ["bo', finish="length")], "length", "cut after"),
        ([Text("no"), Text('{"labels": 3}')], "form", "labels: Input should be a valid array"),
        ([Text("no"), Text("\x1b[2Jnever \ud800")], "form", "never"),
    ],
)
async def test_replies_that_are_no_answer_are_told_apart(serve, connect, answers, reason, words):
    client = connect(serve(script_of(*answers)))
    with pytest.raises(ReplyError) as caught:
        await ask(client, MESSAGES, Labels)
    assert caught.value.reason == reason
    assert words in str(caught.value)
    assert "\x1b" not in str(caught.value)


async def test_what_is_no_answer_is_not_paid_twice_either(serve, connect):
    server = serve(script_of(Text("no"), Text("never")))
    calls = Calls()
    for _ in range(2):
        with pytest.raises(ReplyError):
            await ask(RecordedClient(connect(server), calls), MESSAGES, Labels)
    assert len(server.calls) == 2


async def test_nobody_at_the_address_costs_nothing(connect, monkeypatch):
    with LoopbackProvider(script_of(GOOD)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        client = connect(server)
    spending = Spending(Budget())
    with pytest.raises(ProviderDown, match="cannot be reached"):
        await client.complete(REQUEST, spending)
    assert (spending.calls, spending.tokens) == (0, 0)


async def test_a_used_up_quota_is_not_waited_for(serve):
    server = serve(script_of(Failure(429, code="insufficient_quota")))
    with pytest.raises(KeyRefused, match="credit"):
        await open_client("openai:gpt-4o").complete(REQUEST)
    assert len(server.calls) == 1


async def test_a_call_is_tried_again_when_the_provider_says_so(serve, connect):
    at = []

    def script(call):
        at.append(time.monotonic())
        return Failure(429, retry_after="0.3") if len(at) == 1 else GOOD

    await connect(serve(script)).complete(REQUEST)
    assert at[1] - at[0] >= 0.3


async def test_no_waiting_beyond_the_time_left(serve, connect):
    server = serve(script_of(Failure(429, retry_after="15")))
    with pytest.raises(BudgetExhausted, match="seconds"):
        await connect(server).complete(REQUEST, Spending(Budget(seconds=10)))
    assert len(server.calls) == 1


def test_retry_after_is_seconds_or_a_date():
    soon = email.utils.formatdate(time.time() + 60, usegmt=True)
    past = email.utils.formatdate(time.time() - 60, usegmt=True)
    assert seconds_until("7") == 7
    assert 50 < seconds_until(soon) <= 60
    assert seconds_until(past) == seconds_until("-3") == 0
    assert [seconds_until(text) for text in (None, "", "soon", "nan")] == [None] * 4


async def test_attempts_and_their_time_can_be_set(serve):
    server = serve(script_of(Failure(500)))
    client = open_client(f"{server.url}/v1#m", Patience(attempts=5, first=0.001, longest=0.001))
    with pytest.raises(ProviderDown):
        await client.complete(REQUEST)
    assert len(server.calls) == 5


async def test_a_cap_on_money_needs_a_price(serve):
    server = serve(script_of(GOOD))
    client = open_client(f"{server.url}/v1#m")
    for spending in (
        Spending(Budget(cost=1.0)),
        Spending(Budget(), run=Spending(Budget.of_run(cost=1.0))),
    ):
        with pytest.raises(PriceError, match="SAGESCOPE_PRICES"):
            await client.complete(REQUEST, spending)
    assert server.calls == []
