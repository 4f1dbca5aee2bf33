"""Every error that Sagescope raises on purpose, as one tree.

SagescopeError
├── UnknownName            a name that is in no list: the message shows the near ones
├── MindError              a mind that cannot do what an explainer asks of it
├── HookPointError         a hook point that the subject model does not have or cannot serve
├── SubjectError           a subject model that cannot be loaded or prepared as asked
├── SAEError               an SAE that cannot be loaded, or does not fit its subject model
├── CorpusError            a corpus that cannot be read, or is too small for what is asked
├── EvidenceError          collected evidence that is missing, damaged or of another run
│   └── WrongSplit         a read from a split that the reader must not see
├── FeatureError           a feature index that the source does not have
├── TextError              a text that cannot be run (empty, too long, not text)
├── BudgetExhausted        a hard cap was reached; what was spent is in the message
├── PromptError            an edited template of a prompt that is none, or asks for what there is not
├── PriceError             a price that is needed and not known, or a price file that cannot be read
├── ProviderError          a language-model provider that did not serve a call
│   ├── KeyRefused         no key, a wrong one, or an account that is out of credit
│   ├── RequestRefused     a request that will never be served as it is
│   ├── ProviderBusy       too many requests just now (retried with patience before it is raised)
│   └── ProviderDown       unreachable, broken off, or never done (retried likewise)
├── ReplyError             a reply that is no answer: refused, empty, cut or of the wrong form
├── CannotAnswer           a question that an explanation, or a feature source, cannot answer
├── RuleError              a rule that does not parse or asks for what no token can satisfy
├── JournalError           a journal that is damaged, of another version, or in use
├── BenchmarkError         a benchmark that cannot be read, or is not of what is measured
├── SubmissionError        explanations from elsewhere that cannot be read
├── ClusterError           workers that cannot be started, or that are lost again and again
├── ServiceError           a server of ours that cannot be started, reached, or used as asked
└── SessionError           what a session cannot do as it stands

Each message says what is wrong and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SagescopeError(Exception):
    """Base of all errors raised on purpose; the command line prints it as one sentence."""


class UnknownName(SagescopeError):
    """A name that is in no list."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        super().__init__(f"Unknown {kind} {name!r}. {did_you_mean(name, known)}")


class MindError(SagescopeError):
    """A mind that cannot do what an explainer asks of it."""


class HookPointError(SagescopeError):
    """A hook point that the subject model does not have or cannot serve."""


class SubjectError(SagescopeError):
    """A subject model that cannot be loaded or prepared as asked."""


class SAEError(SagescopeError):
    """An SAE that cannot be loaded, or does not fit its subject model."""


class CorpusError(SagescopeError):
    """A corpus that cannot be read, or is too small for what is asked."""


class EvidenceError(SagescopeError):
    """Collected evidence that is missing, damaged or of another run."""


class WrongSplit(EvidenceError):
    """A read from a split that the reader must not see."""


class FeatureError(SagescopeError):
    """A feature index that the source does not have."""


class TextError(SagescopeError):
    """A text that cannot be run."""


class BudgetExhausted(SagescopeError):
    """A hard cap was reached."""


class PromptError(SagescopeError):
    """An edited template of a prompt that is none, or asks for what there is not."""


class PriceError(SagescopeError):
    """A price that is needed and not known, or a price file that cannot be read."""


class ProviderError(SagescopeError):
    """A language-model provider that did not serve a call.

    status: of HTTP, where it came to that. retry_after: seconds after which the provider asks to be
    tried again, where it says so. maybe_paid: whether the call may have been paid for all the same.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        maybe_paid: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.maybe_paid = maybe_paid


class KeyRefused(ProviderError):
    """No key, a wrong one, or an account that is out of credit."""


class RequestRefused(ProviderError):
    """A request that will never be served as it is."""


class ProviderBusy(ProviderError):
    """Too many requests just now."""


class ProviderDown(ProviderError):
    """A provider that cannot be reached, broke off, or never came to an end."""


class ReplyError(SagescopeError):
    """A reply of a language model that is no answer.

    reason: "refusal", "empty", "length" (cut at the cap on output tokens) or "form" (not what the
    schema asks for).
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class CannotAnswer(SagescopeError):
    """A question that an explanation, or a feature source, cannot answer."""


class RuleError(SagescopeError):
    """A rule that does not parse or asks for what no token can satisfy."""


class JournalError(SagescopeError):
    """A journal that is damaged, of another version, or in use."""


class BenchmarkError(SagescopeError):
    """A benchmark that cannot be read, or is not of what is measured."""


class SubmissionError(SagescopeError):
    """Explanations from elsewhere that cannot be read."""


class ClusterError(SagescopeError):
    """Workers that cannot be started, or that are lost again and again."""


class ServiceError(SagescopeError):
    """A server of ours that cannot be started, reached, or used as asked."""


class SessionError(SagescopeError):
    """What a session cannot do as it stands."""


def did_you_mean(name: str, known: Iterable[str], limit: int = 6) -> str:
    """A sentence that lists the known names nearest to `name`."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=limit, cutoff=0.4)
    shown = near or names[:limit]
    if not shown:
        return "There are none."
    lead = "Nearest" if near else "Known"
    more = "" if near or len(names) <= limit else f" and {len(names) - limit} more"
    return f"{lead}: {', '.join(shown)}{more}."


def first_line(error: BaseException) -> str:
    """Somebody else's error as part of a sentence: its kind, and how its message begins."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
