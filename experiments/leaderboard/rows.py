"""What stands behind a leaderboard's rows: runs that are bound to its benchmark, and their controls."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...sae.errors import BenchmarkError
from ..journal import Journal, Run
from ..results import Result, results_of, standing_events
from ..scoring import CONTROL_NAMES, Score
from ..summary import ROWS, scores_of, simulator_in
from .benchmark import BENCHMARK
from .manifest import Manifest, differences

#: What a run's settings say of the explanations that were handed in.
SUBMISSION = "submission"
#: Controls that depend on nothing but the feature: the same beside every explanation.
OF_THE_FEATURE = ("single_token", "token_lookup")
#: What answered for an explanation that has no score.
UNSCORED = "none"
Kind = Literal["run", "submitted", "control"]


@dataclass(frozen=True)
class Entry:
    """One row before anything is averaged.

    kind: a run of ours, explanations handed in, or a control. about: what else was set, in words.
    runs: their names, one for each seed. results: of all of them. densities: feature → share of the
    tokens of the `explain` split on which it fires. of: whose scores count, see `summary.scores_of`.
    """

    kind: Kind
    explainer: str
    mind: str
    about: str
    runs: tuple[str, ...]
    results: tuple[Result, ...]
    densities: dict[int, float]
    of: str = "explanation"

    def scores(self, name: str) -> list[tuple[int, Score | None]]:
        """(feature, score) of each result."""
        return [(one.index, (scores_of(one, self.of) or {}).get(name)) for one in self.results]

    @property
    def simulators(self) -> dict[str, int]:
        """What answered for its explanations → how many: "rule", "judge MODEL", "embedding"."""
        return dict(Counter(filter(None, (simulator_in(one, self.of) for one in self.results))))

    @property
    def simulator(self) -> str:
        """The same in words; UNSCORED where nothing was scored."""
        found = sorted(self.simulators.items(), key=lambda one: (-one[1], one[0]))
        if len(found) == 1:
            return found[0][0]
        return ", ".join(f"{name} ({n})" for name, n in found) or UNSCORED

    def random(self, name: str) -> list[tuple[int, Score | None]]:
        """The same of another feature's explanation."""
        return replace(self, of="random_explanation").scores(name)

    @property
    def controlled(self) -> bool:
        """Whether controls were scored beside every explanation."""
        return all(one.controlled for one in self.results)


@dataclass(frozen=True)
class Found:
    """Entries of a benchmark, and a sentence for each run that has no place among them."""

    entries: tuple[Entry, ...]
    left_out: tuple[str, ...]


def entries_of(
    journals: Iterable[Journal], manifest: Manifest, names: Sequence[str] | None = None
) -> Found:
    """The entries of a benchmark in some journals.

    names: only these runs; each must be there and of the benchmark. Without names, runs of other
    benchmarks are left out, with the reason. Raises BenchmarkError for a named run that cannot enter.
    """
    groups: dict[str, list[Run]] = {}
    left_out, seen = [], set()
    for journal in journals:
        for run in journal.runs():
            if names is not None and run.name not in names:
                continue
            seen.add(run.name)
            group = groups.setdefault(_settings(run), [])
            why = why_not(run, manifest) or _twice(run, group)
            if why is None:
                group.append(run)
            elif names is not None:
                raise BenchmarkError(why)
            elif BENCHMARK in run.config:
                left_out.append(why)
    if missing := sorted(set(names or ()) - seen):
        raise BenchmarkError(f"No journal has a run {missing[0]!r}: `sagescope runs` lists them.")
    entries = []
    for entry in (_entry(runs) for runs in groups.values() if runs):
        why = _answered_otherwise(entry, manifest)
        if why is None:
            entries.append(entry)
        elif names is not None:
            raise BenchmarkError(why)
        else:
            left_out.append(why)
    return Found(tuple([*entries, *controls_beside(entries)]), tuple(left_out))


def why_not(run: Run, manifest: Manifest) -> str | None:
    """Why a run cannot stand in a benchmark's table, None where it can."""
    frozen = run.config.get(BENCHMARK)
    if frozen is None:
        return (
            f"The run {run.name} is of no benchmark, so it cannot enter the table of "
            f"{manifest.name}: make it with `sagescope bench run`."
        )
    differing = list(differences(manifest.decides, frozen))
    if not differing:
        return None
    return (
        f"The run {run.name} is of another benchmark than {manifest.name}, so it cannot enter its "
        f"table: it has {'; '.join(differing)}."
    )


def _answered_otherwise(entry: Entry, manifest: Manifest) -> str | None:
    """Why scores do not count that `sagescope score` made by another simulator, None where they do."""
    judge = f"judge {manifest.scorer_mind}"
    by_kind = {
        "auto": {"rule", "embedding"} | ({judge} if manifest.scorer_mind else set()),
        "judge": {judge},
    }
    others = entry.simulators.keys() - by_kind.get(manifest.simulator, {manifest.simulator})
    if not others:
        return None
    return (
        f"The run {entry.runs[0]} was scored by {sorted(others)[0]}, which does not answer in the "
        f"benchmark {manifest.name}: score it with --simulator {manifest.simulator}"
        + (f" --scorer-mind {manifest.scorer_mind}." if manifest.scorer_mind else ".")
    )


def _settings(run: Run) -> str:
    """What makes runs one row: everything that was set but the seed."""
    kept = {name: value for name, value in run.config.items() if name != "seed"}
    return json.dumps(kept, sort_keys=True)


def _twice(run: Run, others: Sequence[Run]) -> str | None:
    for other in others:
        if other.config.get("seed") == run.config.get("seed"):
            return (
                f"The run {run.name} of {run.journal.path} was made with the same settings as "
                f"{other.name} of {other.journal.path}, so that only the first counts: leave one out."
            )
    return None


def _entry(runs: Sequence[Run]) -> Entry:
    config = runs[0].config
    with runs[0].reading():
        return Entry(
            "submitted" if SUBMISSION in config else "run",
            str(config["explainer"]),
            str(config["mind"]),
            _about(config),
            tuple(run.name for run in runs),
            tuple(result for run in runs for result in results_of(run)),
            {
                feature: standing["facts"]["stats"]["density"]
                for run in runs
                for feature, standing in standing_events(run).items()
                if standing.get("facts")
            },
        )


def _about(config: dict[str, Any]) -> str:
    """Caps for each feature and edited prompts, in words."""
    caps = {name: cap for name, cap in (config.get("budget") or {}).items() if cap is not None}
    parts = [f"{cap:g} {name}" for name, cap in caps.items()]
    parts += ["edited prompts"] if config.get("prompts") else []
    return ", ".join(parts)


def controls_beside(entries: Sequence[Entry]) -> list[Entry]:
    """Each control as a row of its own: from the first entry that has most of it."""
    found = []
    for name in CONTROL_NAMES:
        counts = [sum(bool(one.controls.get(name)) for one in entry.results) for entry in entries]
        if not any(counts):
            continue
        entry = entries[counts.index(max(counts))]
        about = "" if name in OF_THE_FEATURE else f"beside {entry.explainer}"
        heading = ROWS.get(name, name.replace("_", " "))
        found.append(
            replace(entry, kind="control", explainer=heading, mind="–", about=about, of=name)
        )
    return found
