"""The endpoints that run the model: activations, top features, steering, losses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, TypeAdapter

from ...sae.model_source import ModelSource
from ...sae.outputs import Promoted, Steering
from . import wire
from .limits import MOST, MOST_LISTED
from .queue import Queue, cost_of, pieces
from .served import Served

T = TypeVar("T")

#: Says who asks, where an address stands for many: a name of the client's own.
CLIENT = "x-sagescope-client"

router = APIRouter(prefix="/v1")

_STEERING, _PROMOTED = TypeAdapter(Steering), TypeAdapter(Promoted)


def served_by(request: Request) -> Served:
    """What the application serves."""
    return request.app.state.served


def _asker(request: Request) -> Asker:
    name = request.headers.get(CLIENT, "")[:128]
    address = request.client.host if request.client else ""
    return Asker(request.app.state.queue, f"{address} {name}")


class Asker:
    """One client, and the queue that it waits in."""

    def __init__(self, queue: Queue, name: str):
        self._queue, self._name = queue, name

    async def run(self, texts: list[str], do: Callable[[list[str]], Awaitable[list[T]]]) -> list[T]:
        """Do something with texts, a piece of them in each turn."""
        work = [(sum(map(cost_of, some)), lambda some=some: do(some)) for some in pieces(texts)]
        return [one for part in await self._queue.run(self._name, work) for one in part]

    async def run_whole(self, cost: int, do: Callable[[], Awaitable[T]]) -> T:
        """Do something that cannot be taken apart."""
        return (await self._queue.run(self._name, [(cost, do)]))[0]


Serves = Annotated[Served, Depends(served_by)]
Asks = Annotated[Asker, Depends(_asker)]
Sae = Annotated[wire.SaeName | None, Query()]
PathFeature = Annotated[int, Path(ge=0, le=MOST, description="The index of a feature.")]


def reply(model: BaseModel) -> Response:
    """An answer; FastAPI would check it a second time."""
    return Response(model.model_dump_json(), media_type="application/json")


def _reply_plain(adapter: TypeAdapter[Any], found: Any) -> Response:
    return Response(adapter.dump_json(found), media_type="application/json")


# -------------------------------------------------------------------- how the service is


@router.get("/health", response_model=wire.Status)
async def health() -> Response:
    """Whether the process lives."""
    return reply(wire.Status(status="alive"))


@router.get("/ready", response_model=wire.Status)
async def ready(served: Serves) -> Response:
    """Whether it can serve: 503 while the model is loaded."""
    _ = served.sources
    return reply(wire.Status(status="ready"))


@router.get("/sources", response_model=wire.Sources)
async def sources(served: Serves) -> Response:
    """The SAEs that are served, on which subject model, the default first."""
    return reply(wire.Sources(sources=[_about(source) for source in served.sources]))


def _about(source: ModelSource) -> wire.About:
    return wire.About(
        subject=source.subject,
        sae=source.sae,
        n_features=source.n_features,
        room=source.reader.room,
        key=source.key,
    )


# -------------------------------------------------------------------- texts


@router.post("/tokens", response_model=wire.Tokenized)
async def tokens(asked: wire.OfTexts, served: Serves) -> Response:
    """The token strings of texts."""
    found = served.source(asked.sae).tokenize(asked.texts)
    return reply(wire.Tokenized(tokens=[list(row) for row in found]))


@router.post("/activations", response_model=wire.Readings)
async def activations(asked: wire.OfFeatures, served: Serves, asker: Asks) -> Response:
    """What features do on each token of texts."""
    source = served.source(asked.sae)
    for feature in asked.features:
        source.reader.check(feature)
    found = await asker.run(asked.texts, source.host.latents)
    readings = [
        wire.Reading(
            tokens=list(one.pieces),
            activations=[one.of(feature).activations.tolist() for feature in asked.features],
        )
        for one in found
    ]
    return reply(wire.Readings(texts=readings))


@router.post("/top", response_model=wire.Top)
async def top(asked: wire.OfTop, served: Serves, asker: Asks) -> Response:
    """The features that fire highest on texts."""
    found = await asker.run(asked.texts, served.source(asked.sae).host.latents)
    return reply(
        wire.Top(
            texts=[
                wire.Strongest(
                    tokens=list(one.pieces),
                    features=[wire.Firing(**vars(firing)) for firing in one.strongest(asked.n)],
                )
                for one in found
            ]
        )
    )


# -------------------------------------------------------------------- next tokens


@router.get("/features/{feature}/promoted", response_model=Promoted)
async def promoted(
    feature: PathFeature,
    served: Serves,
    asker: Asks,
    n: Annotated[int, Query(ge=0, le=MOST_LISTED)] = 10,
    sae: Sae = None,
) -> Response:
    """The tokens that a feature's direction promotes and suppresses most."""
    outputs = served.source(sae).outputs
    found = await asker.run_whole(cost_of(""), lambda: outputs.promoted(feature, n))
    return _reply_plain(_PROMOTED, found)


@router.post("/steer", response_model=Steering)
async def steer(asked: wire.OfSteering, served: Serves, asker: Asks) -> Response:
    """What adding a feature's direction changes of the next token after prompts."""
    source = served.source(asked.sae)
    source.reader.check(asked.feature)
    served.evidence(source, "explainer")  # whose typical maximum is the unit of strength
    cost = 3 * sum(map(cost_of, asked.prompts))
    found = await asker.run_whole(
        cost,
        lambda: source.outputs.steered(
            asked.feature, asked.prompts, asked.strength, asked.n, asked.seed, asked.watched
        ),
    )
    return _reply_plain(_STEERING, found)


@router.post("/losses", response_model=wire.Losses)
async def losses(asked: wire.OfLosses, served: Serves, asker: Asks) -> Response:
    """How well the subject model foretells texts after a prefix."""
    model = served.source(asked.sae).losses
    cost = cost_of(asked.prefix) + sum(map(cost_of, asked.texts))
    found = await asker.run_whole(cost, lambda: model.losses(asked.prefix, asked.texts))
    return reply(wire.Losses(losses=found.tolist()))
