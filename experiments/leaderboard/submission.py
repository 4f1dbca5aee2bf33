"""Submissions: explanations that somebody else made, scored again from their text alone.

    {"feature": 3035, "labels": ["river banks"], "description": "Fires on …", "rule": "word: bank"}

One JSON object a line. `feature` and one of `labels` and `description` are needed; `rule` is an
executable rule, in the short form or as JSON (see `sessions.rule_text`). Exports of Neuronpedia and
results of Delphi are read as well (`neuronpedia`, `delphi`). A file is read whole before anything is
written.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...agents.budget import Budget
from ...agents.records import Conclusion, Explanation
from ...sae.errors import BenchmarkError, RuleError, SubmissionError
from ...sae.source import FeatureSource
from ..facts import exemplars_of, facts_of, versions
from ..jobs import Watch, score_run
from ..journal import Journal
from ..results import Result, standing_events
from ..sessions.rule_text import as_rule
from .benchmark import bound
from .manifest import Manifest, check, check_simulator, first_fault
from .rows import SUBMISSION
from .strangers import check_rule

#: Bytes of a line, characters of a description and of a label, and labels: more is no explanation.
LONGEST_LINE, LONGEST_DESCRIPTION, LONGEST_LABEL, MOST_LABELS = 10_000_000, 20_000, 1_000, 100


class Submitted(BaseModel):
    """One line: a feature's explanation. Unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature: Annotated[int, Field(ge=0, strict=True)]
    labels: Annotated[
        tuple[Annotated[str, Field(max_length=LONGEST_LABEL)], ...], Field(max_length=MOST_LABELS)
    ] = ()
    description: str = Field(default="", max_length=LONGEST_DESCRIPTION)
    rule: dict[str, Any] | str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Submitted:
        if not self.description.strip() and not any(label.strip() for label in self.labels):
            raise ValueError("there is neither a description nor a label")
        if self.rule is not None:
            check_rule(as_rule(self.rule, 1.0))
        return self

    def explanation(self, unit: float) -> Explanation:
        """As an explanation. unit: the feature's typical maximum, for a rule that names none."""
        return Explanation(
            labels=self.labels,
            description=self.description or "; ".join(self.labels),
            rule=as_rule(self.rule, unit),
        )


