"""A scripted language model for the planted features, and a job with it that kills itself.

    python minded.py JOURNAL MIND WRITES CONCURRENCY [FEATURES]

The job explains the planted features as the run `x`, and sends itself SIGKILL once it has written to
the journal so many times.
"""

import os
import re
import signal
import sys
from pathlib import Path

import planted

from sagescope.experiments import explain
from sagescope.experiments.journal import Run
from sagescope.experiments.loopback import Call


def step(call: Call) -> str:
    """Which step of the loop asks."""
    return call.body["response_format"]["json_schema"]["name"]


def trigger(call: Call) -> str:
    """The word that a prompt is about: the first that fires in it, or that a hypothesis names."""
    found = re.search(r"\[\[(\w+)\|", call.messages[1].text) or re.search(
        r"fires on (\w+)", call.messages[1].text
    )
    return found[1] if found else "nothing"


def answer(call: Call) -> dict:
    """A sensible reply: the trigger as hypothesis, some probes, no revision, the trigger's name."""
    word = trigger(call)
    claims = [
        {"kind": kind, "statement": f"It fires on {name}.", "groups": [{"label": name, "words": [name]}]}
        for kind, name in (("lexical", word), ("semantic", "tree"))
    ]  # fmt: skip
    probes = [
        {"hypothesis": n % 2, "role": "positive", "text": f"he saw {n} the {word} .", "fires": True}
        for n in range(4)
    ] + [
        {"hypothesis": 0, "role": "near miss", "text": f"she saw {n} the car .", "fires": False}
        for n in range(4)
    ]
    return {
        "Proposals": {"hypotheses": claims},
        "Trials": {"probes": probes},
        "Revisions": {"hypotheses": []},
        "Summary": summary(call),
        "Account": account(call),
    }[step(call)]


def summary(call: Call) -> dict:
    """The conclusion: the trigger's name."""
    word = trigger(call)
    return {"hypothesis": 0, "labels": [word], "description": f"It fires on {word}."}


def account(call: Call) -> dict:
    """What is said at once: the trigger again."""
    word = trigger(call)
    groups = [{"label": word, "words": [word]}]
    return {"labels": [word], "description": f"It fires on {word}.", "groups": groups}


def kill_after(writes: int) -> None:
    """End this process the hard way, right after so many writes."""
    write_all, done = Run.write_all, 0

    def counted(self, events):
        nonlocal done
        write_all(self, events)
        done += 1
        if done == writes:
            os.kill(os.getpid(), signal.SIGKILL)

    Run.write_all = counted


if __name__ == "__main__":
    journal, mind, writes, at_once, *features = sys.argv[1:]
    kill_after(int(writes))
    chosen = range(int(features[0])) if features else range(len(planted.TRIGGERS))
    explain(
        planted.PlantedSource(),
        chosen,
        mind=mind,
        journal=Path(journal),
        run="x",
        concurrency=int(at_once),
    )
