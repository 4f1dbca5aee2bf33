"""Explaining as a job does it: each feature once, everything that happens journaled."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from typing import TYPE_CHECKING, Any

from ..agents.budget import Spending
from ..agents.explainers import Task, explainer_named
from ..agents.minds.choice import Mind
from ..agents.records import Conclusion, Explanation, Record
from ..sae.errors import BudgetExhausted, JournalError, ServiceError
from ..sae.source import FeatureSource
from .calls import RunCalls
from .facts import exemplars_of, facts_of
from .journal import Run
from .recorded import RecordedSource, RunHints
from .scored import explanation_in, sentence

if TYPE_CHECKING:
    from .jobs import Job

log = logging.getLogger(__name__)


class RunExplainer:
    """Explains the features of a run, as far as that is not done.

    standing: feature → what counts of its events (see `results.standing_events`); what is concluded
    is added to it. spending: of the run.
    """

    def __init__(
        self,
        source: FeatureSource,
        run: Run,
        job: Job,
        standing: dict[int, dict[str, Any]],
        spending: Spending,
    ):
        self.source, self.run, self.job = source, run, job
        self.standing, self.spending = standing, spending

    def is_to_begin(self, feature: int) -> bool:
        """Whether a feature is to do, and the run's budget has something left for it."""
        standing = self.standing.setdefault(feature, {})
        with self.run.reading(feature):
            if not is_to_do(standing, self.job.retry_failed):
                return False
        if all(self.spending.left(what) for what in ("calls", "tokens", "cost", "seconds")):
            return True
        # A later session begins with this feature; what it stands at, stands.
        return not RunCalls(self.run, feature).is_empty and "concluded" not in standing

    async def explain(self, feature: int) -> None:
        """Explain one feature, unless that is done."""
        if not self.is_to_begin(feature):
            return
        standing = self.standing.setdefault(feature, {})
        known = RunCalls(self.run, feature)
        spending = Spending(self.job.budget, run=self.spending)
        began = time.monotonic()
        conclusion, error = None, None
        try:
            if "facts" not in standing:
                standing["facts"] = await asyncio.to_thread(facts_of, self.source, feature)
                exemplars = await asyncio.to_thread(exemplars_of, self.source, feature)
                self.run.write_all(
                    [("facts", standing["facts"], feature), ("exemplars", exemplars, feature)]
                )
            self.run.write("started", {}, feature)
            conclusion = await self._conclude(feature, known, spending)
        except (JournalError, ServiceError):
            raise  # no feature's own trouble: the others would fail alike
        except Exception as caught:
            log.info("feature %d failed", feature, exc_info=True)
            conclusion, error = _failure(caught, spending), caught
        ran_out = error is None or isinstance(error, BudgetExhausted)
        if spending.cut_by_run and ran_out and not conclusion.hypotheses:
            return  # nothing is known of it: as if it had not been begun, this time
        if error and "concluded" in standing and explanation_in(standing):
            return  # an explanation stands until there is another
        payload = {
            # Probes and outcomes stand in the journal already, one event each.
            "conclusion": _plain(conclusion, leave_out={"probes", "outcomes"}),
            "seconds": time.monotonic() - began,
            "traceback": "".join(traceback.format_exception(error)) if error else None,
            "cut_by_run": spending.cut_by_run,
        }
        self.run.write("concluded", payload, feature)
        self.standing[feature] = {"facts": standing.get("facts"), "concluded": payload}

    def give_up(self, feature: int, error: Exception) -> None:
        """Write that a feature failed, for what no attempt at it could write down itself."""
        payload = {
            "conclusion": _plain(_failure(error, Spending(self.job.budget))),
            "seconds": 0.0,
            "traceback": None,
            "cut_by_run": False,
        }
        self.run.write_all([("started", {}, feature), ("concluded", payload, feature)])

    async def _conclude(self, feature: int, known: RunCalls, spending: Spending) -> Conclusion:
        written: set[tuple[str, int]] = set()

        def record(kind: str, /, *records: Record) -> None:
            written.update((kind, _number(one)) for one in records)
            self.run.write_all([(kind, _plain(one), feature) for one in records])

        job = self.job
        task = Task(
            RecordedSource(self.source, self.run),
            feature,
            Mind(job.mind, job.prompts, known),
            spending=spending,
            seed=job.seed,
            record=record,
            hints=RunHints(self.run, feature),
        )
        conclusion = await explainer_named(job.explainer).explain(task)
        for kind, records in (("probe", conclusion.probes), ("outcome", conclusion.outcomes)):
            record(kind, *(one for one in records if (kind, _number(one)) not in written))
        return conclusion


def is_to_do(standing: dict[str, Any], retry_failed: bool) -> bool:
    """Whether a feature is new, was cut short by the run's budget, or is to be tried again.

    standing: what counts of its events (see `results.standing_events`).
    """
    concluded = standing.get("concluded")
    if concluded is None or concluded.get("cut_by_run"):
        return True
    return retry_failed and explanation_in(standing) is None


# -------------------------------------------------------------------- what goes into the journal


def _plain(record: Record | Any, leave_out: set[str] | None = None) -> Any:
    return record.model_dump(exclude=leave_out) if isinstance(record, Record) else record


def _number(record: Any) -> int:
    """What identifies a record among those of its kind."""
    return getattr(record, "probe", getattr(record, "id", -1))


def _failure(error: Exception, spending: Spending) -> Conclusion:
    return Conclusion(
        status="failed",
        explanation=Explanation(labels=(), description=""),
        spent=spending.spent(),
        error=sentence(error),
    )
