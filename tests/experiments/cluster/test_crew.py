"""A crew's features end as in one process, whatever becomes of its workers; nothing is paid twice."""

import asyncio
import json

import minded
import planted
import pytest
import standing_in

from sagescope.agents.budget import Budget
from sagescope.experiments import Journal, explain
from sagescope.experiments.jobs import Job, work
from sagescope.experiments.loopback import LoopbackProvider
from sagescope.experiments.results import Result, results_of
from sagescope.sae.errors import ClusterError, JournalError, SagescopeError

FEATURES = range(3)


def comparable(results: list[Result]) -> list[str]:
    """Results as JSON, without the time they took and where the server stood."""
    rows = [json.loads(result.as_json()) for result in results]
    for row in rows:
        del row["cost"]["seconds"], row["mind"]
    return [json.dumps(row) for row in sorted(rows, key=lambda row: row["feature"])]


def job_of(mind: str = "rules", **settings) -> Job:
    settings = {"controls": True, **settings}
    return Job(FEATURES, mind=mind, budget=Budget.for_mind(mind != "rules"), **settings)


def spread(hall: standing_in.Hall, journal: Journal, job: Job) -> list[Result]:
    """The job's results, by the workers of a hall."""
    source = planted.PlantedSource()
    with journal.begin("x", job.config(source)) as run:
        asyncio.run(work(job, source, run, hall=hall))
        return results_of(run, source)


def at_home(mind: str = "rules") -> list[str]:
    """What one process finds."""
    job = job_of(mind)
    with Journal.open(None) as journal:
        found = explain(
            planted.PlantedSource(),
            FEATURES,
            mind=mind,
            budget=job.budget,
            run="x",
            journal=journal,
            random_weights=0,
        )
        assert {result.status for result in found} == {"concluded"}
        return without_random_weights(found)


def without_random_weights(results: list[Result]) -> list[str]:
    rows = [json.loads(row) for row in comparable(results)]
    for row in rows:
        row["details"].pop("random_weights", None)
    return [json.dumps(row) for row in rows]


def mind(server: LoopbackProvider) -> str:
    return f"{server.url}/v1#scripted"


@pytest.fixture(scope="module")
def expected() -> tuple[list[str], int]:
    """What one process finds with the scripted model, and how many calls it pays."""
    with LoopbackProvider(minded.answer) as server:
        return at_home(mind(server)), len(server.calls)


def test_workers_find_what_one_process_finds():
    with Journal.open(None) as journal:
        hall = standing_in.Hall(planted.PlantedSource)
        assert without_random_weights(spread(hall, journal, job_of())) == at_home()
        assert len(hall.hired) == 2


def test_with_a_language_model_no_call_is_paid_twice(expected):
    with LoopbackProvider(minded.answer) as server, Journal.open(None) as journal:
        hall = standing_in.Hall(planted.PlantedSource)
        results = spread(hall, journal, job_of(mind(server)))
        assert (without_random_weights(results), len(server.calls)) == expected
        assert set(server.paid.values()) == {1}


@pytest.mark.parametrize("moments", [[7], pytest.param([3, 4, 12], marks=pytest.mark.slow)])
def test_features_of_lost_workers_are_taken_up_without_paying_twice(expected, moments):
    """Workers are lost while calls are under way: the replies come, and are whoever's asks again."""
    hall = standing_in.Hall(planted.PlantedSource)

    def script(call):
        if call.number in moments:
            loop.call_soon_threadsafe(hall.lose, call.number)
        return minded.answer(call)

    loop = asyncio.new_event_loop()
    with LoopbackProvider(script) as server, Journal.open(None) as journal:
        job, source = job_of(mind(server)), planted.PlantedSource()
        with journal.begin("x", job.config(source)) as run:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(work(job, source, run, hall=hall))
            found = without_random_weights(results_of(run, source))
        assert len(hall.hired) == 2 + len(moments)
        assert (found, len(server.calls)) == expected
        assert set(server.paid.values()) == {1}


def test_a_worker_lost_at_every_call_changes_nothing(expected):
    """However many are lost with a feature: as long as it comes further it is no fault of its own."""
    hall = standing_in.Hall(planted.PlantedSource, workers=1)

    def script(call):
        loop.call_soon_threadsafe(hall.lose)
        return minded.answer(call)

    loop = asyncio.new_event_loop()
    with LoopbackProvider(script) as server, Journal.open(None) as journal:
        job, source = job_of(mind(server), concurrency=1), planted.PlantedSource()
        with journal.begin("x", job.config(source)) as run:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(work(job, source, run, hall=hall))
            found = without_random_weights(results_of(run, source))
        assert len(hall.hired) == 1 + len(server.calls)
        assert (found, len(server.calls)) == expected
        assert set(server.paid.values()) == {1}


