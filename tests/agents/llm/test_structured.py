import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from sagescope.agents.llm.client import Message, Reply, Usage
from sagescope.agents.llm.structured import ask, objects_in, read
from sagescope.experiments.loopback import Text
from sagescope.sae.errors import ReplyError


class Labels(BaseModel):
    model_config = ConfigDict(extra="forbid")

    labels: list[str]


def reply(text, finish="stop"):
    return Reply(text=text, finish=finish, usage=Usage(), model="m")


@pytest.mark.parametrize(
    "text",
    [
        '{"labels": ["a"]}',
        'Sure!\n```json\n{"labels": ["a"]}\n```\nAnything else?',
        'With {braces} around, and {"drafts": 1}, I say {"labels": ["a"]}.',
        '<think>{"labels": ["draft"]}</think>{"labels": ["a"]}',
        '\ufeff  {"labels": ["a"]}  {"labels": ["b"]}',
    ],
)
def test_the_object_is_found_wherever_it_stands(text):
    assert read(reply(text), Labels).labels == ["a"]


def test_parts_of_a_broken_object_are_not_taken_for_it():
    with pytest.raises(ReplyError) as caught:
        read(reply('{"all": [{"labels": ["a"]}, {"labels": ["b"]', finish="length"), Labels)
    assert caught.value.reason == "length"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values), st.text("ab `\n"), st.text())
def test_every_object_is_found_whole(value, before, after):
    assert json.loads(next(objects_in(f"{before}{json.dumps(value)}{after}"))) == value


@given(st.text('{}[]":,\\ a\n'))
def test_any_text_is_read_or_told_to_be_no_answer(text):
    with pytest.raises(ReplyError) as caught:
        read(reply(text), Labels)
    assert caught.value.reason in ("form", "empty")


async def test_one_repair_shows_what_is_wrong(serve, connect):
    answers = [Text('{"labels": "boats"}'), Text('{"labels": ["boats"]}')]
    server = serve(lambda call: answers[call.number - 1])
    labels, replies = await ask(connect(server), [Message(role="user", text="labels?")], Labels)
    assert labels.labels == ["boats"]
    assert len(replies) == 2
    asked, said, told = server.calls[1].messages
    assert (asked.text, said.role, said.text) == ("labels?", "assistant", '{"labels": "boats"}')
    assert "labels: Input should be a valid array" in told.text
