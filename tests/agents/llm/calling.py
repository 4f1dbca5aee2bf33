"""A process that asks one thing after another through a journal, for tests to kill."""

import asyncio
import contextlib
import sys
from pathlib import Path

from sagescope.agents.llm.client import Message, Request, open_client
from sagescope.agents.llm.recorded import CallLog, RecordedClient
from sagescope.experiments.journal import Journal


def request(number):
    return Request(messages=(Message(role="user", text=f"question {number}"),))


class RunCalls(CallLog):
    """The calls of a run of a journal, as events."""

    def __init__(self, run):
        self.run = run
        self.known = {
            event.payload["digest"]: event.payload for event in run.events(kinds=["call"])
        }

    def get(self, digest):
        return self.known.get(digest)

    def put(self, digest, call):
        self.known[digest] = {"digest": digest, **call}
        self.run.write("call", self.known[digest])


@contextlib.contextmanager
def open_calls(path):
    with Journal.open(Path(path)) as journal, journal.begin("asking", {}) as run:
        yield RunCalls(run)


async def main(spec, path, count):
    with open_calls(path) as calls:
        client = RecordedClient(open_client(spec), calls)
        for number in range(int(count)):
            await client.complete(request(number))
        sys.stdout.write(f"{len(calls.known)}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
