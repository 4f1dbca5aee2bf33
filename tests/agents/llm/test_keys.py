"""No key gets anywhere but to the provider that it belongs to."""

import logging
import os
import traceback

import pytest

from sagescope.agents.llm.client import Message, Request, open_client
from sagescope.agents.llm.keys import key_of
from sagescope.agents.llm.recorded import CallLog, RecordedClient
from sagescope.experiments.loopback import Failure
from sagescope.sae.errors import KeyRefused, ProviderError, UnknownName

REQUEST = Request(messages=(Message(role="user", text="hello"),))


class Calls(dict, CallLog):
    def put(self, digest, call):
        self[digest] = call


def test_the_key_comes_from_a_file_too_and_is_not_inherited(monkeypatch, tmp_path):
    monkeypatch.delenv("OPENAI_API_KEY")
    (tmp_path / ".env").write_text("OPENAI_API_KEY='sk-from-${HOME}-file'\n")
    assert key_of("OPENAI_API_KEY") == "sk-from-${HOME}-file"
    open_client("openai:gpt-4o")
    assert "OPENAI_API_KEY" not in os.environ


def test_the_environment_goes_before_the_file(tmp_path, keys):
    (tmp_path / ".env").write_text("OPENAI_API_KEY=another\n")
    assert key_of("OPENAI_API_KEY") == keys


async def test_each_provider_gets_its_own_key(serve, monkeypatch):
    for name in ("OPENAI", "ANTHROPIC", "SAGESCOPE"):
        monkeypatch.setenv(f"{name}_API_KEY", f"sk-{name}")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-OPENAI")
    server = serve(lambda call: "yes")
    for spec in ("openai:gpt-4o", "anthropic:claude-haiku-4-5", f"{server.url}/v1#m"):
        await open_client(spec).complete(REQUEST)
    seen = [repr(dict(call.headers)) for call in server.calls]
    names = ["OPENAI", "ANTHROPIC", "SAGESCOPE"]
    assert [[name for name in names if f"sk-{name}" in one] for one in seen] == [[n] for n in names]


async def test_another_server_gets_nothing_that_is_openais(serve, monkeypatch, keys):
    monkeypatch.delenv("SAGESCOPE_API_KEY")
    monkeypatch.setenv("OPENAI_ORG_ID", f"org-{keys}")
    monkeypatch.setenv("OPENAI_PROJECT_ID", f"project-{keys}")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", f"admin-{keys}")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Gate: {keys}\nauthorization: Bearer {keys}")
    server = serve(lambda call: "yes")
    await open_client(f"{server.url}/v1#m").complete(REQUEST)
    assert keys not in repr(server.calls)
    assert "authorization" not in server.calls[0].headers


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
async def test_a_key_that_the_server_repeats_is_blacked_out(serve, connect, keys, caplog, status):
    said = f"\x1b[31mIncorrect key provided: {keys} (Bearer {keys}) " + "x" * 500
    client = connect(serve(lambda call: Failure(status, said, code=keys)))
    with caplog.at_level(logging.DEBUG), pytest.raises(ProviderError) as caught:
        await client.complete(REQUEST)
    told = "".join(traceback.format_exception(caught.value))
    shown = [told, repr(caught.value), repr(client), repr(vars(client)), caplog.text]
    assert "[key]" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 700
    assert not [text for text in shown if keys in text]
    chain = [caught.value.__cause__, caught.value.__context__]
    assert not [error for error in chain if error and not isinstance(error, ProviderError)]


async def test_a_key_in_a_reply_is_blacked_out_and_not_kept(serve, connect, keys):
    calls = Calls()
    client = RecordedClient(connect(serve(lambda call: f"Your key is {keys}.")), calls)
    assert (await client.complete(REQUEST)).text == "Your key is [key]."
    assert len(calls) == 1
    assert keys not in repr(calls)


# --- What no request can be sent with ------------------------------------------------------------


@pytest.mark.parametrize("key", ["sk-…", "sk-a b", "sk-\x1b[2J"])
def test_a_key_that_no_header_can_carry_is_refused_before_anything_is_sent(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(KeyRefused, match="OPENAI_API_KEY is no key") as caught:
        open_client("openai:gpt-4o")
    assert key not in str(caught.value)


def test_an_env_file_that_is_no_text_is_told(monkeypatch, tmp_path):
    monkeypatch.delenv("OPENAI_API_KEY")
    (tmp_path / ".env").write_bytes("OPENAI_API_KEY=ü".encode("latin-1"))
    with pytest.raises(KeyRefused, match="not UTF-8"):
        open_client("openai:gpt-4o")


NO_URLS = [
    "not a url",
    "ftp://host/v1",
    "http://",
    "http://[::1/v1",
    "http://127.0.0.1:abc/v1",
    "http://127.0.0.1:99999/v1",
    "http://127.0.0.1 :80/v1",
    "http://user:secret@host:abc/v1",
]


@pytest.mark.parametrize("url", NO_URLS)
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_base_url_that_is_none_is_refused_at_once(monkeypatch, provider, url):
    monkeypatch.setenv(f"{provider.upper()}_BASE_URL", url)
    with pytest.raises(UnknownName, match=f"base URL in {provider.upper()}_BASE_URL") as caught:
        open_client(f"{provider}:gpt-4o")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", [url for url in NO_URLS if url.startswith("http:")])
def test_a_server_that_is_none_is_refused_at_once(url):
    with pytest.raises(UnknownName, match="language model") as caught:
        open_client(f"{url}#m")
    assert "secret" not in str(caught.value)
