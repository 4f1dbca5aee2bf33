"""Workers without Ray: the same class in this process, its messages pickled, lost at will."""

import asyncio
import contextlib
import pickle

from sagescope.experiments.cluster.crew import Crew, at_work, cards_of
from sagescope.experiments.cluster.messages import Brief
from sagescope.experiments.cluster.worker import Worker


class Actor:
    """A worker as Ray hands it out: `actor.method.remote(…)` is awaited."""

    def __init__(self, brief):
        self._worker, self._under_way, self.is_lost = Worker(brief), set(), False

    def __getattr__(self, name):
        return _Method(self, getattr(self._worker, name))

    def lose(self):
        """As if its process were killed: nothing of it goes on, whoever waits for it is told."""
        self.is_lost = True
        for task in [*self._under_way, *self._worker._tasks]:
            task.cancel()


class _Method:
    def __init__(self, actor, call):
        self._actor, self._call = actor, call

    def remote(self, *args):
        task = asyncio.create_task(self._called(pickle.dumps(args)))
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return task

    async def _called(self, args):
        from ray.exceptions import RayActorError

        if self._actor.is_lost:
            raise RayActorError
        task = asyncio.create_task(self._call(*pickle.loads(args)))
        self._actor._under_way.add(task)
        try:
            return pickle.loads(pickle.dumps(await task))
        except asyncio.CancelledError:
            if self._actor.is_lost:
                raise RayActorError from None
            raise
        finally:
            self._actor._under_way.discard(task)


class Hall:
    """Where stand-ins are hired (see `cluster.opening.Hall`). hired: all that ever were."""

    def __init__(self, make, workers=2):
        self.make, self.workers, self.hired = make, workers, []

    def reading(self, source):
        return contextlib.nullcontext()

    def lose(self, number=0):
        """Lose one of those that are at work."""
        living = [actor for actor in self.hired if not actor.is_lost]
        living[number % len(living)].lose()

    @contextlib.asynccontextmanager
    async def crew(self, job, run, explainer, scorer):
        brief = Brief(job, self.make, run.name, run.config, cards_of(job))

        def hire():
            self.hired.append(Actor(brief))
            return self.hired[-1]

        crew = Crew(self.workers, job, run, explainer, scorer)
        async with at_work(crew, hire, Actor.lose) as working:
            yield working
