"""Neuronpedia's exports: read as submissions, and written from a run.

    features/batch-0.jsonl.gz       1,024 features a file, one JSON object a line
    activations/batch-0.jsonl.gz    their contexts, with the activation on each token
    explanations/batch-0.jsonl.gz   what is said of them

The fields are those that Neuronpedia's own export script writes (`export-data.py` in
hijohnnylin/neuronpedia, utils/neuronpedia-utils), so that its importer finds all of them. `layer` is
Neuronpedia's id of the source ("20-gemmascope-res-16k"), `index` the feature's number as text.
"""

from __future__ import annotations

import gzip
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from ...sae.errors import SagescopeError, SubmissionError
from ...sae.paths import new_folder
from ..journal import Run
from ..results import Result, results_of

if TYPE_CHECKING:
    from .submission import Submitted

#: Features in a file.
BATCH = 1024
#: Who made a feature or explanation; an importer puts itself in this place.
CREATOR = "sagescope"


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")

    modelId: str
    layer: str
    index: str = Field(pattern=r"^[0-9]{1,18}$")


class FeatureLine(_Line):
    """A line of features/. frac_nonzero: density. What Sagescope does not measure stays empty."""

    maxActApprox: float
    creatorId: str = CREATOR
    frac_nonzero: float
    freq_hist_data_bar_heights: list[float] = []
    freq_hist_data_bar_values: list[float] = []
    logits_hist_data_bar_heights: list[float] = []
    logits_hist_data_bar_values: list[float] = []
    neuron_alignment_indices: list[int] = []
    neuron_alignment_l1: list[float] = []
    neuron_alignment_values: list[float] = []
    correlated_neurons_indices: list[int] = []
    correlated_neurons_l1: list[float] = []
    correlated_neurons_pearson: list[float] = []
    decoder_weights_dist: list[float] = []
    neg_str: list[str] = []
    neg_values: list[float] = []
    pos_str: list[str] = []
    pos_values: list[float] = []
    sourceSetName: str
    topkCosSimIndices: list[int] = []
    topkCosSimValues: list[float] = []
    vector: list[float] = []
    vectorLabel: str | None = None
    hookName: str | None = None
    vectorDefaultSteerStrength: float | None = None
    hasVector: bool = False


class ActivationLine(_Line):
    """A line of activations/: a context. values: the activation on each of the tokens."""

    id: str
    creatorId: str = CREATOR
    dataSource: str | None = None
    tokens: list[str]
    maxValue: float
    minValue: float
    values: list[float]
    maxValueTokenIndex: int
    dfaValues: list[float] = []
    dfaMaxValue: float | None = None
    dfaTargetIndex: int | None = None
    binContains: float | None = None
    binMin: float | None = None
    binMax: float | None = None


class ExplanationLine(_Line):
    """A line of explanations/. typeName: how it was made. explanationModelName: by which model."""

    id: str
    authorId: str = CREATOR
    description: str
    embedding: list[float] | None = None
    typeName: str | None = None
    explanationModelName: str | None = None
    umap_x: float = 0
    umap_y: float = 0
    umap_cluster: int = 0
    umap_log_feature_sparsity: float = 0


