"""Jobs: explain and score many features at once, each event journaled, so that nothing is lost.

A job may be killed anywhere. Started again, it goes on: features that are done stay as they are,
one that was broken off begins anew and gets the measurements it already made from the journal, so
that it comes to the same end.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
import logging
import time
import traceback
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..agents.budget import Budget, Spending
from ..agents.explainers import EXPLAINERS, Task, usual_budget
from ..agents.minds.choice import Mind
from ..agents.records import Conclusion, Explanation, Record
from ..prompts.render import digest
from ..sae.errors import BudgetExhausted, CannotAnswer, JournalError, UnknownName
from ..sae.evidence import Evidence
from ..sae.outputs import Outputs
from ..sae.source import FeatureSource
from ..sae.tokens import TokenActivations
from .calls import JudgingCalls, RunCalls, spending_of
from .facts import exemplars_of, facts_of, plain_activations, versions
from .features import FeatureList
from .journal import Journal, Run, default_path
from .results import Result, made_by, made_with, results_of, standing_events, with_scores
from .scoring import Choice, Simulator, Target, chosen, score_simulator, simulators

log = logging.getLogger(__name__)

#: Told of each stage's progress: (stage, done, total).
Watch = Callable[[str, int, int], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """What to do. Explainer, mind, prompts, budget and seed decide the results, nothing else.

    features: indices. prompts: a folder of edited templates for a language model. budget: of each
    feature. run_budget: of all calls of the run, and of the seconds of this session. score: whether
    to score what was explained. simulator, scorer_mind: what answers for explanations when they are
    scored, and the language model that judges (see `scoring.Choice`), by default the mind where that
    is one and judging is asked for. concurrency: features at once (None: as many as suit the mind).
    retry_failed: whether features that failed before are tried again.
    """

    features: Sequence[int]
    explainer: str = "sage"
    mind: str = "rules"
    budget: Budget = field(default_factory=Budget)
    seed: int = 0
    score: bool = True
    scorers: Sequence[str] | None = None
    concurrency: int | None = None
    retry_failed: bool = False
    prompts: Path | None = None
    run_budget: Budget = field(default_factory=Budget.of_run)
    simulator: str = "auto"
    scorer_mind: str | None = None

    @property
    def at_once(self) -> int:
        """How many features are explained at once."""
        return self._at_once(Mind(self.mind).is_language_model)

    @property
    def scored_at_once(self) -> int:
        """How many features are scored at once."""
        return self._at_once(self.choice.mind is not None)

    def _at_once(self, asks: bool) -> int:
        # What waits for a language model costs next to nothing.
        return self.concurrency or (64 if asks else 8)

    @property
    def choice(self) -> Choice:
        """What answers for explanations when they are scored."""
        own = self.mind if self.simulator == "judge" and Mind(self.mind).is_language_model else None
        judge = self.scorer_mind or own
        return Choice(self.simulator, Mind(judge, self.prompts) if judge else None, self.seed)

    def config(self, source: FeatureSource) -> dict[str, Any]:
        """What decides the results, as JSON; a run is gone on with only under the same."""
        return {
            "subject": source.subject,
            "sae": source.sae,
            "evidence": source.key,
            "explainer": self.explainer,
            "mind": self.mind,
            "budget": asdict(self.budget),
            "seed": self.seed,
            "prompts": digest(self.prompts) if self.prompts else None,
            "sagescope": importlib.metadata.version("sagescope"),
        }


def explain(
    source: FeatureSource,
    features: int | Iterable[int | range],
    *,
    explainer: str = "sage",
    mind: str = "rules",
    budget: Budget | None = None,
    seed: int = 0,
    run: str | None = None,
    journal: Journal | Path | str | None = None,
    score: bool = True,
    scorers: Sequence[str] | None = None,
    concurrency: int | None = None,
    retry_failed: bool = False,
    prompts: Path | None = None,
    run_budget: Budget | None = None,
    simulator: str = "auto",
    scorer_mind: str | None = None,
    watch: Watch | None = None,
) -> list[Result]:
    """Explain features of a source, score the explanations, and return one result for each.

    features: indices, ranges, or a mixture. run, journal: the name under which it is kept, in which
    journal file (`sagescope.db` for a named run); a run that was begun is gone on with. With
    neither, nothing is kept. budget: of each feature, run_budget: of all together (see `Budget`).
    prompts: a folder of edited templates. scorers: names of scorers, ("all",) for every one.
    simulator, scorer_mind: see `Job`. Works inside a running event loop too, as in a notebook.
    Raises FeatureError for a feature the source does not have, UnknownName for an unknown explainer
    or mind, JournalError where the run was begun with other settings. A feature that goes wrong
    raises nothing: its result has status "failed" and the error. One that was not begun because the
    run's budget was spent has no result; the same call with a larger budget goes on.
    """
    indices = FeatureList.of(features).check(source.n_features)
    if explainer not in EXPLAINERS:
        raise UnknownName("explainer", explainer, EXPLAINERS)
    chosen(scorers)
    thinker = Mind(mind)
    thinker.check()
    job = Job(
        indices,
        explainer,
        mind,
        budget or usual_budget(explainer, thinker.is_language_model),
        seed,
        score,
        scorers,
        concurrency,
        retry_failed,
        prompts,
        run_budget or Budget.of_run(),
        simulator,
        scorer_mind,
    )
    job.choice.check()
    with contextlib.ExitStack() as stack:
        if not isinstance(journal, Journal):
            path = default_path() if journal is None and run else journal
            journal = stack.enter_context(Journal.open(Path(path) if path else None))
        begun = stack.enter_context(journal.begin(run or "explain", job.config(source)))
        run_to_end(work(job, source, begun, watch))
        found = {result.index: result for result in results_of(begun, source)}
    return [found[feature] for feature in indices if feature in found]


async def work(job: Job, source: FeatureSource, run: Run, watch: Watch | None = None) -> None:
    """Bring every feature of the job to its end, and write all of it into `run`."""
    await asyncio.to_thread(source.cover, job.features)
    run.write("session", {"features": list(job.features), "versions": versions()})
    worker = _Worker(job, source, run, watch or (lambda stage, done, total: None))
    await worker.all("Explaining", worker.explain)
    if job.score:
        await worker.all("Scoring", worker.score, job.scored_at_once)


def score_run(
    source: FeatureSource,
    run: str,
    *,
    journal: Journal,
    scorers: Sequence[str] | None = None,
    concurrency: int | None = None,
    retry_failed: bool = False,
    simulator: str = "auto",
    scorer_mind: str | None = None,
    run_budget: Budget | None = None,
    watch: Watch | None = None,
) -> list[Result]:
    """Score what a run has concluded by scorers that have not scored it yet; return its results.

    Where another kind of simulator answered before, all is scored anew, and that replaces the scores.

    source: the one that the run was made with. The other arguments are those of `explain`. Raises
    JournalError for a run of another source, UnknownName for a run or a scorer that does not exist.
    """
    chosen(scorers)
    config = journal.run(run).config
    made_with = {"subject": source.subject, "sae": source.sae, "evidence": source.key}
    with journal.begin(run, {**config, **made_with}) as begun:
        job = Job(
            begun.features,
            mind=config["mind"],
            seed=config["seed"],
            scorers=scorers,
            concurrency=concurrency,
            retry_failed=retry_failed,
            run_budget=run_budget or Budget.of_run(),
            simulator=simulator,
            scorer_mind=scorer_mind,
        )
        job.choice.check()
        worker = _Worker(job, source, begun, watch or (lambda *_: None))
        run_to_end(worker.all("Scoring", worker.score, job.scored_at_once))
        return results_of(begun, source)


async def score_feature(source: FeatureSource, run: Run, feature: int, seed: int) -> None:
    """Score what a run concluded of one feature, beside its controls, as a job does."""
    await _Worker(Job([feature], seed=seed), source, run, lambda *_: None).score(feature)


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where an event loop is running already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    loop = asyncio.new_event_loop()

    def in_thread() -> T:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(work)

    def cancel() -> None:
        for task in asyncio.all_tasks(loop):
            task.cancel()

    with ThreadPoolExecutor(1, "sagescope") as pool:
        future = pool.submit(in_thread)
        try:
            return future.result()
        except KeyboardInterrupt:
            loop.call_soon_threadsafe(cancel)
            raise


# -------------------------------------------------------------------- one job at work


class _Worker:
    """The steps of a job for one feature, and how many features go at once."""

    def __init__(self, job: Job, source: FeatureSource, run: Run, watch: Watch):
        self.job, self.source, self.run, self.watch = job, source, run, watch
        self.standing = standing_events(run)
        self.choice = job.choice
        minds = [mind for mind in (Mind(job.mind), self.choice.mind) if mind]
        self.spending = spending_of(run, minds, job.run_budget)

    async def all(
        self,
        stage: str,
        step: Callable[[int], Coroutine[Any, Any, None]],
        at_once: int | None = None,
    ) -> None:
        """Take every feature through one step, a few at once."""
        places = asyncio.Semaphore(at_once or self.job.at_once)
        done, total = 0, len(self.job.features)
        self.watch(stage, done, total)

        async def one(feature: int) -> None:
            nonlocal done
            async with places:
                await step(feature)
            done += 1
            self.watch(stage, done, total)

        try:
            async with asyncio.TaskGroup() as group:
                for feature in self.job.features:
                    group.create_task(one(feature))
        except ExceptionGroup as errors:
            # What reaches here concerns the whole run (the journal): the first says enough.
            raise errors.exceptions[0] from None

    # ---------------------------------------------------------------- explaining

    async def explain(self, feature: int) -> None:
        """Explain one feature, unless that is done."""
        standing = self.standing.setdefault(feature, {})
        if not self._is_to_do(standing):
            return
        if not all(self.spending.left(what) for what in ("calls", "tokens", "cost", "seconds")):
            return  # the run's budget is spent: a later session begins with this feature
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
            conclusion = await self._conclude(feature, spending)
        except JournalError:
            raise
        except Exception as caught:
            log.info("feature %d failed", feature, exc_info=True)
            conclusion, error = _failure(caught, spending), caught
        ran_out = error is None or isinstance(error, BudgetExhausted)
        if spending.cut_by_run and ran_out and not conclusion.hypotheses:
            return  # nothing is known of it yet: as if it had not been begun
        payload = {
            # Probes and outcomes stand in the journal already, one event each.
            "conclusion": _plain(conclusion, leave_out={"probes", "outcomes"}),
            "seconds": time.monotonic() - began,
            "traceback": "".join(traceback.format_exception(error)) if error else None,
            "cut_by_run": spending.cut_by_run,
        }
        self.run.write("concluded", payload, feature)
        self.standing[feature] = {"facts": standing.get("facts"), "concluded": payload}

    def _is_to_do(self, standing: dict[str, Any]) -> bool:
        """Whether a feature is new, was cut short by the run's budget, or is to be tried again."""
        concluded = standing.get("concluded")
        if concluded is None or concluded.get("cut_by_run"):
            return True
        return self.job.retry_failed and not _has_explanation(standing)

    async def _conclude(self, feature: int, spending: Spending) -> Conclusion:
        written: set[tuple[str, int]] = set()

        def record(kind: str, payload: Record) -> None:
            written.add((kind, _number(payload)))
            self.run.write(kind, _plain(payload), feature)

        job = self.job
        task = Task(
            RecordedSource(self.source, self.run),
            feature,
            Mind(job.mind, job.prompts, RunCalls(self.run, feature)),
            spending=spending,
            seed=job.seed,
            record=record,
        )
        conclusion = await EXPLAINERS[job.explainer].explain(task)
        for kind, records in (("probe", conclusion.probes), ("outcome", conclusion.outcomes)):
            for one in records:
                if (kind, _number(one)) not in written:
                    record(kind, one)
        return conclusion

    # ---------------------------------------------------------------- scoring

    async def score(self, feature: int) -> None:
        """Score one feature's explanation and its controls, as far as that is not done."""
        standing = self.standing.get(feature, {})
        if not _has_explanation(standing):
            return
        choice, why = self._choice(feature)
        other = self._other(feature, choice)
        target = Target(RecordedSource(self.source, self.run), feature, self.job.seed)
        random = _explanation(self.standing[other]) if other is not None else None
        about = {"random_explanation": {"explanation_of": other}} if random else {}
        try:
            subjects = simulators(target, _explanation(standing), random, choice)
        except JournalError:
            raise
        except Exception as error:
            log.info("scoring feature %d failed", feature, exc_info=True)
            for name in ("explanation", *about, "token_lookup"):
                if name not in standing:
                    self._scored(feature, name, {**about.get(name, {}), "why": _sentence(error)})
            return
        for name, simulator in subjects.items():
            kind = choice.kind if name != "token_lookup" else "rule"
            before = made_with(standing.get(name), kind)
            again = self.job.retry_failed and "why" in before
            made = () if again else made_by(before)
            scorers = [scorer for scorer in chosen(self.job.scorers) if scorer not in made]
            if not scorers or ("why" in before and not again):
                continue
            try:
                own = why if name == "explanation" else None
                marks = {"why": own} if own else await self._marks(target, simulator, scorers)
            except BudgetExhausted:
                return  # what is not scored yet is for a later session
            about_this = {**about.get(name, {}), "simulator": kind, **_cost(choice.mind)}
            self._scored(feature, name, {**about_this, **marks})

    async def _marks(
        self, target: Target, simulator: Simulator, scorers: Sequence[str]
    ) -> dict[str, Any]:
        """What a simulator scores, or why it scores nothing: the others are scored all the same."""
        try:
            scored = await score_simulator(target, simulator, scorers)
            return {"scorers": list(scorers), **scored.model_dump()}
        except (JournalError, BudgetExhausted):
            raise
        except Exception as error:
            log.info("scoring feature %d failed", target.feature, exc_info=True)
            return {"why": _sentence(error)}

    def _scored(self, feature: int, name: str, payload: dict[str, Any]) -> None:
        event = {"of": name, **payload}
        self.run.write("scored", event, feature)
        standing = self.standing[feature]
        standing[name] = with_scores(standing.get(name), event)

    def _choice(self, feature: int) -> tuple[Choice, str | None]:
        """What answers for a feature's explanation and its controls, and why nothing can."""
        choice = replace(self.choice, spending=Spending(Budget.of_run(), run=self.spending))
        if choice.mind:
            calls = JudgingCalls(self.run, feature)
            choice = replace(choice, mind=replace(choice.mind, calls=calls))
        try:
            return choice.of(_explanation(self.standing[feature])), None
        except CannotAnswer as reason:
            return replace(choice, kind="rule"), str(reason)

    def _other(self, feature: int, choice: Choice) -> int | None:
        """The feature whose explanation is this one's random control.

        The run's features stand in a circle, in an order drawn by the seed; each gets the next
        one that has an explanation that can answer likewise. So nobody gets its own, and timing
        changes nothing.
        """
        able = (
            one
            for one, standing in self.standing.items()
            if _has_explanation(standing) and choice.able(_explanation(standing))
        )
        others = {self._place(one): one for one in able if one != feature}
        here = self._place(feature)
        nearest = min(others, key=lambda place: (place < here, place), default=None)
        return None if nearest is None else others[nearest]

    def _place(self, feature: int) -> bytes:
        return hashlib.sha256(f"{self.job.seed} {feature}".encode()).digest()