def test_caps_of_the_run_hold_over_all_workers_and_more_goes_on(expected):
    with LoopbackProvider(minded.answer) as server, Journal.open(None) as journal:
        few = job_of(mind(server), run_budget=Budget.of_run(calls=7))
        spread(standing_in.Hall(planted.PlantedSource, workers=3), journal, few)
        assert len(server.calls) <= 7
        hall = standing_in.Hall(planted.PlantedSource)
        found = spread(hall, journal, job_of(mind(server)))
        assert (without_random_weights(found), len(server.calls)) == expected


class Deadly(planted.PlantedSource):
    """Feature 2 takes its worker along."""

    hall: standing_in.Hall

    async def activations(self, feature, texts):
        if feature == 2:
            next(a for a in self.hall.hired if a._worker._source is self).lose()
            await asyncio.sleep(60)
        return await super().activations(feature, texts)


def test_a_feature_that_takes_workers_along_fails_alone():
    hall = standing_in.Hall(Deadly)
    Deadly.hall = hall
    with Journal.open(None) as journal:
        results = spread(hall, journal, job_of(score=False))
    status = {result.index: result.status for result in results}
    assert status == {0: "concluded", 1: "concluded", 2: "failed"}
    assert "3 workers were lost while they had feature 2, which came no further" in next(
        r.error for r in results if r.error
    )


class Twice(planted.PlantedSource):
    """Feature 0 takes two workers along, and waits for a third to have nothing else; that is lost to 1."""

    hall: standing_in.Hall
    lost: dict[int, int]
    taken_up: asyncio.Event  # feature 1, after the first loss
    both_lost: asyncio.Event

    async def activations(self, feature, texts):
        if feature == 1 and self.lost[0]:
            self.taken_up.set()
        if feature == 0 and self.lost[0] < 2:
            if self.lost[0]:
                await self.taken_up.wait()
                self.both_lost.set()
            await self.take_along(0)
        if feature == 1 and not self.lost[1]:
            await self.both_lost.wait()
            await asyncio.sleep(2)  # feature 0 comes to this worker, and waits
            await self.take_along(1)
        return await super().activations(feature, texts)

    async def take_along(self, feature):
        self.lost[feature] += 1
        next(a for a in self.hall.hired if a._worker._source is self).lose()
        await asyncio.sleep(60)


def test_a_worker_lost_before_it_began_a_feature_does_not_count_against_it():
    hall = standing_in.Hall(Twice)
    Twice.hall, Twice.lost = hall, {0: 0, 1: 0}
    Twice.taken_up, Twice.both_lost = asyncio.Event(), asyncio.Event()
    with Journal.open(None) as journal:
        results = spread(hall, journal, job_of(score=False, concurrency=2))
    assert Twice.lost == {0: 2, 1: 1}
    assert {result.status for result in results} == {"concluded"}


def test_what_is_wrong_with_a_worker_is_told():
    def broken():
        raise SagescopeError("There is no such model: name another.")

    class Pickled:
        def __call__(self):
            broken()

    global Opening
    Opening = Pickled
    Pickled.__qualname__ = "Opening"
    with (
        Journal.open(None) as journal,
        pytest.raises(ClusterError, match="cannot begin: There is no such model"),
    ):
        spread(standing_in.Hall(Pickled()), journal, job_of())


class Elsewhere(planted.PlantedSource):
    """The same features on other text, as where a machine has other files."""

    def __init__(self):
        super().__init__(corpus=planted.texts(seed=1))


def test_a_worker_with_another_source_is_refused():
    with Journal.open(None) as journal, pytest.raises(ClusterError, match="differ in corpus"):
        spread(standing_in.Hall(Elsewhere), journal, job_of())


def test_trouble_with_the_journal_ends_the_run():
    hall = standing_in.Hall(planted.PlantedSource)
    job, source = job_of(), planted.PlantedSource()
    with Journal.open(None) as journal, journal.begin("x", job.config(source)) as run:
        write_all = run.write_all

        def full(events):
            events = list(events)
            if any(kind == "probe" for kind, _, _ in events):
                raise JournalError("The disk is full.")
            write_all(events)

        run.write_all = full
        with pytest.raises(JournalError, match="disk is full"):
            asyncio.run(work(job, source, run, hall=hall))
        assert all(actor.is_lost for actor in hall.hired)
