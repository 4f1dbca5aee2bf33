"""One attention head of a subject model, read from its weights (see `attention`)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..encoder import LatentReader
from ..errors import SAEError
from ..evidence import SplitEvidence
from ..progress import bar
from ..subject import SubjectModel
from ..windows import batches, cut
from .attention import HeadInputs, Reach, Values
from .preactivation import check_linear, encoder_row

_OUTPUT = re.compile(r"blocks\.(\d+)\.attn\.o\.hook_in")
#: Tokens of text that are run to learn what each token brings, where that depends on more than it.
READ = 40_000
#: Keys that stand for the usual text, by how often they come.
USUAL = 256
#: Offsets at which scores are averaged over a whole text.
OFFSETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
KEYS_AT_ONCE = 16
#: Text on which the head that was read is compared with the one that runs, and by how much they
#: may differ: bfloat16 keeps some two digits.
SAMPLE = "The river rose by the old bridge, and the bank was closed until the water fell again."
TOLERANCE = 0.05


@dataclass(frozen=True)
class HeadMaps:
    """The maps of one head, in float32: W x + b for each of q, k and v.

    query, key, value: ([d_head, d_model], [d_head]). scale: of scores. rotary: turns vectors
    [n, d_head] as at some positions [n]; None where positions are not rotary.
    """

    query: tuple[torch.Tensor, torch.Tensor]
    key: tuple[torch.Tensor, torch.Tensor]
    value: tuple[torch.Tensor, torch.Tensor]
    scale: float
    rotary: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None

    def turned(self, vectors: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Queries or keys [n, d_head] as they stand at positions [n]."""
        return vectors if self.rotary is None else self.rotary(vectors, positions)


