"""Steering and losses in a run's journal: measured once, whoever asks."""

import asyncio

import numpy as np
import pytest

from sagescope.experiments.journal import Journal
from sagescope.experiments.recorded import RecordedLosses, RecordedOutputs
from sagescope.sae.outputs import PromptSteering, Steering


class Counting:
    """Outputs and losses that remember what was asked."""

    def __init__(self):
        self.asked = []

    async def steered(self, feature, prompts, strength=1.0, n=10, seed=0, watched=()):
        self.asked.append((feature, tuple(watched)))
        row = tuple(float(id) for id in watched)
        one = PromptSteering(0.5, 0.25, row, row, (" a",), (" b", "\ufffd"))
        return Steering(strength, len(prompts), (), (), 0.5, 0.25, (one,) * len(prompts))

    async def losses(self, prefix, texts):
        self.asked.append((prefix, tuple(texts)))
        return np.array([len(prefix) + len(text) / 8 for text in texts])


@pytest.fixture
def opened_run():
    with Journal.open(None) as journal, journal.begin("r", {}) as run:
        yield run


def test_steering_is_asked_once_for_each_set_of_watched_tokens(opened_run):
    counting = Counting()
    outputs = RecordedOutputs(counting, opened_run)

    def ask(*watched):
        return asyncio.run(outputs.steered(3, ["the"], 4.0, watched=watched))

    first = ask(5, 7)
    assert ask(5, 7) == first
    assert first.by_prompt[0].shifts == (5.0, 7.0)
    ask()
    assert ask() == ask()
    assert counting.asked == [(3, (5, 7)), (3, ())]


def test_a_loss_is_asked_once_for_each_prefix_and_text(opened_run):
    counting = Counting()
    losses = RecordedLosses(counting, opened_run)
    first = asyncio.run(losses.losses("p", ["a", "bb", "a"]))
    again = asyncio.run(losses.losses("p", ["bb", "ccc"]))
    asyncio.run(losses.losses("other", ["a"]))
    assert first.tolist() == [1.125, 1.25, 1.125]
    assert again.tolist() == [1.25, 1.375]
    assert counting.asked == [("p", ("a", "bb")), ("p", ("ccc",)), ("other", ("a",))]
