"""Explainers with a language model that a script plays, over a real socket."""

import asyncio

from sagescope.agents.budget import Budget, Spending
from sagescope.agents.explainers import EXPLAINERS, Task
from sagescope.agents.minds.choice import Mind
from sagescope.experiments.loopback import LoopbackProvider

from .sentences import on_words, source_of

BOATS = {
    "kind": "lexical",
    "statement": "Fires on boats, not on other vehicles.",
    "groups": [{"label": "boats", "level": "strong", "words": ["boat"]}],
}


def step(call):
    """Which step a prompt is of."""
    return call.body["response_format"]["json_schema"]["name"]


def scripted(**answers):
    """A script with one answer for each form; "*" for the others."""

    def script(call):
        answer = answers.get(step(call), answers.get("*"))
        return answer(call) if callable(answer) else answer

    return script


def explain(
    script,
    *,
    budget=None,
    explainer="sage",
    feature=None,
    record=None,
    source=None,
    prompts=None,
    calls=None,
):
    """What an explainer (or one of EXPLAINERS) concludes of a feature, and the server it asked."""
    with LoopbackProvider(script) as server:
        task = Task(
            source or source_of(feature or on_words("boat")),
            0,
            Mind(f"{server.url}/v1#scripted", prompts, calls),
            Spending(budget or Budget.for_mind(True)),
            seed=0,
            record=record or (lambda kind, *records: None),
        )
        named = EXPLAINERS[explainer] if isinstance(explainer, str) else explainer
        return asyncio.run(named.explain(task)), server