class HeadAttention:
    """See `attention.Attention`. Works in threads; its passes take turns with those of the host.

    reader: the SAE on its subject model. text: gives the `explain` split, whose tokens are the inputs.
    """

    def __init__(self, reader: LatentReader, text: Callable[[], SplitEvidence]):
        self.reader, self._text = reader, text

    def check(self) -> None:
        """See Attention."""
        self._in_turn(lambda: self._maps)

    async def inputs(self) -> HeadInputs:
        """See Attention."""
        return (await asyncio.to_thread(self._in_turn, lambda: self._read)).inputs

    async def values(self, feature: int) -> Values:
        """See Attention."""
        return await asyncio.to_thread(self._in_turn, self._values, feature)

    async def reach(self, keys: Sequence[int], window: int | None = None) -> Reach:
        """See Attention."""
        return await asyncio.to_thread(self._in_turn, self._reach, list(keys), window)

    def _in_turn(self, read: Callable[..., Any], *asked: Any) -> Any:
        """One at a time, so that the text is read once."""
        with self.reader.subject.turn, torch.inference_mode():
            return read(*asked)

    # ---------------------------------------------------------------- what is asked

    def _values(self, feature: int) -> Values:
        row = encoder_row(self.reader, feature)
        bos = float(self._read.bos_value @ row) if self._read.bos_value is not None else None
        found = (self._read.values @ row).cpu().numpy()
        itself = torch.exp(self._itself - self._usual).clamp(max=1).cpu().numpy()
        return Values(found, bos, itself)

    def _reach(self, keys: list[int], window: int | None) -> Reach:
        offsets, weights = self._offsets(window)
        parts: list[tuple[torch.Tensor, ...]] = []
        for some in torch.tensor(keys, dtype=torch.long).split(KEYS_AT_ONCE):
            by_offset = torch.stack([self._scores(self._read.keys[some], o).T for o in offsets])
            mean = torch.logsumexp(by_offset + weights.log()[:, None, None], 0)
            best = torch.tensor(offsets)[by_offset.argmax(0).cpu()]
            best = best if self._maps.rotary else torch.zeros_like(best)
            parts.append((mean, torch.sigmoid(mean - self._usual), best))
        empty = torch.zeros(0, len(self._read.queries))
        mean, shares, best = map(torch.cat, zip(*parts, strict=True)) if parts else [empty] * 3
        return Reach(mean.cpu().numpy(), shares.cpu().numpy(), best.long().numpy())

    def _scores(self, keys: torch.Tensor, offset: int) -> torch.Tensor:
        """A of every query for some keys [k, d_head] that stand so many tokens before: [n, k]."""
        maps = self._maps
        at = torch.full((len(self._read.queries),), offset, device=self._read.queries.device)
        queries = maps.turned(self._read.queries, at)
        return maps.scale * queries @ maps.turned(keys, at.new_zeros(len(keys))).T

    def _offsets(self, window: int | None) -> tuple[list[int], torch.Tensor]:
        """Offsets of a window, and the share that each stands for."""
        length = max(2, round(self._read.inputs.length))
        if self._maps.rotary is None:
            offsets, weights = [1], [1.0]
        elif window is not None:
            offsets = list(range(1, window + 1))
            weights = [1.0] * window
        else:
            offsets = [o for o in OFFSETS if o < length]
            ends = [*offsets[1:], length]
            weights = [(end - o) * max(1, length - o) for o, end in zip(offsets, ends, strict=True)]
        found = torch.tensor(weights, dtype=torch.float32, device=self._read.queries.device)
        return offsets, found / found.sum()

    # ---------------------------------------------------------------- what is read once

    @cached_property
    def _usual(self) -> torch.Tensor:
        """[n]: log of what a query's attention is shared with: BOS token, itself, the usual text."""
        read = self._read
        offsets, weights = self._offsets(None)
        order = np.cumsum(read.inputs.frequency)
        draws = np.searchsorted(order, (np.arange(USUAL) + 0.5) / USUAL * order[-1])
        text = read.keys[np.minimum(draws, len(order) - 1)]
        keys = text if read.bos_key is None else torch.cat([text, read.bos_key[None]])
        parts = [self._scores(keys, o) + w.log() for o, w in zip(offsets, weights, strict=True)]
        mean = torch.logsumexp(torch.stack(parts), 0)  # [n, keys]
        before = max(1.0, read.inputs.length / 2)
        usual = torch.logsumexp(mean[:, :USUAL], 1) - np.log(USUAL) + np.log(before)
        found = [usual, self._itself] + ([] if read.bos_key is None else [mean[:, -1]])
        return torch.logsumexp(torch.stack(found), 0)

    @cached_property
    def _itself(self) -> torch.Tensor:
        """[n]: the score of each token for itself."""
        return self._maps.scale * (self._read.queries * self._read.keys).sum(1)

    @cached_property
    def _layer(self) -> int:
        reader, metadata = self.reader, self.reader.metadata
        found = _OUTPUT.fullmatch(reader.at.canonical)
        if found is None:
            raise SAEError(
                f"{reader.sae.name} reads {reader.at.name}, which is not the output of attention "
                f"heads, so no rules of keys and queries can be read off weights: take the explainer "
                f"sage or weightlens, or an SAE on one head (sagescope train --hook-point "
                f"blocks.{reader.at.layer or 0}.attn.hook_z --head 0)."
            )
        width = reader.subject.activations(torch.zeros(1, 1, dtype=torch.long), reader.at).shape[-1]
        if metadata.hook_head_index is None and width != _head_width(reader.subject):
            raise SAEError(
                f"{reader.sae.name} reads all heads of {reader.at.name} at once, and attention rules "
                f"are of one head: train one with sagescope train --hook-point {reader.at.name} "
                f"--head N, or take the explainer sage."
            )
        check_linear(reader)
        return int(found[1])

    @cached_property
    def _maps(self) -> HeadMaps:
        maps = head_maps(
            self.reader.subject, self._layer, self.reader.metadata.hook_head_index or 0
        )
        self._compare(maps)
        return maps

    def _compare(self, maps: HeadMaps) -> None:
        """Raise SAEError unless the head, rebuilt from its maps, makes what the running one makes."""
        subject, reader = self.reader.subject, self.reader
        ids = torch.tensor([[subject.bos_id, *subject.tokenize([SAMPLE])[0].ids]])
        ids = ids[:, : reader.context]
        read, made = subject.activations_at(ids, [self._norm, reader.at])
        wanted = reader.prepared(made, reader.at)[0].float()
        found = rebuilt(maps, read[0].float())
        if float((found - wanted).norm()) > TOLERANCE * float(wanted.norm()):
            raise SAEError(
                f"The attention of {subject.id} does more than Sagescope knows how to read off its "
                f"weights, so no attention rules can be had: take the explainer sage."
            )

    @cached_property
    def _norm(self) -> Any:
        """The hook point of what the block's attention reads."""
        return self.reader.subject.hook_point(f"blocks.{self._layer}.ln1.hook_out")

    @cached_property
    def _read(self) -> _Inputs:
        maps, split, subject = self._maps, self._text(), self.reader.subject
        windows = ["".join(split.tokens.window(w)) for w in range(len(split.tokens.starts) - 1)]
        rows = subject.tokenize(windows)
        pieces = {i: p for row in rows for i, p in zip(row.ids, row.pieces, strict=True)}
        counts = np.bincount([i for row in rows for i in row.ids], minlength=max(pieces) + 1)
        exact = self._layer == 0 and maps.rotary is not None
        room = self.reader.room
        texts = [np.flatnonzero(counts).tolist()] if exact else [row.ids for row in rows]
        cuts = [list(one.ids) for text in texts for one in cut(text, 0, room)]
        limit = len(pieces) if exact else READ
        means, seen, bos, unexplained = self._means(cuts, limit, len(counts))
        ids: list[int] = np.flatnonzero(seen).tolist()
        inputs = HeadInputs(
            tokens=tuple(pieces[i] for i in ids),
            frequency=counts[ids] / counts.sum(),
            place=f"head {self.reader.metadata.hook_head_index or 0} of block {self._layer}",
            exact=exact,
            unexplained=unexplained,
            length=float(np.mean([len(row.ids) for row in rows])),
        )
        known = means[torch.as_tensor(ids, device=means.device)]
        return _Inputs(
            inputs,
            _mapped(maps.query, known),
            _mapped(maps.key, known),
            _mapped(maps.value, known),
            None if bos is None else _mapped(maps.key, bos),
            None if bos is None else _mapped(maps.value, bos),
        )

    def _means(
        self, rows: list[list[int]], limit: int, vocabulary: int
    ) -> tuple[torch.Tensor, np.ndarray, torch.Tensor | None, float]:
        """Each token's mean input [vocabulary, d_model], how often it was seen, BOS's, and what is left.

        rows: token ids; read until `limit` tokens have been.
        """
        reader, subject, skip = self.reader, self.reader.subject, int(self.reader.prepend_bos)
        total = torch.zeros(vocabulary, subject.d_model, device=subject.device)
        seen, squares, bos = np.zeros(vocabulary, np.int64), 0.0, None
        lengths = np.cumsum([len(row) for row in rows])
        rows = rows[: int(np.searchsorted(lengths, limit)) + 1]
        with bar("Reading what tokens bring to the head", sum(map(len, rows))) as shown:
            for group in batches([len(row) + skip for row in rows], 1024):
                some = [rows[place] for place in group]
                found = subject.activations(reader.padded(some), self._norm).float()
                bos = found[0, 0].clone() if skip else None
                for row, read in zip(some, found, strict=True):
                    at = torch.tensor(row, device=subject.device)
                    part = read[skip : skip + len(row)]
                    total.index_add_(0, at, part)
                    squares += float(part.square().sum())
                    np.add.at(seen, row, 1)
                shown.advance(sum(map(len, some)))
        times = torch.as_tensor(seen, device=total.device).clamp_min(1)[:, None]
        means = total / times
        whole = squares - float(total.sum(0).square().sum()) / max(1, seen.sum())
        left = squares - float((times * means.square()).sum())
        return means, seen, bos, max(0.0, left / whole) if whole > 0 else 0.0


