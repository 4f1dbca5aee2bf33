"""Turns: fair between clients, bounded, and given up by whoever leaves."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagescope.experiments.service.limits import Limits
from sagescope.experiments.service.queue import QUANTUM, Full, Queue, cost_of, pieces


class Work:
    """Work that ends when it is let go; `began` says in which order it was started."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.gate = asyncio.Event()

    def piece(self, name: str, cost: int = QUANTUM):
        async def do() -> str:
            self.began.append(name)
            await self.gate.wait()
            return name

        return cost, do


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_client_with_much_does_not_go_before_the_others():
    queue, work = Queue(Limits(running_tokens=QUANTUM)), Work()
    greedy = asyncio.create_task(queue.run("greedy", [work.piece("greedy")] * 50))
    await settled()
    others = [
        asyncio.create_task(queue.run(name, [work.piece(name, 16)])) for name in ("one", "two")
    ]
    await settled()
    assert work.began == ["greedy"]
    work.gate.set()
    await asyncio.gather(*others)
    assert work.began.index("two") <= 3
    assert len(await greedy) == 50


async def test_small_requests_share_what_may_run():
    queue, work = Queue(Limits(running_tokens=64)), Work()
    tasks = [asyncio.create_task(queue.run(f"{n}", [work.piece(f"{n}", 16)])) for n in range(8)]
    await settled()
    assert (len(work.began), queue.running_tokens, queue.waiting_tokens) == (4, 64, 64)
    work.gate.set()
    assert await asyncio.gather(*tasks) == [[f"{n}"] for n in range(8)]
    assert (queue.requests, queue.running_tokens, queue.waiting_tokens) == (0, 0, 0)


async def test_what_is_larger_than_everything_runs_alone():
    queue, work = Queue(Limits(running_tokens=64, queue_tokens=64)), Work()
    work.gate.set()
    assert await queue.run("one", [work.piece("large", 10_000)]) == ["large"]


async def test_more_than_fits_is_told_when_to_come_back():
    queue, work = Queue(Limits(queue_requests=2, running_tokens=16)), Work()
    tasks = [asyncio.create_task(queue.run("one", [work.piece("x", 16)])) for _ in range(2)]
    await settled()
    with pytest.raises(Full, match="try again in 1 s") as full:
        await queue.run("two", [work.piece("y", 16)])
    assert full.value.retry_after == 1
    work.gate.set()
    await asyncio.gather(*tasks)
    assert await queue.run("two", [work.piece("y", 16)]) == ["y"]


async def test_tokens_that_wait_are_bounded_too():
    queue, work = Queue(Limits(queue_tokens=100, running_tokens=16)), Work()
    tasks = [asyncio.create_task(queue.run("one", [work.piece("x", 90)])) for _ in range(2)]
    await settled()
    with pytest.raises(Full):
        await queue.run("two", [work.piece("y", 16)])
    work.gate.set()
    await asyncio.gather(*tasks)


async def test_whoever_is_cancelled_leaves_the_queue():
    queue, work = Queue(Limits(running_tokens=16)), Work()
    first = asyncio.create_task(queue.run("one", [work.piece("first", 16)]))
    await settled()
    leaving = asyncio.create_task(queue.run("two", [work.piece("leaving", 16)] * 3))
    staying = asyncio.create_task(queue.run("two", [work.piece("staying", 16)]))
    await settled()
    leaving.cancel()
    await settled()
    assert queue.waiting_tokens == 16
    work.gate.set()
    assert await staying == ["staying"]
    await first
    assert "leaving" not in work.began


async def test_a_piece_that_fails_ends_its_request():
    queue, work = Queue(Limits(running_tokens=16)), Work()
    work.gate.set()

    async def fail() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await queue.run("one", [(16, fail), *[work.piece("later", 16)] * 5])
    assert (queue.requests, queue.running_tokens, queue.waiting_tokens) == (0, 0, 0)


@given(seed=st.integers(0, 10_000))
def test_nothing_is_lost_however_clients_come_and_go(seed):
    draw = random.Random(seed)

    async def client(queue: Queue, name: str) -> int:
        done = 0

        async def do() -> int:
            await asyncio.sleep(0)
            return 1

        for _ in range(draw.randint(1, 4)):
            work = [(draw.randint(1, 200), do) for _ in range(draw.randint(1, 5))]
            task = asyncio.create_task(queue.run(name, work))
            for _ in range(draw.randint(0, 12)):
                await asyncio.sleep(0)
            if draw.random() < 0.4:
                task.cancel()
            done += sum(
                sum(one)
                for one in await asyncio.gather(task, return_exceptions=True)
                if isinstance(one, list)
            )
        return done

    async def all_of_them() -> None:
        queue = Queue(Limits(running_tokens=256))
        async with asyncio.timeout(30):
            await asyncio.gather(*(client(queue, f"{n}") for n in range(5)))
        assert (queue.requests, queue.running_tokens, queue.waiting_tokens) == (0, 0, 0)

    asyncio.run(all_of_them())


@given(st.lists(st.text(max_size=3000), max_size=40))
def test_pieces_are_the_texts_in_order(texts):
    found = pieces(texts)
    assert [text for some in found for text in some] == texts
    assert all(len(some) == 1 or sum(map(cost_of, some)) <= QUANTUM for some in found)