@dataclass(frozen=True)
class Submission:
    """Explanations by one maker. name, mind: what to call explainer and mind in the table."""

    name: str
    mind: str
    entries: tuple[Submitted, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the explanations."""
        values = [entry.model_dump(mode="json") for entry in self.entries]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read_submission(
    path: Path, name: str | None = None, mind: str | None = None, by: str | None = None
) -> Submission:
    """Read a submission: our own JSONL, an export of Neuronpedia, or a folder of Delphi.

    name, mind: for the table; by default what the file says, or how it is called. by: which maker
    (Neuronpedia) or hook point (Delphi), where there are several. Raises SubmissionError, with the
    line, for the first thing that cannot be read.
    """
    from . import delphi, neuronpedia

    if not path.exists():
        raise SubmissionError(f"There is no {path}: name a file or folder of explanations.")
    if delphi.is_results(path):
        maker, entries = delphi.read(path, by)
    elif neuronpedia.is_export(path):
        maker, entries = neuronpedia.read(path, by)
    else:
        maker, entries = (path.stem, ""), _read_own(path)
    if not entries:
        raise SubmissionError(f"There is no explanation in {path}.")
    return Submission(name or maker[0], mind or maker[1] or "not said", tuple(entries))


def _read_own(path: Path) -> list[Submitted]:
    found: dict[int, Submitted] = {}
    for number, values in json_lines(path):
        entry = parsed(Submitted, values, path, number)
        if entry.feature in found:
            raise SubmissionError(
                f"{path}, line {number}: feature {entry.feature} has an explanation already: keep one."
            )
        found[entry.feature] = entry
    return list(found.values())


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(number, value) of each line of a JSONL file, packed by gzip or not; empty ones left out.

    Raises SubmissionError for a line that is no JSON, or longer than LONGEST_LINE bytes.
    """
    number = 0
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            lines = iter(lambda: file.readline(LONGEST_LINE + 1), b"")
            for number, line in enumerate(lines, 1):
                if len(line) > LONGEST_LINE:
                    raise SubmissionError(
                        f"{path}, line {number}: it is longer than {LONGEST_LINE:,} bytes, which is no "
                        f"explanation."
                    )
                if line.strip():
                    yield number, json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise SubmissionError(f"{path}, line {number}: this is no JSON ({lines[0]}).") from error
    except (OSError, EOFError, zlib.error) as error:
        raise SubmissionError(
            f"{path}, after line {number}: it cannot be read ({error})."
        ) from error


def parsed(form: type[Any], values: Any, path: Path, number: int) -> Any:
    """A line's value as a record. Raises SubmissionError, with the line and what is wrong there."""
    try:
        return form.model_validate(values)
    except (ValidationError, RuleError) as error:
        what = first_fault(error) if isinstance(error, ValidationError) else str(error)
        raise SubmissionError(f"{path}, line {number}: {what.rstrip('.')}.") from error


# -------------------------------------------------------------------- scoring it


def verify(
    source: FeatureSource,
    manifest: Manifest,
    submission: Submission,
    journal: Journal,
    *,
    concurrency: int | None = None,
    simulator: str | None = None,
    scorer_mind: str | None = None,
    run_budget: Budget | None = None,
    watch: Watch | None = None,
) -> tuple[str, list[Result]]:
    """Score a submission on a benchmark, from its text alone; the run's name and its results.

    What it says of features outside the benchmark is left out. Runs that were begun are gone on with.
    simulator, scorer_mind: None for the manifest's, and no others are taken. run_budget: of judging.
    Raises BenchmarkError where source or simulator are not the benchmark's, or none of its features
    is there.
    """
    wanted = {entry.feature: entry for entry in submission.entries}
    features = [feature for feature in manifest.features if feature in wanted]
    if not features:
        raise BenchmarkError(
            f"The submission {submission.name} explains none of the {len(manifest.features)} features "
            f"of {manifest.name}: they are {', '.join(map(str, manifest.features[:6]))} …"
        )
    check_simulator(manifest, simulator, scorer_mind)
    check(manifest, source)
    seed = manifest.seeds[0]
    config = {
        "subject": source.subject,
        "sae": source.sae,
        "evidence": source.key,
        "explainer": submission.name,
        "mind": submission.mind,
        "seed": seed,
        "sagescope": versions()["sagescope"],
        SUBMISSION: submission.digest,
        **bound(manifest),
    }
    name = f"{manifest.name}.{re.sub(r'[^A-Za-z0-9_-]+', '-', submission.name)}"[:80]
    name = f"{name}.{submission.digest[:8]}"
    with journal.begin(name, config) as run:
        run.write("session", {"features": features, "versions": versions()})
        standing = standing_events(run)
        for feature in features:
            if "concluded" not in standing.get(feature, {}):
                run.write_all(_events(source, feature, wanted[feature]))
    scorers = [one.name for one in manifest.scorers]
    results = score_run(
        source,
        name,
        journal=journal,
        scorers=scorers,
        concurrency=concurrency,
        simulator=manifest.simulator,
        scorer_mind=manifest.scorer_mind,
        run_budget=run_budget,
        watch=watch,
    )
    return name, results


def _events(
    source: FeatureSource, feature: int, entry: Submitted
) -> Sequence[tuple[str, Any, int]]:
    facts = facts_of(source, feature)
    explanation = entry.explanation(facts["stats"]["typical_max"])
    conclusion = Conclusion(status="concluded", explanation=explanation)
    payload = {
        "conclusion": conclusion.model_dump(exclude={"probes", "outcomes"}),
        "seconds": 0.0,
        "traceback": None,
    }
    return [
        ("facts", facts, feature),
        ("exemplars", exemplars_of(source, feature), feature),
        ("started", {}, feature),
        ("concluded", payload, feature),
    ]