class RecordedSource:
    """A feature source that writes what it measures into a run, and measures nothing twice."""

    def __init__(self, source: FeatureSource, run: Run):
        self.subject, self.sae, self.n_features = source.subject, source.sae, source.n_features
        self._source, self._run = source, run
        self._known: dict[int, dict[str, TokenActivations]] = {}

    @property
    def key(self) -> dict[str, Any] | None:
        """See FeatureSource."""
        return self._source.key

    @property
    def evidence(self) -> Evidence:
        """See FeatureSource."""
        return self._source.evidence

    def cover(self, features: Sequence[int]) -> None:
        """See FeatureSource."""
        self._source.cover(features)

    @property
    def outputs(self) -> Outputs | None:
        """Those of the source, if it has any (see `outputs`)."""
        return getattr(self._source, "outputs", None)

    def tokenize(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """See FeatureSource."""
        return self._source.tokenize(texts)

    async def activations(self, feature: int, texts: Sequence[str]) -> list[TokenActivations]:
        """See FeatureSource."""
        known = self._known.get(feature)
        if known is None:
            events = self._run.events(feature, ["measured"])
            known = self._known[feature] = dict(_measurement(event.payload) for event in events)
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            found = dict(zip(new, await self._source.activations(feature, new), strict=True))
            self._run.write_all(
                ("measured", {"text": text, **plain_activations(one)}, feature)
                for text, one in found.items()
            )
            known.update(found)
        return [known[text] for text in texts]


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
        error=_sentence(error),
    )


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _cost(judge: Mind | None) -> dict[str, Any]:
    if judge is None or not isinstance(judge.calls, JudgingCalls):
        return {}
    return {"cost": judge.calls.cost(judge.client().charge)}


def _has_explanation(standing: dict[str, Any]) -> bool:
    concluded = standing.get("concluded")
    return concluded is not None and concluded["conclusion"]["status"] != "failed"


def _explanation(standing: dict[str, Any]) -> Explanation:
    return Explanation.model_validate(standing["concluded"]["conclusion"]["explanation"])


def _measurement(payload: dict[str, Any]) -> tuple[str, TokenActivations]:
    values = np.array(payload["activations"], np.float32)
    return payload["text"], TokenActivations(tuple(payload["tokens"]), values)
