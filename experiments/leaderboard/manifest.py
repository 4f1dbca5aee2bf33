"""Manifests: a benchmark frozen in a file, so that scores of different days and places compare.

It names what is explained (features of an SAE on a subject model), on which text (each split by the
hash of its content), with which seeds, what scores it (scorers by version), and what answers for
explanations when they are scored. Runs are bound to it: what differs in any of these is another
benchmark.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ...agents.minds.choice import Mind
from ...sae.errors import BenchmarkError
from ...sae.evidence import Evidence
from ...sae.paths import new_file
from ...sae.source import FeatureSource, check_feature
from ...sae.tokens import TokenTable
from ..journal import RUN_NAME
from ..scoring import SCORERS, Choice, chosen

#: Which role may read each split.
_READERS = {"explain": "explainer", "select": "selector", "score": "scorer"}
#: What of a manifest decides no number: how it is called, how it came about, how to open it.
_ABOUT = {"name", "drawn", "opens"}

#: Lists and mappings in one another.
DEEPEST = 30

Natural = Annotated[int, Field(ge=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Content(_Frozen):
    """What one split holds. sha256: of its token strings, windows and documents, in order."""

    documents: int = Field(ge=1)
    tokens: int = Field(ge=1)
    sha256: str = Field(pattern="[0-9a-f]{64}")


class ScorerVersion(_Frozen):
    """A scorer by name, which of its versions, and the scores that it gives."""

    name: str
    version: int
    scores: tuple[str, ...]


class Opens(_Frozen):
    """What to type to open the source again: options of the commands, as they were given."""

    subject: str
    sae: str
    corpus: str
    tokens: int


class PlantedSuite(_Frozen):
    """Planted features: drawn from which seed, and how many of each class."""

    planted: Natural
    per_class: int = Field(ge=1)


class Manifest(_Frozen):
    """A frozen benchmark.

    name: what people call it. drawn: how the features were chosen, in words. opens: None for a
    source that no command opens. subject, sae, key: see FeatureSource. features: indices, in
    order. seeds: one run of an explainer for each. splits: by name. simulator, scorer_mind: what answers
    for explanations, and the language model that judges those in words (see `scoring.Choice`).
    """

    format: Literal[1] = 1
    name: str = Field(pattern=f"^{RUN_NAME.pattern}$")
    drawn: str = ""
    opens: Opens | PlantedSuite | None = None
    subject: str
    sae: str
    key: dict[str, Any] | None
    features: tuple[Natural, ...] = Field(min_length=1)
    seeds: tuple[Natural, ...] = Field(min_length=1)
    splits: dict[str, Content]
    scorers: tuple[ScorerVersion, ...] = Field(min_length=1)
    simulator: Literal["auto", "rule", "judge", "embedding"] = "auto"
    scorer_mind: str | None = None

    @field_validator("features", "seeds")
    @classmethod
    def _distinct(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(values)) < len(values):
            raise ValueError("each may stand there once")
        return tuple(sorted(values))

    @model_validator(mode="after")
    def _judged(self) -> Manifest:
        if self.simulator == "judge" and self.scorer_mind is None:
            raise ValueError("the simulator judge needs a scorer mind")
        return self

    @property
    def decides(self) -> dict[str, Any]:
        """All that decides a score, as JSON values."""
        return self.model_dump(mode="json", exclude=_ABOUT)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that decides a score."""
        return hashlib.sha256(json.dumps(self.decides, sort_keys=True).encode()).hexdigest()

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores that its scorers give."""
        return tuple(score for scorer in self.scorers for score in scorer.scores)


def freeze(
    source: FeatureSource,
    name: str,
    features: Sequence[int],
    *,
    seeds: Sequence[int] = (0,),
    scorers: Sequence[str] | None = None,
    drawn: str = "",
    opens: Opens | PlantedSuite | None = None,
    simulator: str = "auto",
    scorer_mind: str | None = None,
) -> Manifest:
    """The benchmark of some features of a source, as it stands.

    scorers: names; None for those that run by default. simulator, scorer_mind: see Manifest. Raises
    FeatureError for a feature that the source does not have, UnknownName for a scorer, simulator or
    mind that does not exist, CannotAnswer for embeddings that are not installed, KeyRefused for a
    mind without its key, BenchmarkError for the rest.
    """
    Choice(simulator, Mind(scorer_mind) if scorer_mind else None).check()
    for feature in features:
        check_feature(feature, source.n_features)
    source.cover(features)
    try:
        return Manifest(
            name=name,
            drawn=drawn,
            opens=opens,
            subject=source.subject,
            sae=source.sae,
            key=source.key,
            features=tuple(features),
            seeds=tuple(seeds),
            splits=contents(source.evidence),
            scorers=scorer_versions([*chosen(scorers)]),
            simulator=simulator,  # pyright: ignore[reportArgumentType]
            scorer_mind=scorer_mind,
        )
    except ValidationError as error:
        raise BenchmarkError(f"No such benchmark can be: {first_fault(error)}.") from error


def check(manifest: Manifest, source: FeatureSource) -> None:
    """Raise BenchmarkError, with what differs, where a source is not what the manifest was frozen on.

    Covers the features; what can be told without that is compared first.
    """
    names = [one.name for one in manifest.scorers]
    missing = [name for name in names if name not in SCORERS]
    if missing:
        raise BenchmarkError(
            f"The benchmark {manifest.name} is scored by {missing[0]!r}, which this version does not "
            f"have: update Sagescope, or freeze the benchmark anew."
        )
    about = {
        "subject": source.subject,
        "sae": source.sae,
        "key": source.key,
        "scorers": [one.model_dump(mode="json") for one in scorer_versions(names)],
    }
    _refuse(manifest, about)
    source.cover(manifest.features)
    found = {name: one.model_dump() for name, one in contents(source.evidence).items()}
    _refuse(manifest, {"splits": found})


def check_simulator(manifest: Manifest, simulator: str | None, scorer_mind: str | None) -> None:
    """Raise BenchmarkError where something else is asked to answer than the manifest says.

    simulator, scorer_mind: None for the manifest's.
    """
    asked = {"--simulator": simulator, "--scorer-mind": scorer_mind}
    frozen = {"--simulator": manifest.simulator, "--scorer-mind": manifest.scorer_mind}
    for option, value in asked.items():
        if value is not None and value != frozen[option]:
            raise BenchmarkError(
                f"The benchmark {manifest.name} is scored with {option} {frozen[option] or 'unset'}, "
                f"not {value}: leave {option} out, or freeze a benchmark with it."
            )


def _refuse(manifest: Manifest, found: Mapping[str, Any]) -> None:
    frozen = {name: manifest.decides[name] for name in found}
    if differing := list(differences(frozen, json.loads(json.dumps(found)))):
        raise BenchmarkError(
            f"This is not what the benchmark {manifest.name} was frozen on: it has "
            f"{'; '.join(differing)}. Open the same, or freeze a benchmark of this."
        )


def scorer_versions(names: Sequence[str]) -> tuple[ScorerVersion, ...]:
    """The versions of scorers that are installed."""
    return tuple(
        ScorerVersion(name=name, version=SCORERS[name].version, scores=SCORERS[name].scores)
        for name in names
    )


def contents(evidence: Evidence) -> dict[str, Content]:
    """What each split holds, by name."""
    tables = {
        name: evidence.reader(role).split(name).tokens  # pyright: ignore[reportArgumentType]
        for name, role in _READERS.items()
    }
    return {name: _content(table) for name, table in tables.items()}


def _content(table: TokenTable) -> Content:
    strings = (token.encode("utf-8", "surrogatepass") for token in table.vocab)
    codes = np.array([hashlib.blake2b(one, digest_size=16).digest() for one in strings], "S16")
    names, document = np.unique(table.documents, return_inverse=True)
    found = hashlib.sha256()
    found.update(codes[table.ids].tobytes())
    found.update(np.asarray(table.starts, "<i8").tobytes())
    found.update(np.asarray(document, "<i8").tobytes())
    return Content(documents=len(names), tokens=len(table), sha256=found.hexdigest())


# -------------------------------------------------------------------- the file


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write it as YAML, or as JSON where the file's name ends so. Raises BenchmarkError."""
    import yaml

    values = manifest.model_dump(mode="json")
    if path.suffix == ".json":
        text = json.dumps(values, indent=1) + "\n"
    else:
        text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100)
    with new_file(path) as draft:
        draft.write_text(text, encoding="utf-8")
        draft.chmod(0o644)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest, YAML or JSON. Raises BenchmarkError, with the first thing that is wrong."""
    import yaml

    try:
        # Every JSON file is YAML, but for escaped lone surrogates, which only JSON knows.
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".json":
            _check_yaml(text)
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        return Manifest.model_validate(values)
    except OSError as error:
        raise BenchmarkError(
            f"The manifest {path} cannot be read ({error.strerror}): `sagescope bench freeze` makes "
            f"one."
        ) from error
    except ValidationError as error:
        fault = first_fault(error)
        raise BenchmarkError(f"{path} is no manifest of a benchmark: {fault}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise BenchmarkError(f"The manifest {path} cannot be read: {lines[0]}.") from error


def _check_yaml(text: str) -> None:
    """Raise ValueError for what would never be read to its end: aliases of aliases, or deep nesting."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has aliases (*), which no manifest needs")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep, which no manifest is")


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the whole"
    return f"{place}: {first['msg']}"


# -------------------------------------------------------------------- what differs


def differences(wanted: Any, found: Any, place: str = "") -> Iterator[str]:
    """What `found` has in place of what is wanted, a phrase for each place that differs."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for name in dict.fromkeys([*wanted, *found]):
            yield from differences(wanted.get(name), found.get(name), f"{place} {name}".strip())
    elif place == "scorers" and isinstance(wanted, list) and isinstance(found, list):
        yield from differences(_by_name(wanted), _by_name(found), "scorer")
    elif wanted != found:
        yield f"{place} {_shown(found)}, not {_shown(wanted)}"


def _by_name(scorers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        one["name"]: {name: value for name, value in one.items() if name != "name"}
        for one in scorers
    }


def _shown(value: Any) -> str:
    text = "none" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:40]}…{text[-12:]}"
