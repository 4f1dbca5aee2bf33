import pytest

from sagescope.agents.llm.client import Usage
from sagescope.agents.llm.prices import price_of
from sagescope.sae.errors import PriceError

OWN = """
as_of: 2030-01-02
openai:
  gpt-4o-mini: {input: 100, output: 200}
http:
  local: {input: 0, output: 0}
"""


@pytest.fixture
def own(monkeypatch, tmp_path):
    def write(text):
        (tmp_path / "prices.yaml").write_text(text)
        monkeypatch.setenv("SAGESCOPE_PRICES", str(tmp_path / "prices.yaml"))

    return write


def test_tokens_have_the_price_of_their_kind():
    price = price_of("anthropic", "claude-haiku-4-5")
    assert price
    million = 10**6
    used = Usage(
        input_tokens=3 * million,
        cached_input_tokens=million,
        cache_write_tokens=million,
        output_tokens=million,
    )
    assert price.cost(used) == pytest.approx(1 + 0.1 + 1.25 + 5)


def test_a_model_that_is_not_listed_has_no_price():
    assert price_of("openai", "gpt-99") is None
    assert price_of("http", "gpt-4o") is None


@pytest.mark.parametrize(
    ("provider", "dated", "model"),
    [
        ("anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("openai", "gpt-5.4-mini-2026-03-17", "gpt-5.4-mini"),
    ],
)
def test_a_dated_snapshot_costs_what_its_model_costs(provider, dated, model):
    assert price_of(provider, dated) == price_of(provider, model) is not None


def test_a_prompt_beyond_what_the_price_holds_for_has_none():
    price = price_of("anthropic", "claude-haiku-5-5")
    assert price
    assert price.cost(Usage(input_tokens=100_000)) is not None
    assert price.cost(Usage(input_tokens=100_001)) is None


def test_the_users_file_goes_first(own):
    own(OWN)
    price = price_of("openai", "gpt-4o-mini")
    assert price
    assert (price.input, price.as_of.year) == (100, 2030)
    assert price_of("http", "local") is not None
    assert price_of("openai", "gpt-4o") is not None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("just words", "cannot be read"),
        ("openai: {}", "as_of: Field required"),
        (OWN.replace("output: 200", "out: 200"), "gpt-4o-mini"),
        (OWN.replace("input: 100", "input: -1"), "gpt-4o-mini"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_told(own, text, words):
    own(text)
    with pytest.raises(PriceError, match=words):
        price_of("openai", "gpt-4o-mini")


def test_a_missing_file_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("SAGESCOPE_PRICES", str(tmp_path / "none.yaml"))
    with pytest.raises(PriceError, match=r"none\.yaml"):
        price_of("openai", "gpt-4o-mini")
