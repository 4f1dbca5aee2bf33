"""What goes over HTTP: requests and answers of version 1.

Activations are float32; their JSON form is the shortest decimal that is read back as the same
number. `sae` may be left out where the service has one SAE, or the first is meant.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .limits import MOST, MOST_CHARACTERS, MOST_FEATURES, MOST_LISTED, MOST_TEXTS

Text = Annotated[str, Field(max_length=MOST_CHARACTERS)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=MOST_TEXTS)]
Feature = Annotated[int, Field(ge=0, le=MOST)]
SaeName = Annotated[str, Field(max_length=512, description="Which SAE; the first by default.")]
Kind = Literal["top", "spread", "silent", "near"]
Role = Literal["explainer", "selector", "scorer"]
Split = Literal["explain", "select", "score"]


class Wire(BaseModel):
    """What all of them have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [values]})


# -------------------------------------------------------------------- questions


class OfTexts(Wire):
    """Texts as one of the SAEs' subject model reads them."""

    model_config = _example(texts=["The cat sat on the mat."])

    texts: Texts
    sae: SaeName | None = None


class OfFeatures(OfTexts):
    """Texts, and the features whose activations on them are asked for."""

    model_config = _example(texts=["The cat sat on the mat."], features=[7, 12])

    features: Annotated[list[Feature], Field(min_length=1, max_length=MOST_FEATURES)]


class OfTop(OfTexts):
    """Texts, and how many of the features that fire highest on each are asked for."""

    model_config = _example(texts=["The cat sat on the mat."], n=5)

    n: Annotated[int, Field(ge=1, le=MOST_LISTED)] = 10


class OfSteering(Wire):
    """A feature to steer by and prompts; see the answer for what the numbers are."""

    model_config = _example(feature=7, prompts=["Once upon a time"], strength=2.0, n=5)

    feature: Feature
    prompts: Texts
    strength: Annotated[float, Field(ge=-1e6, le=1e6, description="In typical maxima.")] = 1.0
    n: Annotated[int, Field(ge=0, le=MOST_LISTED)] = 10
    seed: Annotated[int, Field(ge=0, le=MOST, description="Of the random direction.")] = 0
    watched: Annotated[
        list[Feature], Field(max_length=1024, description="Ids of tokens to follow.")
    ] = []
    sae: SaeName | None = None


class OfLosses(OfTexts):
    """Texts to foretell, and what stands before each of them."""

    model_config = _example(prefix="Breaking news: ", texts=["the river rose again."])

    prefix: Text = ""


class OfCover(Wire):
    """Features that the evidence should have; None for all."""

    model_config = _example(features=[7, 12])

    features: Annotated[list[Feature], Field(max_length=1 << 17)] | None = None
    sae: SaeName | None = None


class OfEntries(Wire):
    """Features whose activations on a split of the corpus are asked for, and who asks."""

    model_config = _example(role="explainer", features=[7])

    role: Role
    features: Annotated[list[Feature], Field(max_length=1024)]
    sae: SaeName | None = None


# -------------------------------------------------------------------- answers


class Status(Wire):
    """How the service is."""

    model_config = _example(status="ready")

    status: Literal["alive", "ready"]


class About(Wire):
    """One of the sources that are served. key: all that its numbers depend on."""

    model_config = _example(
        subject="smollm2-135m-instruct", sae="my-sae", n_features=4096, room=127, key=None
    )

    subject: str
    sae: str
    n_features: int
    room: Annotated[int, Field(description="Tokens that a text may have.")]
    key: dict[str, Any] | None


class Sources(Wire):
    """All SAEs that are served, the default first."""

    sources: list[About]


class Tokenized(Wire):
    """The token strings of each text."""

    model_config = _example(tokens=[["The", " cat"]])

    tokens: list[list[str]]


class Reading(Wire):
    """A text's tokens, and for each feature that was asked for its activation on each of them."""

    model_config = _example(tokens=["The", " cat"], activations=[[0.0, 3.25], [0.0, 0.0]])

    tokens: list[str]
    activations: list[list[float]]


class Readings(Wire):
    """One reading for each text."""

    texts: list[Reading]


class Firing(Wire):
    """A feature's highest activation on a text, and the place of the token that has it."""

    model_config = _example(feature=7, activation=3.25, position=1)

    feature: int
    activation: float
    position: int


class Strongest(Wire):
    """A text's tokens, and the features that fire highest on any of them, the highest first."""

    tokens: list[str]
    features: list[Firing]


class Top(Wire):
    """One for each text."""

    texts: list[Strongest]


class Stats(Wire):
    """How a feature fires on the `explain` split (see `sagescope.sae.evidence.FeatureStats`)."""

    tokens: int
    fired: int
    density: float
    maximum: float
    mean: float
    quantiles: list[float]
    typical_max: float
    fires_at: float


class Facts(Wire):
    """A feature's statistics, and how well a table of tokens foretells it, which is its stratum."""

    stratum: str
    lookup_pearson: float
    stats: Stats


class Shown(Wire):
    """A stretch of the corpus with the feature's activation on each token, and the highest's place."""

    tokens: list[str]
    activations: list[float]
    peak: int


class Exemplars(Wire):
    """Stretches of the `explain` split, the only one that explainers may see."""

    exemplars: list[Shown]


class Covered(Wire):
    """Whether the evidence has what was asked for; if not, it is being gathered: ask again."""

    model_config = _example(done=False)

    done: bool


class AboutEvidence(Wire):
    """The features that the evidence covers (None: all), those among which neighbours are looked for
    (None: all it covers), and the tokens of each split."""

    model_config = _example(
        features=[7, 12], reference=[7], splits={"explain": 250000, "score": 175000}
    )

    features: list[int] | None
    reference: list[int] | None
    splits: dict[str, int]


class Losses(Wire):
    """The model's mean loss (nats) over the tokens of each text."""

    model_config = _example(losses=[3.125])

    losses: list[float]


class Failure(Wire):
    """What went wrong, in a sentence that says what to do. kind: which of our errors it is."""

    model_config = _example(
        error="There is no feature 9: this source has 8, numbered from 0.", kind="FeatureError"
    )

    error: str
    kind: str = "ServiceError"
