import asyncio
import gc
import weakref

from sagescope.agents.llm.client import Message, Request
from sagescope.agents.llm.shared import shared, shared_connection


class Connection:
    closed = False

    async def close(self):
        await asyncio.sleep(0)
        self.closed = True


def test_connections_are_closed_with_their_loop_which_is_then_let_go_of():
    seen = []

    async def use():
        both = [shared_connection("here", Connection) for _ in range(2)]
        one, other = await asyncio.gather(*both)
        there = await shared_connection("there", Connection)
        assert one is other is not there
        assert not one.closed
        seen.extend([one, there])
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(use())
    assert [connection.closed for connection in seen] == [True, True]
    gc.collect()
    assert loop() is None


def test_each_loop_has_its_own():
    async def use():
        assert shared("key", object) is shared("key", object) is not shared("other", object)
        return shared("key", object)

    assert asyncio.run(use()) is not asyncio.run(use())


def test_a_client_outlives_its_loop(serve, connect):
    client = connect(serve(lambda call: "yes"))
    request = Request(messages=(Message(role="user", text="hello"),))
    for _ in range(2):
        assert asyncio.run(client.complete(request)).text == "yes"
