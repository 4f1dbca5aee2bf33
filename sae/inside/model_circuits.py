"""The circuits of an SAE on its subject model (see `circuits`)."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch

from ..block_places import layout_of, place_of
from ..direction import Direction
from ..encoder import LatentReader
from ..errors import SAEError, TextError
from ..model_outputs import ModelOutputs
from ..outputs import TokenWeight
from ..source import check_feature
from ..subject import SubjectModel
from ..windows import batches
from .captured import Captured, capture
from .circuits import CircuitAttribution, PromotedHere, Read
from .frozen import TOLERANCE, FrozenNorm, Reading, bias_of, pulled, reading, weight_of
from .preactivation import check_linear
from .stem import Stem, stem_of
from .upstream import Upstream, check_apart

T = TypeVar("T")

#: Padded tokens in one pass: patterns of all heads, values and neurons are held at once.
TOKENS_PER_PASS = 1024


class ModelCircuits:
    """See `circuits.Circuits`. Works in threads; its passes take turns with those of the host.

    reader: the SAE on its subject model. upstream: SAEs on the residual stream, or transcoders, of
    earlier layers of the same model, whose features take the place of the parts that they stand for
    (see `upstream.Upstream`). A model in another dtype than float32 is copied to it, once.

    Raises SAEError for an SAE that reads no sum, or upstream SAEs that do not lie before it or stand
    for the same part.
    """

    def __init__(self, reader: LatentReader, upstream: Sequence[LatentReader] = ()):
        check_linear(reader)
        self.stem: Stem = stem_of(reader.at, reader.subject)
        if reader.subject.dtype != torch.float32:
            reader, upstream = _in_float32(reader, upstream)
        self.reader = reader
        self.upstream = [Upstream.of(one, reader, self.stem) for one in upstream]
        check_apart(self.upstream)
        self._outputs = ModelOutputs(reader, lambda _: 1.0)

    async def attributed(
        self, feature: int, texts: Sequence[str], places: Sequence[int]
    ) -> list[CircuitAttribution]:
        """See Circuits."""
        return await asyncio.to_thread(self._in_turn, self._attributed, feature, texts, places)

    async def reads(self, feature: int, text: str, place: int, n: int = 4) -> list[Read]:
        """See Circuits."""
        return await asyncio.to_thread(self._in_turn, self._reads, feature, text, place, n)

    async def promoted_here(
        self, feature: int, texts: Sequence[str], places: Sequence[int], n: int = 10
    ) -> PromotedHere:
        """See Circuits. Raises SAEError where the direction has no straight way to the logits."""
        asked = feature, texts, places, n
        return await asyncio.to_thread(self._in_turn, self._promoted_here, *asked)

    def _in_turn(self, work: Callable[..., T], *asked: Any) -> T:
        with self.reader.subject.turn, torch.inference_mode():
            return work(*asked)

    # ---------------------------------------------------------------- what a feature reads

    def _attributed(
        self, feature: int, texts: Sequence[str], places: Sequence[int]
    ) -> list[CircuitAttribution]:
        check_feature(feature, self.reader.sae.n_features)
        rows = self._rows(texts, places)
        found: dict[int, CircuitAttribution] = {}
        lengths = [self.reader.padded_length(len(ids)) for ids, _ in rows]
        for group in batches(lengths, TOKENS_PER_PASS):
            some = [rows[place] for place in group]
            found.update(zip(group, self._of_rows(feature, some), strict=True))
        return [found[number] for number in range(len(rows))]

    def _of_rows(self, feature: int, rows: Sequence[_Row]) -> list[CircuitAttribution]:
        """The attributions of the rows of one pass."""
        reader, stem = self.reader, self.stem
        pass_ = self._captured([ids for ids, _ in rows])
        read = reading(reader, feature, pass_.at[reader.at.canonical])
        direction, bias = self._before_norm(read, pass_)
        taken = {layer for one in self.upstream for layer in one.mlps}
        heads: dict[int, torch.Tensor] = {}
        neurons: dict[int, torch.Tensor] = {}
        before = max((one.covers for one in self.upstream), default=0)
        for layer in (one for one in stem.attention if one >= before):
            heads[layer], added = self._heads(layer, direction, pass_)
            bias = bias + added
        for layer in (one for one in stem.mlps if one >= before and one not in taken):
            neurons[layer], added = self._neurons(layer, direction, pass_)
            bias = bias + added
        shares = [one.shares(direction, pass_) for one in self.upstream]
        embedding, position = direction.new_zeros(len(rows)), direction.new_zeros(len(rows))
        if stem.embeds and not before:
            position = (self._positions(pass_) * direction).sum(-1)
            embedding = (pass_.at["blocks.0.hook_in"] * direction).sum(-1) - position
        found = [
            CircuitAttribution(
                tokens=row[1],
                has_bos=reader.prepend_bos,
                pre_activation=float(read.pre_activation[number]),
                activation=float(read.activation[number]),
                embedding=float(embedding[number]),
                position=float(position[number]),
                heads=_stacked(
                    {layer: of[number, :, : len(row[1])] for layer, of in heads.items()}
                ),
                neurons=_stacked({layer: of[number] for layer, of in neurons.items()}),
                upstream=tuple(one[number] for one in shares),
                bias=float(bias[number]),
            )
            for number, row in enumerate(rows)
        ]
        self._check_sums(found)
        return found

    def _check_sums(self, found: Sequence[CircuitAttribution]) -> None:
        """Raise SAEError where the terms are not the pre-activation: the model adds up otherwise."""
        for one in found:
            parts = sum(float(np.abs(part).sum()) for part in (one.heads, one.neurons))
            size = parts + abs(one.embedding) + abs(one.bias) + abs(one.pre_activation)
            if abs(one.total - one.pre_activation) > TOLERANCE * size:
                raise SAEError(
                    f"What the parts of {self.reader.subject.id} write does not add up to what "
                    f"{self.reader.at.name} has ({one.total:.4g} for {one.pre_activation:.4g}): the model "
                    f"puts it together in a way that Sagescope does not know, as where what is added "
                    f"is scaled. Take `attribution`, or an explainer that needs activations alone."
                )

    def _captured(self, rows: Sequence[Sequence[int]], everywhere: Sequence[str] = ()) -> Captured:
        reader, stem = self.reader, self.stem
        extra = ["blocks.0.hook_in"] if stem.embeds else []
        if stem.embeds and "pos_embed.hook_out" in self._hooks:
            extra.append("pos_embed.hook_out")
        if stem.norm:
            extra.append(f"{stem.norm}.hook_in")
        for one in self.upstream:
            extra += [one.reader.at.canonical, one.reader.written.canonical]
        behind = stem.norms.behind_attention, stem.norms.behind_mlp
        for layers, norm in zip((stem.attention, stem.mlps), behind, strict=True):
            extra += [f"blocks.{layer}.{norm}.hook_in" for layer in layers if norm]
        return capture(
            reader.subject,
            self._hooks,
            reader.padded(rows),
            torch.tensor([len(row) + reader.prepend_bos - 1 for row in rows]),
            attention=stem.attention,
            mlps=stem.mlps,
            at=[reader.at.canonical, *extra],
            everywhere=everywhere,
            depth=stem.depth,
        )

    def _before_norm(self, read: Reading, pass_: Captured) -> tuple[torch.Tensor, torch.Tensor]:
        """The direction that is read in what is summed, [n, width], and the constant beside it."""
        if not self.stem.norm:
            return read.direction, read.bias
        norm = self._norm(self.stem.norm)
        scale = norm.scale(pass_.at[f"{self.stem.norm}.hook_in"])
        return norm.pulled(read.direction, scale), read.bias + read.direction @ norm.bias

    def _heads(
        self, layer: int, direction: torch.Tensor, pass_: Captured
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the heads of a layer bring from each token: [n, heads, seq]; and its bias, [n]."""
        before, bias = self._behind_attention(layer, direction, pass_)
        pattern, values = pass_.patterns[layer], pass_.values[layer]
        of_value = torch.einsum(
            "nskd,nkgd->nkgs", values, self._by_head(before, values.shape[2], pattern.shape[1])
        )
        return pattern * of_value.flatten(1, 2), bias

    @staticmethod
    def _by_head(before: torch.Tensor, groups: int, heads: int) -> torch.Tensor:
        """[n, heads · d_head] as [n, key-value heads, heads of each, d_head]."""
        return before.unflatten(-1, (groups, heads // groups, -1))

    def _behind_attention(
        self, layer: int, direction: torch.Tensor, pass_: Captured
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The direction that is read in the heads' own outputs, [n, heads · d_head]; a constant."""
        if self.stem.reads == "heads":
            return direction, direction.new_zeros(len(direction))
        direction, bias = self._before_norm_behind(
            layer, self.stem.norms.behind_attention, direction, pass_
        )
        module = self._module(f"blocks.{layer}.attn.o")
        return pulled(module, direction), bias + bias_of(module, direction)

    def _neurons(
        self, layer: int, direction: torch.Tensor, pass_: Captured
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the MLP neurons of a layer add: [n, neurons]; and the bias of the MLP, [n]."""
        bias = direction.new_zeros(len(direction))
        if self.stem.reads == "neurons":
            return pass_.neurons[layer] * direction, bias
        direction, bias = self._before_norm_behind(
            layer, self.stem.norms.behind_mlp, direction, pass_
        )
        module = self._module(f"blocks.{layer}.mlp.out")
        made = pass_.neurons[layer] * pulled(module, direction)
        return made, bias + bias_of(module, direction)

    def _before_norm_behind(
        self, layer: int, norm: str | None, direction: torch.Tensor, pass_: Captured
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The direction before a norm that some models put behind attention and MLPs; a constant.

        What is read before or behind that norm itself has it taken care of by `_before_norm`.
        """
        if norm is None or self.stem.reads != "stream":
            return direction, direction.new_zeros(len(direction))
        name = f"blocks.{layer}.{norm}"
        frozen = self._norm(name)
        scale = frozen.scale(pass_.at[f"{name}.hook_in"])
        return frozen.pulled(direction, scale), direction @ frozen.bias

    def _positions(self, pass_: Captured) -> torch.Tensor:
        """What the model learned for each place, [n, d_model]; zeros where it learns none."""
        found = pass_.at.get("pos_embed.hook_out")
        return torch.zeros_like(pass_.at["blocks.0.hook_in"]) if found is None else found

    # ---------------------------------------------------------------- what heads read

    def _reads(self, feature: int, text: str, place: int, n: int) -> list[Read]:
        check_feature(feature, self.reader.sae.n_features)
        if self.stem.reads not in ("stream", "attention", "heads") or not self.stem.attention:
            return []
        row = self._rows([text], [place])[0]
        (whole,) = self._of_rows(feature, [row])
        if not whole.heads.size:
            return []
        strongest = np.argsort(-np.abs(whole.heads), axis=None)[:n]
        layers, heads, tokens = np.unravel_index(strongest, whole.heads.shape)
        found = list(zip(layers.tolist(), heads.tolist(), tokens.tolist(), strict=True))
        return self._taken_apart(feature, row, found, whole)

    def _taken_apart(
        self,
        feature: int,
        row: _Row,
        found: Sequence[tuple[int, int, int]],
        whole: CircuitAttribution,
    ) -> list[Read]:
        """Heads (layer, head, token) of a row, with what each read at its token."""
        deepest = max((layer for layer, _, _ in found), default=0)
        parts = ["blocks.0.hook_in"]
        for layer in range(deepest):
            parts += [f"blocks.{layer}.hook_attn_out", f"blocks.{layer}.hook_mlp_out"]
        if norm := self.stem.norms.before_attention:
            parts += [f"blocks.{layer}.{norm}.hook_in" for layer in {one[0] for one in found}]
        if "pos_embed.hook_out" in self._hooks:
            parts.append("pos_embed.hook_out")
        pass_ = self._captured([row[0]], everywhere=parts)
        read = reading(self.reader, feature, pass_.at[self.reader.at.canonical])
        direction, _ = self._before_norm(read, pass_)
        return [self._read(*one, direction, pass_, whole) for one in found]

    def _read(
        self,
        layer: int,
        head: int,
        token: int,
        direction: torch.Tensor,
        pass_: Captured,
        whole: CircuitAttribution,
    ) -> Read:
        before, _ = self._behind_attention(layer, direction, pass_)
        groups, heads = pass_.values[layer].shape[2], pass_.patterns[layer].shape[1]
        group = head // (heads // groups)
        read_behind = self._by_head(before, groups, heads)[0, group, head % (heads // groups)]
        value: Any = self.reader.subject.bridge.blocks[layer].attn.v
        weight = weight_of(value.original_component).unflatten(0, (groups, -1))[group].float()
        taken = pass_.patterns[layer][0, head, token]
        bias = value.original_component.bias
        constant = 0.0 if bias is None else read_behind @ bias.unflatten(0, (groups, -1))[group]
        in_stream = read_behind @ weight
        at_source = {name: of[0, token] for name, of in pass_.everywhere.items() if of.shape[0]}
        if before_attention := self.stem.norms.before_attention:
            name = f"blocks.{layer}.{before_attention}"
            norm = self._norm(name)
            constant = constant + in_stream @ norm.bias
            in_stream = norm.pulled(in_stream, norm.scale(at_source[f"{name}.hook_in"]))
        constant, in_stream = taken * constant, taken * in_stream

        def of(name: str) -> float:
            return float(at_source[name] @ in_stream) if name in at_source else 0.0

        position = of("pos_embed.hook_out")
        return Read(
            layer=layer,
            head=head,
            token=token,
            value=float(whole.heads[layer, head, token]),
            embedding=of("blocks.0.hook_in") - position,
            position=position,
            attention=np.array([of(f"blocks.{n}.hook_attn_out") for n in range(layer)], np.float32),
            mlps=np.array([of(f"blocks.{n}.hook_mlp_out") for n in range(layer)], np.float32),
            bias=float(constant),
        )

    # ---------------------------------------------------------------- what it writes

    def _promoted_here(
        self, feature: int, texts: Sequence[str], places: Sequence[int], n: int
    ) -> PromotedHere:
        weights = self._outputs.logit_weights(feature)
        rows = self._rows(texts, places)
        subject = self.reader.subject
        points = [
            subject.hook_point("ln_final.hook_in"), self.reader.at, self.reader.written
        ]  # fmt: skip
        norm, factors = self._norm("ln_final"), []
        for ids, _ in rows:
            found = subject.activations_at(self.reader.padded([ids]), points)
            end = len(ids) + self.reader.prepend_bos - 1
            final, read, written = (one[0, end].float() for one in found)
            active = reading(self.reader, feature, read[None]).activation[0]
            length = self._length(feature, written)
            factors.append(float(active * length * norm.scale(final)))
        if not any(factors):
            return PromotedHere((), ())
        size = len(subject.tokenizer)
        pushed = weights[:size] * float(np.mean(factors))

        def listed(order: torch.Tensor) -> tuple[TokenWeight, ...]:
            best = order.topk(min(n, size)).indices.tolist()
            return tuple(TokenWeight(subject.token(id), id, float(pushed[id])) for id in best)

        return PromotedHere(listed(pushed), listed(-pushed))

    def _length(self, feature: int, written: torch.Tensor) -> float:
        """The norm of what the SAE writes to the residual stream for an activation of 1."""
        reader, at = self.reader, self.reader.written
        made = Direction(reader, feature).decoded(reader.prepared(written, at))
        whole = reader.restored(made, torch.zeros_like(written), at)
        _, place = place_of(at, layout_of(reader.subject)) or (0, None)
        if place is not None and place.holds in ("heads", "neurons"):
            whole = whole @ weight_of(reader.subject.model.get_submodule(at.module)).T
        return float(whole.norm())

    # ---------------------------------------------------------------- parts of the model

    def _norm(self, name: str) -> FrozenNorm:
        if name not in self._norms:
            self._norms[name] = FrozenNorm.of(self._module(name), self.reader.subject)
        return self._norms[name]

    @cached_property
    def _hooks(self) -> dict[str, Any]:
        return self.reader.subject.bridge.hook_dict

    @cached_property
    def _norms(self) -> dict[str, FrozenNorm]:
        return {}

    def _module(self, name: str) -> torch.nn.Module:
        subject = self.reader.subject
        try:
            path = subject.bridge.adapter.translate_transformer_lens_path(name)
            return subject.model.get_submodule(path)
        except (ValueError, AttributeError) as error:
            raise SAEError(
                f"{subject.id} has no {name} that Sagescope knows, so its parts cannot be told "
                f"apart: take an explainer that needs activations alone."
            ) from error

    def _rows(self, texts: Sequence[str], places: Sequence[int]) -> list[_Row]:
        """The ids of each text up to its place, and the strings of these with the BOS token's."""
        found: list[_Row] = []
        cut = self.reader.subject.tokenize(list(texts))
        for text, row, place in zip(texts, cut, places, strict=True):
            if not 0 <= place < min(len(row.ids), self.reader.room):
                raise TextError(
                    f"{text[:60]!r} has no token {place} within the context of "
                    f"{self.reader.sae.name}: it has {len(row.ids)}, counted from 0."
                )
            bos = ("",) if self.reader.prepend_bos else ()
            found.append((row.ids[: place + 1], (*bos, *row.pieces[: place + 1])))
        return found


_Row = tuple[tuple[int, ...], tuple[str, ...]]


def _stacked(by_layer: dict[int, torch.Tensor]) -> np.ndarray:
    """float32 [layers, …], zeros for layers that are not there."""
    if not by_layer:
        return np.zeros((0, 0, 0), np.float32)
    found = np.zeros((max(by_layer) + 1, *next(iter(by_layer.values())).shape), np.float32)
    for layer, values in by_layer.items():
        found[layer] = values.cpu().numpy()
    return found


def _in_float32(
    reader: LatentReader, upstream: Sequence[LatentReader]
) -> tuple[LatentReader, list[LatentReader]]:
    """The same SAEs on a copy of their model in float32: sums of rounded parts would not add up."""
    subject = reader.subject
    twin = SubjectModel(copy.deepcopy(subject.model).float(), subject.tokenizer, subject.id)
    ours, *others = (LatentReader(twin, one.sae) for one in (reader, *upstream))
    return ours, others
