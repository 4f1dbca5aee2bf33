import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagescope.agents.llm.client import Message, Request, open_client
from sagescope.agents.llm.limiter import Limiter
from sagescope.agents.llm.retry import Patience
from sagescope.experiments.loopback import Failure, Text
from sagescope.sae.errors import ProviderBusy


def request(number):
    return Request(messages=(Message(role="user", text=f"question {number}"),))


async def call(limiter, ok=True, seconds=0.0):
    async with limiter.place():
        await asyncio.sleep(seconds)
        if not ok:
            raise ProviderBusy("busy")


async def test_it_doubles_until_the_first_complaint_and_then_grows_by_one_a_round():
    limiter = Limiter(4)
    await asyncio.gather(*(call(limiter) for _ in range(4)))
    assert limiter.limit == 8
    with pytest.raises(ProviderBusy):
        await call(limiter, ok=False)
    assert limiter.limit == 4
    for _ in range(4):
        await call(limiter)
    assert 4.8 < limiter.limit < 5.1


async def test_one_congestion_halves_it_once():
    limiter = Limiter(8)
    await asyncio.gather(*(call(limiter, ok=False) for _ in range(8)), return_exceptions=True)
    assert limiter.limit == 4


async def test_it_stays_within_its_bounds():
    limiter = Limiter(1, most=3)
    for _ in range(9):
        await call(limiter)
    assert limiter.limit == 3
    for _ in range(9):
        with pytest.raises(ProviderBusy):
            await call(limiter, ok=False)
    assert limiter.limit == 1


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30), st.integers(1, 4))
def test_no_place_is_lost_or_given_twice(calls, limit):
    async def scenario():
        limiter = Limiter(limit)
        most_over = 0

        async def one(ok, cancelled):
            nonlocal most_over
            async with limiter.place():
                most_over = max(most_over, limiter.under_way - max(limit, int(limiter.limit)))
                await asyncio.sleep(0)
                if cancelled:
                    raise asyncio.CancelledError
                if not ok:
                    raise ProviderBusy("busy")

        tasks = [asyncio.create_task(one(*call)) for call in calls]
        await asyncio.sleep(0)
        for task, (_, cancelled) in zip(tasks, calls, strict=True):
            if cancelled:
                task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        return limiter.under_way, most_over

    assert asyncio.run(scenario()) == (0, 0)


async def test_a_provider_that_is_busy_gets_fewer_calls_at_once(serve):
    seen = []

    def script(call):
        seen.append(server.at_once)
        return Failure(429, retry_after="0.01") if server.at_once > 4 else Text("yes", delay=0.02)

    server = serve(script)
    clients = [
        open_client(f"{server.url}/v1#{model}", Patience(attempts=50, first=0.01, longest=0.02))
        for model in "ab"
    ]
    calls = (clients[n % 2].complete(request(n)) for n in range(80))
    replies = await asyncio.gather(*calls)
    assert {reply.text for reply in replies} == {"yes"}
    assert sum(server.paid.values()) == 80
    assert max(seen) > 4
    assert len(seen) < 3 * 80


async def test_a_provider_that_copes_gets_more_calls_at_once(serve):
    server = serve(lambda call: Text("yes", delay=0.5))
    client = open_client(f"{server.url}/v1#m")
    await asyncio.gather(*(client.complete(request(n)) for n in range(70)))
    assert server.most_at_once > 32
