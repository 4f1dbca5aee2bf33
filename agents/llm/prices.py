"""What models cost, from the price file of the package and one of the user's own."""

from __future__ import annotations

import datetime
import functools
import os
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...sae.errors import PriceError
from .client import Usage


class Price(BaseModel):
    """US dollars per million tokens of one model (fields: see prices.yaml)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)
    cache_write: float | None = Field(default=None, ge=0)
    output: float = Field(ge=0)
    up_to: int | None = None
    as_of: datetime.date

    def cost(self, usage: Usage) -> float | None:
        """What a call costs in US dollars; None for a prompt that these prices do not hold for."""
        if self.up_to is not None and usage.input_tokens > self.up_to:
            return None
        cached, written = usage.cached_input_tokens, usage.cache_write_tokens
        fresh = max(0, usage.input_tokens - cached - written)
        read_at = self.input if self.cached_input is None else self.cached_input
        write_at = self.input if self.cache_write is None else self.cache_write
        dollars = fresh * self.input + cached * read_at + written * write_at
        return (dollars + usage.output_tokens * self.output) / 1e6


class _Prices(BaseModel):
    model_config = ConfigDict(extra="forbid")

    as_of: datetime.date
    sources: list[str] = []
    openai: dict[str, dict[str, Any]] = {}
    anthropic: dict[str, dict[str, Any]] = {}
    http: dict[str, dict[str, Any]] = {}


def price_of(provider: str, model: str) -> Price | None:
    """The price of a provider's model; None where none is known. A dated snapshot
    (`-2026-04-23`, `-20251001`) costs what its model costs.

    Raises PriceError for a price file of the user's that cannot be read.
    """
    own = os.environ.get("SAGESCOPE_PRICES")
    files = [_read(Path(own).expanduser())] if own else []
    for prices in [*files, _package_prices()]:
        table = getattr(prices, provider, {})
        name = model if model in table else _undated(model)
        if name in table:
            return _price(table[name], prices.as_of, f"{provider}:{name}")
    return None


@functools.cache
def _package_prices() -> _Prices:
    with resources.as_file(resources.files(__name__.rpartition(".")[0]) / "prices.yaml") as path:
        return _read(path)


def _read(path: Path) -> _Prices:
    import yaml

    try:
        return _Prices.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        why = _first(error) if isinstance(error, ValidationError) else " ".join(str(error).split())
        raise PriceError(
            f"The price file {path} cannot be read ({why}): give it the form of Sagescope's own "
            f"prices.yaml, or unset SAGESCOPE_PRICES."
        ) from error


def _price(entry: dict[str, Any], as_of: datetime.date, name: str) -> Price:
    try:
        return Price.model_validate({"as_of": as_of, **entry})
    except ValidationError as error:
        raise PriceError(
            f"The price of {name} is not one ({_first(error)}): correct it in the price file."
        ) from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _undated(model: str) -> str:
    head, _, date = model.rpartition("-")
    if len(date) == 8 and date.isdigit():
        return head
    parts = model.rsplit("-", 3)
    is_dated = len(parts) == 4 and [len(p) for p in parts[1:]] == [4, 2, 2]
    return parts[0] if is_dated and all(p.isdigit() for p in parts[1:]) else model
