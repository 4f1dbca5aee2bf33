"""Upstream SAEs and transcoders: features that take the place of the parts that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..block_places import layout_of, place_of
from ..direction import Direction
from ..encoder import SEQUENTIAL, LatentReader
from ..errors import SAEError
from .captured import Captured
from .circuits import UpstreamShare
from .stem import Stem


@dataclass(frozen=True)
class Upstream:
    """An SAE before another one.

    covers: how many blocks, and the embedding, its features stand for: an SAE on the residual stream
    (hook_resid_post) stands for all that was written before it. mlps: the layer whose MLP alone it
    stands for, of a transcoder or an SAE on an MLP's output.
    """

    reader: LatentReader
    covers: int = 0
    mlps: tuple[int, ...] = ()

    @classmethod
    def of(cls, reader: LatentReader, before: LatentReader, stem: Stem) -> Upstream:
        """Raises SAEError for one that is not before `before`, or that stands for no part of it."""
        name = reader.sae.name
        if reader.subject is not before.subject:
            raise SAEError(f"{name} is not on the model of {before.sae.name}: load both on one.")
        if reader.prepend_bos != before.prepend_bos:
            raise SAEError(f"{name} and {before.sae.name} do not agree on a BOS token.")
        layer, place = place_of(reader.written, layout_of(reader.subject)) or (0, None)
        is_odd = reader.metadata.hook_head_index is not None
        is_stream = reader.written.canonical.endswith(f"blocks.{layer}.hook_out")
        is_mlp = place is not None and place.holds == "mlp" and place.is_added
        if not (is_stream or is_mlp) or is_odd or reader.sae.architecture in SEQUENTIAL:
            raise SAEError(
                f"{name} writes to {reader.written.name}: features can take the place of an MLP "
                f"(hook_mlp_out) or of a stretch of the residual stream (hook_resid_post)."
            )
        if stem.reads != "stream" or layer not in stem.mlps or layer >= stem.attention.stop:
            raise SAEError(
                f"{name} writes in block {layer}, which is not before {before.at.name}: give SAEs of "
                f"earlier layers."
            )
        if is_stream:
            return cls(reader, covers=layer + 1)
        return cls(reader, mlps=(layer,))

    def shares(self, direction: torch.Tensor, pass_: Captured) -> list[UpstreamShare]:
        """What its features add to what is read in the residual stream along direction [n, d_model]."""
        reader = self.reader
        module: Any = reader.sae.module
        read = reader.prepared(pass_.at[reader.at.canonical], reader.at).float()
        written = pass_.at[reader.written.canonical]
        active = module.encode(read)
        empty = module.encode(read) * 0
        # Decoding follows encoding, for SAEs that scale what they read and keep the scale.
        bias = (module.decode(empty) * direction).sum(-1)
        whole = (written * direction).sum(-1)
        found = []
        for number in range(len(direction)):
            features = active[number].nonzero()[:, 0]
            rows = [
                Direction(reader, int(feature)).decoded(read[number]) for feature in features
            ] or [torch.zeros_like(direction[number])]
            values = torch.stack(rows) @ direction[number]
            values = values[: len(features)] * active[number][features]
            rest = whole[number] - values.sum() - bias[number]
            found.append(
                UpstreamShare(
                    reader.sae.name,
                    features.cpu().numpy().astype(np.int64),
                    values.float().cpu().numpy(),
                    float(rest),
                    float(bias[number]),
                )
            )
        return found


def check_apart(upstream: Sequence[Upstream]) -> None:
    """Raise SAEError where two stand for the same part of the model: it would be counted twice."""
    for number, one in enumerate(upstream):
        for other in upstream[number + 1 :]:
            first, second = sorted((one, other), key=lambda each: -each.covers)
            covered = any(layer < first.covers for layer in second.mlps)
            if (first.covers and second.covers) or covered or set(first.mlps) & set(second.mlps):
                raise SAEError(
                    f"{one.reader.sae.name} and {other.reader.sae.name} stand for the same part of the "
                    f"model, which would be counted twice: give one of them."
                )
