"""Attributions of an SAE's features on its subject model (see `attribution`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import torch

from ..encoder import LatentReader
from ..errors import TextError
from ..source import check_feature
from .attribution import Attribution, Curves, Method
from .preactivation import check_linear, pre_activations

#: Tokens in one pass.
TOKENS_PER_PASS = 2048
#: Steps of integrated gradients: at first, and at most. They are doubled until the gap is this small.
STEPS, MOST_STEPS, GAP = 32, 512, 0.005


class ModelAttributions:
    """See `attribution.Attributions`. Works in threads; its passes take turns with those of the host."""

    def __init__(self, reader: LatentReader):
        self.reader = reader
        self._mean: torch.Tensor | None = None

    def check(self) -> None:
        """See Attributions."""
        check_linear(self.reader)

    async def attributed(
        self,
        feature: int,
        tokens: Sequence[str],
        at: int,
        method: Method = "occlusion",
        reach: int | None = None,
    ) -> Attribution:
        """See Attributions."""
        return await asyncio.to_thread(self._attributed, feature, tokens, at, method, reach)

    async def curves(
        self, feature: int, tokens: Sequence[str], at: int, order: Sequence[float]
    ) -> Curves:
        """See Attributions."""
        return await asyncio.to_thread(self._curves, feature, tokens, at, order)

    # ---------------------------------------------------------------- attributions

    def _attributed(
        self, feature: int, tokens: Sequence[str], at: int, method: Method, reach: int | None
    ) -> Attribution:
        check_feature(feature, self.reader.sae.n_features)
        check_linear(self.reader)
        kept, ids = self._row(tokens, at, reach)
        with self.reader.subject.turn:
            whole = self._embedded(ids)
            empty = self._replaced(whole)
            value, baseline = self._values(feature, ids, torch.stack([whole, empty])).tolist()
            activation = float(self._activations(feature, ids, whole[None])[0])
            gap, rows = None, 3  # twice as it is, once with all replaced
            if method == "occlusion":
                found = self._occluded(feature, ids, whole, empty, value)
                rows += len(ids)
            elif method == "gradient-x-input":
                found = (self._gradients(feature, ids, whole[None])[0] * whole).sum(-1)
                rows += 1
            elif method == "integrated-gradients":
                difference = value - baseline
                found, gap, steps = self._integrated(feature, ids, whole, empty, difference)
                rows += steps
            else:
                draw = torch.Generator().manual_seed(feature + sum(ids))
                found = torch.randn(len(ids), generator=draw)
        values = found[self._skip :].float().cpu().numpy()
        return Attribution(kept, values, activation, value, baseline, gap, rows)

    def _occluded(
        self, feature: int, ids: list[int], whole: torch.Tensor, empty: torch.Tensor, value: float
    ) -> torch.Tensor:
        """float32 [n]: the fall of the pre-activation as each token goes."""
        each = whole.repeat(len(ids), 1, 1)
        places = torch.arange(len(ids))
        each[places, places] = empty
        return value - self._values(feature, ids, each)

    def _integrated(
        self,
        feature: int,
        ids: list[int],
        whole: torch.Tensor,
        empty: torch.Tensor,
        difference: float,
    ) -> tuple[torch.Tensor, float, int]:
        """float32 [n], the gap, and the steps made; by Gauss-Legendre quadrature, with more steps as
        they are needed."""
        steps, made = STEPS, 0
        while True:
            made += steps
            places, weights = np.polynomial.legendre.leggauss(steps)
            alphas = torch.as_tensor((places + 1) / 2, dtype=torch.float32, device=whole.device)
            path = empty + alphas[:, None, None].to(whole.dtype) * (whole - empty)
            along = self._gradients(feature, ids, path)
            each = torch.as_tensor(weights / 2, dtype=torch.float32, device=whole.device)
            mean = (each[:, None, None] * along).sum(0)
            found = (mean * (whole - empty).float()).sum(-1)
            gap = abs(float(found.sum()) - difference) / max(abs(difference), 1e-9)
            if gap <= GAP or steps >= MOST_STEPS:
                return found, gap, made
            steps *= 2

    def _curves(
        self, feature: int, tokens: Sequence[str], at: int, order: Sequence[float]
    ) -> Curves:
        check_feature(feature, self.reader.sae.n_features)
        _, ids = self._row(tokens, at, None)
        if len(order) != len(ids) - self._skip:
            raise TextError(
                f"An order of {len(order)} does not fit the {len(ids) - self._skip} tokens up to there."
            )
        with self.reader.subject.turn:
            whole = self._embedded(ids)
            empty = self._replaced(whole)
            ranks = np.argsort(-np.asarray(order, np.float64), kind="stable") + self._skip
            gone, back = whole.clone(), empty.clone()
            deletion, insertion = [gone.clone()], [back.clone()]
            for place in ranks.tolist():
                gone[place], back[place] = empty[place], whole[place]
                deletion.append(gone.clone())
                insertion.append(back.clone())
            found = self._activations(feature, ids, torch.stack([*deletion, *insertion]))
        top = float(found[0])
        if not top > 0:
            raise TextError(f"Feature {feature} is silent on token {at} of this text.")
        shares = (found / top).cpu().numpy().astype(np.float32)
        return Curves(insertion=shares[len(deletion) :], deletion=shares[: len(deletion)])

    # ---------------------------------------------------------------- passes

    def _values(self, feature: int, ids: list[int], embedded: torch.Tensor) -> torch.Tensor:
        """float32 [k]: the pre-activation on the last token, of embeddings [k, seq, d]."""
        with torch.no_grad():
            parts = [
                pre_activations(self.reader, self._at_end(ids, part), feature)
                for part in self._parts(embedded)
            ]
        return torch.cat(parts)

    def _activations(self, feature: int, ids: list[int], embedded: torch.Tensor) -> torch.Tensor:
        """float32 [k]: the activation on the last token, in competition with all other latents."""
        with torch.no_grad():
            parts = [
                self.reader.sae.module.encode(
                    self.reader.prepared(self._at_end(ids, part), self.reader.at)
                )[:, feature].float()
                for part in self._parts(embedded)
            ]
        return torch.cat(parts)

    def _gradients(self, feature: int, ids: list[int], embedded: torch.Tensor) -> torch.Tensor:
        """float32 [k, seq, d]: of the pre-activation on the last token, by the embeddings."""
        found = []
        for part in self._parts(embedded):
            with torch.enable_grad():
                leaf = part.detach().clone().requires_grad_()
                value = pre_activations(self.reader, self._at_end(ids, leaf), feature).sum()
                found.append(torch.autograd.grad(value, leaf)[0].float())
        return torch.cat(found)

    def _at_end(self, ids: list[int], embedded: torch.Tensor) -> torch.Tensor:
        """[k, width]: what the SAE reads at the last token."""
        rows = torch.tensor([ids]).repeat(len(embedded), 1)
        return self.reader.subject.from_embeddings(rows, embedded, self.reader.at)[:, -1]

    def _parts(self, embedded: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return embedded.split(max(1, TOKENS_PER_PASS // embedded.shape[1]))

    # ---------------------------------------------------------------- rows

    @property
    def _skip(self) -> int:
        return int(self.reader.prepend_bos)

    def _row(
        self, tokens: Sequence[str], at: int, reach: int | None
    ) -> tuple[tuple[str, ...], list[int]]:
        """The tokens up to a place, as strings and as ids with their BOS token."""
        if not 0 <= at < len(tokens):
            raise TextError(f"There is no token {at} in a text of {len(tokens)}.")
        subject = self.reader.subject
        first = 0 if reach is None else max(0, at + 1 - reach)
        kept = tuple(tokens[first : at + 1])
        row = subject.tokenize(["".join(kept)])[0]
        if len(row.ids) > self.reader.room:
            raise TextError(
                f"A text of {len(row.ids)} tokens does not fit the SAE's context of "
                f"{self.reader.room}: give a reach."
            )
        if not row.ids:
            raise TextError("A text without a token has no attribution.")
        return row.pieces, [*([subject.bos_id] if self._skip else []), *row.ids]

    def _embedded(self, ids: list[int]) -> torch.Tensor:
        """[seq, d]: what the model's embedding gives."""
        with torch.no_grad():
            rows = torch.tensor(ids, device=self.reader.subject.device)
            return self.reader.subject.model.get_input_embeddings()(rows)

    def _replaced(self, whole: torch.Tensor) -> torch.Tensor:
        """[seq, d]: the baseline in place of each token but the BOS token."""
        if self._mean is None:
            subject = self.reader.subject
            with torch.no_grad():
                every = torch.arange(len(subject.tokenizer), device=subject.device)
                embed = subject.model.get_input_embeddings()
                sums = [embed(part).float().sum(0) for part in every.split(1 << 14)]
            self._mean = torch.stack(sums).sum(0) / len(every)
        empty = self._mean.to(whole.dtype).repeat(len(whole), 1)
        empty[: self._skip] = whole[: self._skip]
        return empty