@dataclass(frozen=True, eq=False)
class _Inputs:
    """Queries, keys and values [n, d_head] of the inputs, and key and value of the BOS token."""

    inputs: HeadInputs
    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    bos_key: torch.Tensor | None
    bos_value: torch.Tensor | None


def head_maps(subject: SubjectModel, layer: int, head: int) -> HeadMaps:
    """The maps of one head of a block. Raises SAEError for attention whose maps are not found."""
    path = subject.bridge.adapter.translate_transformer_lens_path(f"blocks.{layer}.attn")
    module: Any = subject.model.get_submodule(path)
    config = subject.model.config.get_text_config()
    width, heads = _head_width(subject), config.num_attention_heads
    groups = heads // (getattr(config, "num_key_value_heads", None) or heads)
    unknown = hasattr(module, "q_norm") or getattr(config, "attn_logit_softcapping", None)
    if unknown or not (hasattr(module, "q_proj") or hasattr(module, "c_attn")):
        raise SAEError(
            f"The attention of {subject.id} ({type(module).__name__}) is none whose queries and keys "
            f"Sagescope can read off its weights: take the explainer sage."
        )

    def of(whole: tuple[torch.Tensor, torch.Tensor], at: int) -> tuple[torch.Tensor, torch.Tensor]:
        some = slice(at * width, (at + 1) * width)
        return whole[0][some], whole[1][some]

    query, key, value = _projections(module)
    return HeadMaps(
        query=of(query, head),
        key=of(key, head // groups),
        value=of(value, head // groups),
        scale=float(getattr(module, "scaling", width**-0.5)),
        rotary=_rotary(subject, width),
    )


def rebuilt(maps: HeadMaps, read: torch.Tensor) -> torch.Tensor:
    """What the head makes [seq, d_head] of what its block reads [seq, d_model], causally."""
    at = torch.arange(len(read), device=read.device)
    queries, keys = (maps.turned(_mapped(one, read), at) for one in (maps.query, maps.key))
    scores = maps.scale * queries @ keys.T
    later = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -torch.inf).softmax(-1) @ _mapped(maps.value, read)


def _mapped(linear: tuple[torch.Tensor, torch.Tensor], read: torch.Tensor) -> torch.Tensor:
    return read @ linear[0].T + linear[1]


def _projections(module: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weight [out, in] and bias [out] of q, k and v, all heads."""
    if hasattr(module, "q_proj"):
        linears = [module.q_proj, module.k_proj, module.v_proj]
        weights = [linear.weight.float() for linear in linears]
        biases = [linear.bias for linear in linears]
    else:  # GPT-2 has all three in one map, which it keeps transposed
        weights = list(module.c_attn.weight.float().T.chunk(3))
        biases = list(module.c_attn.bias.chunk(3))
    return [
        (w, w.new_zeros(len(w)) if b is None else b.float())
        for w, b in zip(weights, biases, strict=True)
    ]


def _head_width(subject: SubjectModel) -> int:
    config = subject.model.config.get_text_config()
    return getattr(config, "head_dim", None) or subject.d_model // config.num_attention_heads


def _rotary(
    subject: SubjectModel, width: int
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None:
    """What rotary positions do to vectors [n, width] at positions [n]; None without them."""
    module: Any = getattr(subject.model.base_model, "rotary_emb", None)
    if module is None:
        return None

    def turn(vectors: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        cos, sin = (one[0].float() for one in module(vectors[None], positions[None]))
        first, second = vectors.chunk(2, -1)
        return vectors * cos + torch.cat([-second, first], -1) * sin

    if module(torch.zeros(1, 1, width), torch.zeros(1, 1, dtype=torch.long))[0].shape[-1] != width:
        raise SAEError(
            f"{subject.id} turns only part of a head's queries and keys by position, which Sagescope "
            f"does not read off weights: take the explainer sage."
        )
    return turn
