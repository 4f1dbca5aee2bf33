"""Token vectors of an SAE on its subject model (see `token_vectors`).

E[t] is the token's embedding for features of the first block. Behind it, E[t] is what the first
block makes of the token alone, after the BOS token where the SAE has one: its MLP rewrites every token, and where
embedding and unembedding share their weights, hardly a later feature reads the raw embedding. It
takes one pass of the vocabulary through one block, once.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any

import torch

from ..encoder import LatentReader
from ..errors import SAEError
from ..hook_points import HookPoint
from ..norms import LinearNorm
from ..source import check_feature
from .outliers import Rows
from .preactivation import check_linear, encoder_row, stream_norm
from .token_vectors import OutlierToken, TokenVector, UpstreamFeature

#: Features whose token vectors are kept.
KEPT = 1024
#: Upstream features that are looked into, those with the largest share.
UPSTREAM = 20
#: Rows of one token each in one pass.
ROWS = 512
#: Where in a block something is read or added: in the order in which a pass comes by.
_STAGES = {
    "hook_in": 0,
    "ln1.hook_in": 0,
    "ln1.hook_out": 0,
    "attn.hook_in": 0,
    "attn.hook_out": 1,
    "ln2.hook_in": 2,
    "ln2.hook_out": 2,
    "mlp.hook_in": 2,
    "mlp.hook_out": 3,
    "hook_out": 4,
}
#: From here on a feature reads what the first block has made of a token.
_BEHIND_FIRST = 4
_IN_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
#: What is added to the residual stream.
_ADDED = re.compile(r"blocks\.\d+\.(attn|mlp)\.hook_out")


class ModelTokenVectors:
    """See `token_vectors.TokenVectors`. Works in threads.

    reader: the SAE on its subject model. upstream: SAEs on the same model whose features hand their
    tokens on where they stand out: transcoders, or SAEs of what attention and MLPs add. Those that
    do not write before the SAE reads are left aside. Raises SAEError for one that writes what is not added to the residual
    stream, and for one on another subject model.
    """

    def __init__(self, reader: LatentReader, upstream: Sequence[LatentReader] = ()):
        self.reader = reader
        for other in upstream:
            _check_upstream(other, reader)
        self.upstream = tuple(
            other for other in upstream if stage(other.written) < stage(reader.at)
        )
        self._found = lru_cache(maxsize=KEPT)(self._token_vector)
        self._above = {
            other.sae.name: ModelTokenVectors(other, upstream) for other in self.upstream
        }

    def check(self) -> None:
        """See TokenVectors."""
        check_linear(self.reader)
        with self.reader.subject.turn:
            _ = self._read

    async def token_vector(self, feature: int, most: int = 64) -> TokenVector:
        """See TokenVectors."""
        return await asyncio.to_thread(self._in_turn, feature, most)

    def _in_turn(self, feature: int, most: int) -> TokenVector:
        with self.reader.subject.turn:
            return self._found(feature, most)

    # ---------------------------------------------------------------- from weights

    @torch.inference_mode()
    def _token_vector(self, feature: int, most: int) -> TokenVector:
        check_feature(feature, self.reader.sae.n_features)
        row = encoder_row(self.reader, feature)
        direct = self._embedding.outliers(row, most)
        above = {name: rows.outliers(row, UPSTREAM) for name, rows in self._decoders.items()}
        everything = [direct, *above.values()]
        total = sum(float(abs(one.values).sum()) for one in everything) or 1.0
        handed = [
            UpstreamFeature(name, int(index), float(z), float(value) / total)
            for name, one in above.items()
            for index, z, value in zip(one.rows, one.z, one.values, strict=True)
        ]
        handed = sorted(handed, key=lambda one: -one.share)[:UPSTREAM]
        shares: dict[int, list[tuple[float, float, str]]] = defaultdict(list)
        for id, z, value in zip(direct.rows, direct.z, direct.values, strict=True):
            shares[int(id)].append((float(value) / total, float(z), ""))
        for one in handed:
            for token in self._above[one.sae]._found(one.index, most).tokens:
                through = token.through or f"{one.sae}/{one.index}"
                shares[token.id].append((one.share * token.share, token.z, through))
        return TokenVector(
            self._tokens(shares, most),
            tuple(handed),
            self._embedding.threshold,
            direct.highest,
            self.reader.prepend_bos,
        )

    def _tokens(
        self, shares: dict[int, list[tuple[float, float, str]]], most: int
    ) -> tuple[OutlierToken, ...]:
        """The tokens with all their shares together, named for the way that gives most."""
        order = sorted(shares, key=lambda id: -sum(share for share, _, _ in shares[id]))[:most]
        texts = [self.reader.subject.token(id) for id in order]
        rows = self.reader.subject.tokenize(texts)
        found = []
        for id, text, row in zip(order, texts, rows, strict=True):
            _, z, through = max(shares[id])
            share = sum(share for share, _, _ in shares[id])
            found.append(OutlierToken(text, id, row.ids == (id,), z, share, through))
        return tuple(found)

    @cached_property
    def _embedding(self) -> Rows:
        """What each token of the tokenizer's vocabulary brings to the residual stream."""
        subject = self.reader.subject
        embed: Any = subject.model.get_input_embeddings()
        if embed.weight.shape[1] != subject.d_model:
            raise SAEError(
                f"{subject.id} maps its embeddings to another width before its residual stream: "
                f"explain the feature with `sage`."
            )
        if stage(self.reader.at) < _BEHIND_FIRST:
            return Rows(embed.weight[: len(subject.tokenizer)], self._read)
        return Rows(self._after_first_block(), self._read)

    def _after_first_block(self) -> torch.Tensor:
        """[vocabulary, d_model]: what the first block makes of each token, behind the BOS token if any."""
        subject = self.reader.subject
        at = subject.hook_point("blocks.0.hook_out")
        ids = torch.arange(len(subject.tokenizer))[:, None]
        if self.reader.prepend_bos:
            ids = torch.cat([torch.full_like(ids, subject.bos_id), ids], 1)
        return torch.cat([subject.activations(part, at)[:, -1] for part in ids.split(ROWS)])

    @cached_property
    def _decoders(self) -> dict[str, Rows]:
        """What each upstream SAE writes to the residual stream: rows [latents, d_model]."""
        return {other.sae.name: Rows(_written(other), self._read) for other in self.upstream}

    @cached_property
    def _read(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """From rows on what the SAE reads to rows on the residual stream."""
        norm: LinearNorm | None = stream_norm(self.reader)
        return (lambda row: row) if norm is None else norm.read


def stage(at: HookPoint) -> int:
    """When a pass comes by a hook point: the later, the larger; -1 before the first block."""
    found = _IN_BLOCK.fullmatch(at.canonical)
    if found is None:
        return -1 if "embed" in at.canonical else 1 << 30
    return 4 * int(found[1]) + _STAGES.get(found[2], 4)


def _written(reader: LatentReader) -> torch.Tensor:
    """What each latent writes for an activation of 1: [latents, d_model]."""
    module: Any = reader.sae.module
    rows: torch.Tensor = module.W_dec.detach()
    if getattr(module.cfg, "rescale_acts_by_decoder_norm", False):
        rows = rows / rows.norm(dim=-1, keepdim=True)
    return rows


def _check_upstream(other: LatentReader, reader: LatentReader) -> None:
    if other.subject is not reader.subject:
        raise SAEError(f"{other.sae.name} is on another subject model than {reader.sae.name}.")
    check_linear(other)
    if not _ADDED.fullmatch(other.written.canonical):
        raise SAEError(
            f"{other.sae.name} writes {other.written.name}, which is not added to the residual "
            f"stream: upstream SAEs are transcoders, or SAEs of what attention or an MLP adds "
            f"(blocks.N.hook_mlp_out, blocks.N.hook_attn_out)."
        )