class _Said(_Line):
    """What is read of an explanation's line; exports of other years may have more or fewer fields."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    description: str
    typeName: str | None = None
    explanationModelName: str | None = None

    @property
    def maker(self) -> str:
        """How and by which model it was made."""
        return f"{self.typeName or 'unknown'} by {self.explanationModelName or 'unknown'}"


# -------------------------------------------------------------------- reading


def is_export(path: Path) -> bool:
    """Whether a file or folder looks like explanations that Neuronpedia exported."""
    from .submission import json_lines

    if path.is_dir():
        return bool(_files(path))
    try:
        _, first = next(json_lines(path), (0, None))
    except SubmissionError:
        return path.suffix == ".gz"
    return isinstance(first, dict) and "modelId" in first


def read(path: Path, by: str | None) -> tuple[tuple[str, str], list[Submitted]]:
    """(explainer, model) and the explanations of one maker.

    by: the maker, as in "np_max-act by gpt-4o-mini", where the export has several. Raises
    SubmissionError.
    """
    from .submission import Submitted, json_lines, parsed

    lines: list[tuple[Path, int, _Said]] = []
    for file in _files(path) if path.is_dir() else [path]:
        lines += [
            (file, number, parsed(_Said, values, file, number))
            for number, values in json_lines(file)
        ]
    makers = Counter(said.maker for _, _, said in lines)
    if by is None and len(makers) > 1:
        known = ", ".join(f"{name!r} ({n})" for name, n in makers.most_common())
        raise SubmissionError(
            f"{path} has explanations of several makers, {known}: name one with --by."
        )
    if by is not None and by not in makers:
        raise SubmissionError(
            f"{path} has no explanations {by!r}, only {', '.join(map(repr, makers))}."
        )
    chosen = [(file, number, said) for file, number, said in lines if by in (None, said.maker)]
    found: dict[int, Submitted] = {}
    for file, number, said in chosen:
        first = chosen[0][2]
        if (said.modelId, said.layer) != (first.modelId, first.layer):
            raise SubmissionError(
                f"{file}, line {number}: this is of {said.modelId}/{said.layer}, and what came before "
                f"of {first.modelId}/{first.layer}: hand in one source at a time."
            )
        values = {"feature": int(said.index), "description": said.description}
        entry = parsed(Submitted, values, file, number)
        if entry.feature in found:
            raise SubmissionError(
                f"{file}, line {number}: feature {entry.feature} has an explanation already: keep one."
            )
        found[entry.feature] = entry
    how = chosen[0][2] if chosen else None
    maker = (how.typeName or "", how.explanationModelName or "") if how else ("", "")
    return (maker[0] or "neuronpedia", maker[1]), list(found.values())


def _files(folder: Path) -> list[Path]:
    """The files of explanations in a folder, or in its `explanations`, by number."""
    inner = folder / "explanations"
    files = (inner if inner.is_dir() else folder).glob("batch-*.jsonl*")
    kept = [file for file in files if file.name.endswith((".jsonl", ".jsonl.gz"))]
    return sorted(kept, key=lambda file: (len(file.name), file.name))


# -------------------------------------------------------------------- writing


def write_export(
    run: Run, folder: Path, model: str | None = None, source: str | None = None
) -> dict[str, int]:
    """Write what a run found as an export; how many lines of each kind there are.

    folder: a new one, written whole or not at all. model, source: Neuronpedia's ids, by default the
    run's subject and SAE. Raises SagescopeError where the folder is there already.
    """
    if folder.exists():
        raise SagescopeError(f"{folder} is there already: name a new folder.")
    results = {one.index: one for one in results_of(run)}
    ids: dict[str, Any] = {
        "modelId": model or run.config["subject"],
        "layer": source or run.config["sae"],
    }
    counts = {"features": 0, "activations": 0, "explanations": 0}
    with new_folder(folder) as draft:
        for number, first in enumerate(range(0, len(results), BATCH)):
            batch = sorted(results)[first : first + BATCH]
            lines: dict[str, list[BaseModel]] = {kind: [] for kind in counts}
            for feature in batch:
                for kind, line in _lines(run, results[feature], {**ids, "index": str(feature)}):
                    lines[kind].append(line)
            for kind, members in lines.items():
                counts[kind] += len(members)
                _write(draft / kind / f"batch-{number}.jsonl.gz", members)
        draft.chmod(0o755)
    return counts


def _lines(run: Run, result: Result, ids: dict[str, Any]) -> Iterator[tuple[str, BaseModel]]:
    events = {
        event.kind: event.payload for event in run.events(result.index, ["facts", "exemplars"])
    }
    with run.reading(result.index):
        if "facts" in events:
            stats = events["facts"]["stats"]
            yield (
                "features",
                FeatureLine(
                    **ids,
                    maxActApprox=stats["maximum"],
                    frac_nonzero=stats["density"],
                    sourceSetName=ids["layer"],
                ),
            )
        shown = events.get("exemplars", {})
        contexts = {
            (*one["tokens"],): one for kind in ("top", "spread") for one in shown.get(kind, ())
        }
        for number, one in enumerate(contexts.values()):
            yield "activations", _activation(one, ids, _id(run, ids["index"], number))
    if result.status != "failed":
        said = result.explanation
        yield (
            "explanations",
            ExplanationLine(
                **ids,
                id=_id(run, ids["index"], "explanation"),
                description=said.description or "; ".join(said.labels),
                typeName=f"sagescope_{result.explainer}",
                explanationModelName=result.mind,
            ),
        )


def _activation(one: dict[str, Any], ids: dict[str, Any], name: str) -> ActivationLine:
    values = one["activations"]
    return ActivationLine(
        **ids,
        id=name,
        tokens=one["tokens"],
        values=values,
        maxValue=max(values),
        minValue=min(values),
        maxValueTokenIndex=values.index(max(values)),
    )


def _id(run: Run, *parts: object) -> str:
    """A name that is the same whenever the same is exported."""
    return hashlib.sha256(f"{run.created} {run.name} {parts}".encode()).hexdigest()[:25]


def _write(path: Path, lines: Sequence[BaseModel]) -> None:
    import json

    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line.model_dump()) + "\n" for line in lines)
    # Without a time in it, the same export is the same file.
    path.write_bytes(gzip.compress(text.encode("ascii"), 5, mtime=0))
