"""What leaderboards on the page are made of: every explained feature of the journal, by table.

A table holds what may be compared: runs of one SAE on the same text, and beside it a table for each
benchmark that runs are bound to. A row is an explainer with its mind, whoever that was: a person's
sessions stand among them.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..journal import Journal, Run
from ..leaderboard.benchmark import BENCHMARK
from ..leaderboard.board import Cells, cells_of, group_of
from ..leaderboard.rows import Entry, controls_beside
from ..results import Result, results_of
from ..summary import COLUMNS


@dataclass(frozen=True)
class Table:
    """key: its address. name: what it is called. about: of what. entries: before averaging."""

    key: str
    name: str
    about: str
    entries: tuple[Entry, ...]

    def entry(self, key: str) -> Entry | None:
        """An entry by its key."""
        return next((one for one in self.entries if key_of(one) == key), None)


class Standings:
    """Tables and their means, made once for each state of the journal. Threads may share it."""

    def __init__(self, journal: Journal):
        self._journal = journal
        self._turn = threading.Lock()
        self._last = -1
        self._tables: list[Table] = []
        self._cells: dict[tuple[str, str, str, bool], Cells] = {}

    def tables(self) -> list[Table]:
        """All tables, as of now."""
        with self._turn:
            last = self._journal.last
            if last != self._last:
                self._tables, self._cells = tables(self._journal), {}
                self._last = last
            return self._tables

    def cells(self, table: Table, entry: Entry, group: str, skilled: bool) -> Cells:
        """A row's means in one group, and its skills where they are wanted: these take as long."""
        key = (table.key, key_of(entry), group, skilled)
        if key not in self._cells:
            self._cells[key] = cells_of(group_of(entry, group), COLUMNS, skilled=skilled)
        return self._cells[key]


def tables(journal: Journal) -> list[Table]:
    """All tables of a journal that have any result, those of benchmarks last."""
    groups: dict[str, tuple[str, str, list[Run]]] = {}
    for run in journal.runs():
        with run.reading():
            for key, name, about in _tables_of(run):
                groups.setdefault(key, (name, about, []))[2].append(run)
    found = []
    for key, (name, about, runs) in groups.items():
        entries = _entries(runs)
        if entries:
            found.append(Table(key, name, about, tuple([*entries, *controls_beside(entries)])))
    return sorted(found, key=lambda table: table.key.startswith("benchmark"))


def _tables_of(run: Run) -> list[tuple[str, str, str]]:
    config = run.config
    if not {"subject", "sae"} <= config.keys():
        return []
    name = f"{config['subject']} / {config['sae']}"
    text = _digest([config["subject"], config["sae"], config.get("evidence")])
    found = [(f"sae-{text}", name, "All runs on the same text; rows may differ in their features.")]
    if frozen := config.get(BENCHMARK):
        digest = _digest(frozen, 64)
        about = f"{name}; {len(frozen['features'])} features"
        found.append((f"benchmark-{digest[:12]}", f"Benchmark {digest[:12]}", about))
    return found


def _digest(value: Any, length: int = 12) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:length]


def _entries(runs: Sequence[Run]) -> list[Entry]:
    """One for each explainer, mind and other setting; runs that differ in seed are one."""
    found: dict[str, Entry] = {}
    for run in runs:
        # Of a run of sessions each feature may have been explained by somebody else.
        for result in results_of(run):
            kept = {k: v for k, v in run.config.items() if k not in ("seed", "sagescope")}
            group = json.dumps([result.explainer, result.mind, kept], sort_keys=True)
            entry = found.get(group) or Entry("run", result.explainer, result.mind, "", (), (), {})
            names = tuple(dict.fromkeys([*entry.runs, run.name]))
            found[group] = replace(entry, runs=names, results=(*entry.results, result))
    return list(found.values())


def key_of(entry: Entry) -> str:
    """An entry's name in addresses: its first run, who explained, and which control it is."""
    parts = [entry.runs[0], *([entry.of] if entry.of != "explanation" else [])]
    if entry.results and entry.kind == "run":
        parts.append(f"by {entry.explainer}")
    return "~".join(parts)


def by_feature(entry: Entry, score: str) -> dict[int, list[tuple[Result, Any]]]:
    """Feature → its results with the score, where there is one."""
    found: dict[int, list[tuple[Result, Any]]] = {}
    for result, (feature, value) in zip(entry.results, entry.scores(score), strict=True):
        if value is not None and value.value is not None:
            found.setdefault(feature, []).append((result, value))
    return found
