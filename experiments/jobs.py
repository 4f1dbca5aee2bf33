"""Jobs: explain and score many features at once, each event journaled, so that nothing is lost.

A job may be killed anywhere. Started again, it goes on: features that are done stay as they are,
one that was broken off begins anew and gets the measurements it already made from the journal, so
that it comes to the same end.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..agents.budget import Budget, Spending
from ..agents.explainers import check, check_source, usual_budget
from ..agents.minds.choice import Mind
from ..agents.wording import check_prompts
from ..prompts.render import digest
from ..sae.errors import JournalError, SagescopeError, ServiceError
from ..sae.source import FeatureSource
from .calls import spending_of
from .explained import RunExplainer
from .facts import versions
from .features import FeatureList
from .journal import RUN_NAME, Journal, Run, default_path
from .random_weights import absent, densities, matched, random_source, stand_beside, usual
from .results import WHY_NOT, Result, results_of, standing_events
from .scored import RunScorer, sentence
from .scoring import Choice, chosen

if TYPE_CHECKING:
    from .cluster.crew import Crew
    from .cluster.opening import Cluster, Hall

#: Told of each stage's progress: (stage, done, total).
Watch = Callable[[str, int, int], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """What to do. Explainer, mind, prompts, budget and seed decide the results, nothing else.

    features: indices. prompts: a folder of edited templates for a language model. budget: of each
    feature. run_budget: of all calls of the run, and of the seconds of this session. score: whether
    to score what was explained. scorers: by name, None those that run by default. simulator,
    scorer_mind: what answers for explanations when they are scored, and the language model that
    judges (see `scoring.Choice`), by default the mind where that is one and judging is asked for.
    concurrency: features at once (None: as many as suit the mind). retry_failed: whether features
    that failed before are tried again. controls: whether controls are scored beside them.
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
    controls: bool = True
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
        # Scores do not depend on it, and runs without are as they ever were.
        upstream = [other.sae.digest for other in getattr(source, "upstream", ())]
        return {
            **({"upstream": upstream} if upstream else {}),
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
    controls: bool = True,
    random_weights: int | None = None,
    cluster: Cluster | None = None,
) -> list[Result]:
    """Explain features of a source, score the explanations, and return one result for each.

    features: indices, ranges, or a mixture. run, journal: the name under which it is kept, in which
    journal file (`sagescope.db` for a named run); a run that was begun is gone on with. With
    neither, nothing is kept. budget: of each feature, run_budget: of all together (see `Budget`).
    prompts: a folder of edited templates. scorers: names of scorers, ("all",) for every one.
    controls: whether the scores get their controls; random_weights: how many features of the model
    with random weights are explained as one of them (see `random_weights`). simulator, scorer_mind:
    see `Job`. Works inside a running event loop too, as in a notebook.
    Raises FeatureError for a feature the source does not have, UnknownName for an unknown explainer
    or mind, MindError for an explainer that needs a language model and gets none, SAEError for one that
    makes no sense on the source, PriceError for a
    cap on money and a model without a known price, PromptError for templates that cannot be used,
    JournalError where the run was begun with other settings, ClusterError for workers that cannot
    be had. A feature that goes wrong
    raises nothing: its result has status "failed" and the error. One that was not begun because the
    run's budget was spent has no result; the same call with a larger budget goes on.
    """
    indices = FeatureList.of(features).check(source.n_features)
    chosen(scorers)
    thinker = Mind(mind, prompts)
    check(explainer, thinker)
    check_source(explainer, source)
    thinker.check()
    thinker.check_price(budget, run_budget)
    check_prompts(prompts)
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
        controls,
        simulator,
        scorer_mind,
    )
    job.choice.check()
    with contextlib.ExitStack() as stack:
        if not isinstance(journal, Journal):
            path = default_path() if journal is None and run else journal
            journal = stack.enter_context(Journal.open(Path(path) if path else None))
        begun = stack.enter_context(journal.begin(run or "explain", job.config(source)))
        hall = stack.enter_context(cluster.opened()) if cluster else None
        run_to_end(work(job, source, begun, watch, hall))
        if score and controls:
            beside_random_weights(job, source, journal, begun, random_weights, watch)
        found = {result.index: result for result in results_of(begun, source)}
    return [found[feature] for feature in indices if feature in found]


