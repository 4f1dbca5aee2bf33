"""What a language model answers at each step of the loop. The descriptions go to it as the schema."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .sketch import Form, Group

Kind = Literal[
    "lexical", "syntactic", "semantic", "positional", "output-side", "two unrelated things"
]


class Claim(Form):
    """A hypothesis in words, with the sketch that makes it checkable."""

    kind: Kind
    statement: str = Field(
        min_length=1, description="one sentence: what it fires on, and what like it does not fire"
    )
    groups: tuple[Group, ...] = Field(
        default=(), description="the sketch; empty only where no list of words can stand for it"
    )


class Proposals(Form):
    """First hypotheses."""

    hypotheses: tuple[Claim, ...] = Field(min_length=1)


class Trial(Form):
    """A text to run, with the prediction."""

    hypothesis: int = Field(description="the number of the hypothesis that predicts this")
    role: Literal["positive", "near miss", "minimal pair"]
    text: str
    fires: bool = Field(description="whether the hypothesis says that the feature fires on it")
    token: str = Field(default="", description="the word expected to fire, if any")
    pair: int | None = Field(
        default=None, description="place in this list (from 0) of the text it is an edit of"
    )
    group: str = Field(
        default="", description="label of the group that it tests, where there are several"
    )


class Trials(Form):
    """Texts to run."""

    probes: tuple[Trial, ...]


class Revision(Claim):
    """A better hypothesis. replaces: the number of the one it takes the place of, if any."""

    replaces: int | None = None


class Revisions(Form):
    """Better hypotheses; none where nothing that was shown changes the explanation."""

    hypotheses: tuple[Revision, ...] = ()


class Word(Form):
    """The mind's own word on a hypothesis."""

    hypothesis: int
    status: Literal["confirmed", "open", "refuted"]


class JudgedRevisions(Revisions):
    """Better hypotheses, and how those that there are stand."""

    verdicts: tuple[Word, ...] = Field(description="your own word on each hypothesis shown")


class Name(Form):
    """A short name for one thing that the feature responds to."""

    label: str
    groups: tuple[int, ...] = Field(
        default=(), description="numbers of the hypothesis's groups that it names"
    )

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, value: object) -> object:
        return {"label": value} if isinstance(value, str) else value


class Summary(Form):
    """The explanation."""

    hypothesis: int = Field(description="the number of the hypothesis that it states")
    labels: tuple[Name, ...] = Field(
        min_length=1, description="one for each unrelated thing, most activation first"
    )
    description: str = Field(min_length=1, description="what it fires on, and what it does not")


class JudgedSummary(Summary):
    """The explanation, and how the hypotheses stand."""

    verdicts: tuple[Word, ...] = Field(description="your own word on each hypothesis shown")
