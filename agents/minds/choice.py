"""Which mind thinks: the rule miner, or a language model, by the name users type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...sae.errors import PriceError, UnknownName
from ..budget import NO_PRICE, Budget
from ..loop import Reasoner
from ..rules.mind import RuleMind

if TYPE_CHECKING:
    from ..llm.client import Client
    from ..llm.recorded import CallLog

#: Minds that need no language model, by name.
PLAIN_MINDS: dict[str, Callable[[], Reasoner]] = {"rules": RuleMind}
#: How language models are named.
FORMS = ("openai:MODEL", "anthropic:MODEL", "http://HOST:PORT/v1#MODEL")


@dataclass(frozen=True)
class Mind:
    """What thinks, and how it may be asked.

    name: one of PLAIN_MINDS, or a language model in one of FORMS. prompts: a folder of edited
    templates. calls: where calls of a language model are kept, so that none is paid twice.
    """

    name: str
    prompts: Path | None = None
    calls: CallLog | None = None

    @property
    def is_language_model(self) -> bool:
        """Whether thinking costs calls."""
        return self.name not in PLAIN_MINDS

    def check(self) -> None:
        """Raise UnknownName for no mind, KeyRefused for a language model without its key."""
        if self.is_language_model:
            if ":" not in self.name:
                raise UnknownName("mind", self.name, [*PLAIN_MINDS, *FORMS])
            self.client()

    def check_price(self, *budgets: Budget | None) -> None:
        """Raise PriceError where one of these caps money, and the model has no known price."""
        from ..llm.client import Usage

        capped = any(budget is not None and budget.cost is not None for budget in budgets)
        if capped and self.is_language_model and self.client().charge(Usage()).cost is None:
            raise PriceError(NO_PRICE)

    def client(self) -> Client:
        """The language model. Raises UnknownName for a mind that is none, and as `open_client`."""
        from ..llm.client import open_client
        from ..llm.recorded import RecordedClient

        if not self.is_language_model:
            raise UnknownName("language model", self.name, FORMS)
        client = open_client(self.name)
        return client if self.calls is None else RecordedClient(client, self.calls)

    def reasoner(self, **settings: Any) -> Reasoner:
        """A new thinker for one feature. settings: of LanguageMind; the miner takes none."""
        from .language import LanguageMind

        self.check()
        if not self.is_language_model:
            return PLAIN_MINDS[self.name]()
        return LanguageMind(self.name, self.client(), self.prompts, **settings)