async def work(
    job: Job,
    source: FeatureSource,
    run: Run,
    watch: Watch | None = None,
    hall: Hall | None = None,
) -> None:
    """Bring every feature of the job to its end, and write all of it into `run`.

    hall: where workers are hired that do it (see `cluster`); None to do it here.
    """
    with hall.reading(source) if hall else contextlib.nullcontext():
        await asyncio.to_thread(source.cover, job.features)
    run.write("session", {"features": list(job.features), "versions": versions()})
    stages = _Stages(job, source, run, watch)
    async with contextlib.AsyncExitStack() as stack:
        if hall is not None:
            crew = hall.crew(job, run, stages.explainer, stages.scorer)
            stages.crew = await stack.enter_async_context(crew)
        await stages.explain()
        if job.score:
            await stages.score()


def beside_random_weights(
    job: Job,
    source: FeatureSource,
    journal: Journal,
    run: Run,
    n: int | None,
    watch: Watch | None,
) -> None:
    """Explain n features of the source's model with random weights as the run's were, beside them."""
    if n is None:
        asks = Mind(job.mind).is_language_model or job.choice.mind is not None
        n = usual(asks)
    if not n:
        absent(run, WHY_NOT["random_weights"])
        return
    name = f"{run.name}.random-weights"
    if not RUN_NAME.fullmatch(name):
        absent(run, "the run's name is too long for another run beside it")
        return
    own = ("features", "score", "controls", "run_budget")
    alike = {one.name: getattr(job, one.name) for one in fields(Job) if one.name not in own}
    with contextlib.ExitStack() as stack:
        try:
            other = random_source(source)
            if other is None:
                absent(run, "the features' source has no model whose weights could be random")
                return
            if isinstance(other, contextlib.AbstractContextManager):
                stack.enter_context(other)
            found = explain(
                other,
                matched(source, run.features, other, n, job.seed),
                **alike,
                run_budget=_rest(job, run),
                run=name,
                journal=journal,
                controls=False,
                watch=watch,
            )
        except (JournalError, ServiceError):
            raise
        except SagescopeError as error:
            absent(run, sentence(error))
            return
    stand_beside(run, found, densities(other))


def _rest(job: Job, run: Run) -> Budget:
    """What a run has left of its budget. Its seconds are those of this session, and begin anew."""
    minds = [mind for mind in (Mind(job.mind), job.choice.mind) if mind]
    spent = spending_of(run, minds, job.run_budget)
    capped = ("calls", "tokens", "cost")
    return replace(
        job.run_budget,
        **{name: spent.left(name) for name in capped if getattr(job.run_budget, name) is not None},
    )


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
    controls: bool = True,
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
            controls=controls,
            run_budget=run_budget or Budget.of_run(),
            simulator=simulator,
            scorer_mind=scorer_mind,
        )
        job.choice.check()
        run_to_end(_Stages(job, source, begun, watch).score())
        return results_of(begun, source)


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


class _Stages:
    """The stages of a job, for many features at once: in this process, or by a crew's workers."""

    def __init__(self, job: Job, source: FeatureSource, run: Run, watch: Watch | None):
        self.job, self.watch = job, watch or (lambda stage, done, total: None)
        minds = [mind for mind in (Mind(job.mind), job.choice.mind) if mind]
        spending = spending_of(run, minds, job.run_budget)
        standing = standing_events(run)
        self.explainer = RunExplainer(source, run, job, standing, spending)
        self.scorer = scorer_of(job, source, run, standing, spending)
        self.crew: Crew | None = None

    async def explain(self) -> None:
        """Explain what is to be explained."""
        step = self.crew.explain if self.crew else self.explainer.explain
        await self._all("Explaining", step, self.job.at_once)

    async def score(self) -> None:
        """Score what was explained, as far as that is not done."""
        step = self.crew.score if self.crew else self.scorer.score
        await self._all("Scoring", step, self.job.scored_at_once)

    async def _all(
        self, stage: str, step: Callable[[int], Coroutine[Any, Any, None]], at_once: int
    ) -> None:
        """Take every feature through one stage, a few at once for each worker."""
        places = asyncio.Semaphore(at_once * (self.crew.workers if self.crew else 1))
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
            # What reaches here concerns the whole run (the journal, the service): the first says enough.
            raise errors.exceptions[0] from None


def scorer_of(
    job: Job,
    source: FeatureSource,
    run: Run,
    standing: dict[int, dict[str, Any]],
    spending: Spending,
) -> RunScorer:
    """What scores the features of a run as a job has it."""
    return RunScorer(
        source,
        run,
        job.seed,
        standing,
        job.scorers,
        choice=job.choice,
        again=job.retry_failed,
        controls=job.controls,
        spending=spending,
        prompts=job.prompts,
    )
