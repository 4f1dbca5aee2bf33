"""The endpoints of evidence: what features did on the corpus.

Statistics and exemplars are for whoever looks at a feature, and come from the `explain` split alone.
The evidence itself is for explainers and scorers on other machines: they say in which role they
read, and a role gets the splits that it may see.
"""

from __future__ import annotations

import asyncio
import io
import json
from typing import Annotated, Any, cast

import numpy as np
from fastapi import APIRouter, Query, Response

from ...sae.evidence import Role
from ..facts import facts_of, plain_activations
from . import wire
from .routes import PathFeature, Sae, Serves, reply

router = APIRouter(prefix="/v1")

TENSORS = "application/x-safetensors"
PARQUET = "application/vnd.apache.parquet"
AskedRole = Annotated[wire.Role, Query()]


def _binary(media_type: str) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "string", "format": "binary"}
    return {200: {"content": {media_type: {"schema": schema}}}}


# -------------------------------------------------------------------- one feature


@router.get("/features/{feature}", response_model=wire.Facts)
async def facts(feature: PathFeature, served: Serves, sae: Sae = None) -> Response:
    """Statistics of a feature on the `explain` split."""
    source = served.source(sae)
    source.reader.check(feature)
    served.evidence(source, "explainer")
    return reply(wire.Facts(**await asyncio.to_thread(facts_of, source, feature)))


@router.get("/features/{feature}/exemplars", response_model=wire.Exemplars)
async def exemplars(
    feature: PathFeature,
    served: Serves,
    kind: Annotated[wire.Kind, Query()] = "top",
    n: Annotated[int, Query(ge=1, le=100)] = 10,
    sae: Sae = None,
) -> Response:
    """Stretches of the `explain` split: the strongest, spread over the range, silent, near misses."""
    source = served.source(sae)
    source.reader.check(feature)
    split = served.evidence(source, "explainer").split("explain")
    ways = {
        "top": split.top,
        "spread": split.spread,
        "silent": split.silent,
        "near": split.near_misses,
    }
    found = await asyncio.to_thread(ways[kind], feature, n)
    shown = [wire.Shown(**plain_activations(one), peak=one.peak) for one in found]
    return reply(wire.Exemplars(exemplars=shown))


# -------------------------------------------------------------------- the evidence itself


@router.post("/cover", response_model=wire.Covered)
async def cover(asked: wire.OfCover, served: Serves) -> Response:
    """Gather the evidence of features. That may take minutes: ask until it is done."""
    source = served.source(asked.sae)
    features = range(source.n_features) if asked.features is None else asked.features
    return reply(wire.Covered(done=await served.cover(source, features)))


@router.get("/evidence", response_model=wire.AboutEvidence)
async def about(served: Serves, sae: Sae = None) -> Response:
    """Which features the evidence covers, and how large its splits are."""
    source = served.source(sae)
    served.evidence(source, "explainer")
    evidence = source.evidence
    covered = evidence.features
    whole = len(covered) == source.n_features
    sizes = {name: len(split.tokens) for name, split in evidence.splits.items()}
    return reply(
        wire.AboutEvidence(
            features=None if whole else [int(one) for one in covered],
            reference=None
            if evidence.reference is covered
            else [int(one) for one in evidence.reference],
            splits=sizes,
        )
    )


@router.get("/evidence/{split}/tokens", response_class=Response, responses=_binary(TENSORS))
async def tokens(split: wire.Split, served: Serves, role: AskedRole, sae: Sae = None) -> Response:
    """The tokens of a split: tensors ids, starts and documents, and their strings as metadata."""
    from safetensors.numpy import save

    table = served.evidence(served.source(sae), cast(Role, role)).split(split).tokens
    tensors = {"ids": table.ids, "starts": table.starts, "documents": table.documents}
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    about = {"vocab": json.dumps(table.vocab)}
    return Response(await asyncio.to_thread(save, tensors, about), media_type=TENSORS)


@router.post("/evidence/{split}/entries", response_class=Response, responses=_binary(TENSORS))
async def entries(split: wire.Split, asked: wire.OfEntries, served: Serves) -> Response:
    """What is not zero of features on a split: tensors places (in `features`), tokens and values."""
    from safetensors.numpy import save

    source = served.source(asked.sae)
    for feature in asked.features:
        source.reader.check(feature)
    found = served.evidence(source, asked.role).split(split)
    read = await asyncio.to_thread(found.entries, asked.features)
    tensors = {
        name: np.ascontiguousarray(tensor)
        for name, tensor in zip(("places", "tokens", "values"), read, strict=True)
    }
    return Response(save(tensors), media_type=TENSORS)


@router.get("/evidence/{split}/figures", response_class=Response, responses=_binary(PARQUET))
async def figures(split: wire.Split, served: Serves, role: AskedRole, sae: Sae = None) -> Response:
    """The figures of all features on a split, as a Parquet table."""
    reader = served.evidence(served.source(sae), cast(Role, role))
    file = io.BytesIO()
    await asyncio.to_thread(lambda: reader.table(split).to_parquet(file))
    return Response(file.getvalue(), media_type=PARQUET)
