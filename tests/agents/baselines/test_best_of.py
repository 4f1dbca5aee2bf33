"""k answers, of which the `select` split chooses."""

import numpy as np
import pytest

from sagescope.agents.budget import Budget
from sagescope.agents.llm.recorded import CallLog
from sagescope.experiments.loopback import Failure, Refusal
from sagescope.sae.errors import ProviderError, ReplyError
from sagescope.sae.evidence import SplitEvidence

from ..scripted import explain
from ..sentences import on_words, source_of


def account(*words):
    groups = [{"label": "things", "words": words}] if words else []
    return {"labels": ["-".join(words) or "words"], "description": "it", "groups": groups}


def one_after_another(*answers):
    """The n-th call gets the n-th answer, whatever it asks."""
    return lambda call: answers[(call.number - 1) % len(answers)]


@pytest.mark.parametrize(("explainer", "k"), [("best-of-4", 4), ("best-of-8", 8)])
def test_the_best_on_the_select_split_is_taken(explainer, k):
    answers = [account(*(["window"] * (n != 2) + ["boat"] * (n == 2))) for n in range(k)]
    told = []
    conclusion, server = explain(
        one_after_another(*answers),
        explainer=explainer,
        budget=Budget(calls=8, tokens=100_000),
        record=lambda kind, *records: told.extend(records),
    )
    assert conclusion.status == "concluded"
    assert conclusion.explanation.labels == ("boat",)
    assert len(server.calls) == conclusion.spent["calls"] == k
    assert len(conclusion.hypotheses) == len(told) == len(conclusion.explanation.notes) == k
    notes = conclusion.explanation.notes
    assert sum("Pearson 1.000 on select" in note for note in notes) == 1
    chosen = conclusion.explanation.hypothesis
    assert f"(H{chosen}): Pearson 1.000" in notes[chosen]


def test_of_two_that_cover_the_explain_split_alike_the_sharper_is_taken():
    wide = {"words": ["boat", "the", "in", "near", "on"], "label": "wide"}
    answers = [account("boat") | {"labels": ["wide"], "groups": [wide]}, account("boat")]
    conclusion, _ = explain(one_after_another(*answers), explainer="best-of-4")
    assert conclusion.explanation.labels == ("boat",)


def test_words_alone_lose_against_any_rule():
    answers = [account(), account("window"), account(), account()]
    conclusion, _ = explain(one_after_another(*answers), explainer="best-of-4")
    assert conclusion.explanation.labels == ("window",)
    assert sum("in words alone" in note for note in conclusion.explanation.notes) == 3


def test_a_feature_that_is_silent_on_select_leaves_the_first_with_a_rule():
    source_feature = on_words("boat")
    conclusion, _ = explain(
        one_after_another(account(), account("window"), account("window"), account("window")),
        explainer="best-of-4",
        source=_silent_on_select(source_feature),
    )
    assert conclusion.explanation.labels == ("window",)
    assert sum("no correlation to be had" in n for n in conclusion.explanation.notes) == 3


def _silent_on_select(feature):
    source = source_of(feature)
    select = source.evidence.splits["select"]
    silent = np.zeros(len(select.tokens), np.float32)
    source.evidence.splits["select"] = SplitEvidence("select", select.tokens, lambda f: silent)
    return source


def test_answers_that_fail_are_noted_and_the_others_count():
    answers = [Refusal(), account("boat"), Refusal(), account("window")]
    conclusion, _ = explain(one_after_another(*answers), explainer="best-of-4")
    assert conclusion.status == "concluded"
    assert conclusion.explanation.labels == ("boat",)
    assert sum("failed" in note for note in conclusion.explanation.notes) == 2


def test_only_failures_are_a_failure_of_that_feature():
    with pytest.raises(ReplyError):
        explain(one_after_another(Refusal()), explainer="best-of-4")


@pytest.mark.parametrize("first", [Failure(401), account("boat")])
def test_a_provider_that_is_down_is_said_in_one_error(first):
    with pytest.raises(ProviderError):
        explain(one_after_another(first, *[Failure(401)] * 7), explainer="best-of-4")


@pytest.mark.parametrize("calls", [0, 1, 3])
def test_a_cap_on_calls_holds_and_what_came_counts(calls):
    conclusion, server = explain(
        one_after_another(account("boat")), explainer="best-of-4", budget=Budget(calls=calls)
    )
    assert conclusion.status == "out_of_budget"
    assert len(server.calls) == calls
    assert conclusion.explanation.labels == (("boat",) if calls else ("no explanation",))


class Log(dict, CallLog):
    """Where calls are kept, by digest."""

    def put(self, digest, call):
        self[digest] = call


def test_equal_questions_are_each_asked_and_each_answer_is_kept():
    log = Log()
    answers = one_after_another(account("window"), account("boat"), account("clock"), account())
    _, server = explain(answers, explainer="best-of-4", calls=log)
    assert len({call.digest for call in server.calls}) == 1
    assert len(server.calls) == len(log) == 4


def test_the_others_find_the_first_in_the_prompt_cache():
    """The question is marked, and asked once before it is asked again."""
    log = Log()
    explain(one_after_another(account("boat")), explainer="best-of-4", calls=log)
    usages = [call["reply"]["usage"] for call in log.values()]
    assert [one["cached_input_tokens"] > 0 for one in usages] == [False, True, True, True]
    assert all(call["request"]["messages"][-1]["stable"] for call in log.values())
