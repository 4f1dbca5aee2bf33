import pytest

from sagescope.agents.llm.client import Message, Request, open_client
from sagescope.sae.errors import KeyRefused, UnknownName


def request(text="hello", **others):
    return Request(messages=(Message(role="user", text=text),), **others)


@pytest.mark.parametrize(
    "spec",
    ["opnai:gpt-4o", "openai", "openai:", "gpt-4o", "http://127.0.0.1:8000/v1", "http://#m", ""],
)
def test_another_spec_is_refused_with_the_forms_there_are(spec):
    with pytest.raises(UnknownName, match="MODEL"):
        open_client(spec)


def test_a_spec_with_a_password_is_refused_without_showing_it(keys):
    for spec in (f"http://me:{keys}@127.0.0.1/v1#m", f"http://127.0.0.1/v1?key={keys}#m"):
        with pytest.raises(UnknownName) as caught:
            open_client(spec)
        assert keys not in str(caught.value)


def test_the_address_names_provider_model_and_place():
    assert open_client("openai:gpt-4o").address == "openai:gpt-4o at https://api.openai.com/v1"
    there = "http:org/model:tag at http://127.0.0.1:8000/v1"
    assert open_client("http://127.0.0.1:8000/v1#org/model:tag").address == there


def test_the_address_holds_no_password(monkeypatch, keys):
    monkeypatch.setenv("OPENAI_BASE_URL", f"https://me:{keys}@gate.example/v1?key={keys}")
    client = open_client("openai:gpt-4o")
    assert client.address == "openai:gpt-4o at https://gate.example/v1"
    assert keys not in repr(client)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_provider_needs_its_key(provider, monkeypatch):
    name = f"{provider.upper()}_API_KEY"
    monkeypatch.delenv(name)
    with pytest.raises(KeyRefused, match=name):
        open_client(f"{provider}:m")


def test_equal_requests_have_equal_digests():
    here = request(temperature=0.5).digest("a")
    assert here == request(temperature=0.5).digest("a")
    others = [
        request(temperature=0.5).digest("b"),
        request(temperature=0.6).digest("a"),
        request("hullo", temperature=0.5).digest("a"),
        request(temperature=0.5, sample=1).digest("a"),
    ]
    assert len({here, *others}) == 5


def test_a_request_is_reckoned_before_it_is_sent():
    short, long = request("word").expected_usage(), request("word " * 1000).expected_usage()
    assert long.input_tokens > short.input_tokens + 1000
    assert request(max_output_tokens=7).expected_usage().output_tokens == 7
