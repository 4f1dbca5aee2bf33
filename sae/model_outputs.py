"""What features of an SAE do to their subject model's next token (see `outputs`).

Two ways to ask. `promoted` reads the weights alone: the feature's direction through the final norm
and the unembedding (Neuronpedia's logit weights; `VocabProj` in Gur-Arieh et al. 2025). It leaves out
what later blocks make of the direction, so it says most of late layers. `steered` runs the model with
the direction added where the SAE writes, and compares next-token distributions with the unsteered
pass (`TokenChange` in the same paper).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

import torch

from .direction import Direction
from .encoder import LatentReader
from .errors import FeatureError, SAEError, TextError
from .norms import LinearNorm
from .outputs import Promoted, PromptSteering, Steering, TokenShift, TokenWeight
from .resumed import Beginning
from .source import check_feature
from .subject import Edit
from .windows import batches

T = TypeVar("T")

#: Padded tokens in one steered pass: logits of all of them are held at once.
TOKENS_PER_PASS = 256
#: Next tokens that are told of each prompt.
LIKELIEST = 5
#: Features whose promoted tokens are kept.
KEPT = 1024
#: How many numbers of the unembedding are held in float32 at once.
AT_ONCE = 1 << 25


class ModelOutputs:
    """See `outputs.Outputs`. Works in threads; its passes take turns with those of the host.

    reader: the SAE on its subject model. typical_max: a feature's typical maximum activation on the
    corpus, which steering is measured in.
    """

    def __init__(self, reader: LatentReader, typical_max: Callable[[int], float]):
        self.reader, self._typical_max = reader, typical_max
        # Weights do not change, and each reading takes all of the unembedding.
        self._read_promoted = lru_cache(maxsize=KEPT)(self._promoted)
        # Whoever scores many features at once asks for the same rivals at the same time.
        self._read_steered = lru_cache(maxsize=KEPT)(self._steered)
        # Many features are steered on the same prompts, one after another.
        self._unsteered: _Unsteered | None = None

    async def promoted(self, feature: int, n: int = 10) -> Promoted:
        """See Outputs."""
        return await asyncio.to_thread(self._in_turn, self._read_promoted, feature, n)

    async def steered(
        self,
        feature: int,
        prompts: Sequence[str],
        strength: float = 1.0,
        n: int = 10,
        seed: int = 0,
        watched: Sequence[int] = (),
    ) -> Steering:
        """See Outputs. The direction is added at every token of a prompt but the BOS token.

        Strength 1 is what the SAE itself writes where the feature has its typical maximum. The
        random direction is isotropic, and has the same norm at each token.
        """
        asked = feature, tuple(prompts), strength, n, seed, tuple(watched)
        return await asyncio.to_thread(self._in_turn, self._read_steered, *asked)

    def _in_turn(self, read: Callable[..., T], *asked: Any) -> T:
        """One at a time, so that nobody makes what another is making."""
        with self.reader.subject.turn:
            return read(*asked)

    # ---------------------------------------------------------------- from weights

    @torch.inference_mode()
    def logit_weights(self, feature: int) -> torch.Tensor:
        """What a unit of the feature's direction adds to each logit directly: float32 [vocabulary].

        W_U (g ⊙ d), less its mean over the vocabulary: d is the decoder direction of norm 1 in the
        residual stream, without its mean over d_model where the final norm takes that away
        (LayerNorm); g is that norm's weight, and its division by the norm of the stream is left out.
        So it is what TransformerLens has with `fold_ln` and `center_unembed`, and it is the same
        whether or not decoder norms were folded into the encoder. All rows of the unembedding count
        in the mean. Raises as `promoted` does.
        """
        check_feature(feature, self.reader.sae.n_features)
        subject = self.reader.subject
        with subject.turn:
            direction = self._normed(Direction(self.reader, feature).in_residual_stream())
            head = subject.model.get_output_embeddings()
            if head is None:
                raise SAEError(f"{subject.id} has no unembedding, so it promotes no tokens.")
            unembedding: torch.Tensor = head.weight
            if unembedding.shape[1] != len(direction):
                raise SAEError(
                    f"{subject.id} maps its residual stream to another width before its "
                    f"unembedding: steer the feature instead."
                )
            rows = max(1, AT_ONCE // len(direction))
            logits = torch.cat([part.float() @ direction for part in unembedding.split(rows)])
            return logits - logits.mean()

    def _normed(self, direction: torch.Tensor) -> torch.Tensor:
        """The direction through the linear part of the final norm."""
        subject = self.reader.subject
        try:
            path = subject.bridge.adapter.translate_transformer_lens_path("ln_final")
        except ValueError as error:
            raise SAEError(
                f"{subject.id} has no norm before its unembedding that Sagescope knows: steer the "
                f"feature instead."
            ) from error
        return LinearNorm.of(subject.model.get_submodule(path), subject).passed(direction)

    @torch.inference_mode()
    def _promoted(self, feature: int, n: int) -> Promoted:
        weights = self._of_tokens(self.logit_weights(feature))

        def listed(order: torch.Tensor) -> tuple[TokenWeight, ...]:
            places = _highest(order, n)
            return tuple(
                TokenWeight(self.reader.subject.token(i), i, float(weights[i])) for i in places
            )

        return Promoted(listed(weights), listed(-weights))

    # ---------------------------------------------------------------- from passes

    @torch.inference_mode()
    def _steered(
        self,
        feature: int,
        prompts: tuple[str, ...],
        strength: float,
        n: int,
        seed: int,
        watched: tuple[int, ...],
    ) -> Steering:
        check_feature(feature, self.reader.sae.n_features)
        rows = self._rows(prompts)
        self._check_watched(watched)
        amount = strength * self._unit(feature)
        edits = [Direction(self.reader, feature, random).edit(amount) for random in (None, seed)]
        sums, by_prompt = _Sums(), {}
        lengths = [self.reader.padded_length(len(row)) for row in rows]
        for group in batches(lengths, TOKENS_PER_PASS):
            some = [rows[place] for place in group]
            with self.reader.subject.turn:
                plain, found = self._passes(some, edits)
            sums.add(plain, found[0], found[1])
            for row, place in enumerate(group):
                rows_there = plain[row], found[0][row], found[1][row]
                by_prompt[place] = self._at_prompt(*rows_there, list(watched))
        ordered = tuple(by_prompt[place] for place in range(len(rows)))
        return replace(self._summary(sums, strength, n), by_prompt=ordered)

    def _passes(
        self, rows: list[tuple[int, ...]], edits: list[Edit]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Log-probabilities [rows, vocabulary] without steering, and with each of the edits."""
        known = self._unsteered
        if known is None or known.rows != rows:
            known = self._unsteered = self._plain(rows)

        def change(found: torch.Tensor) -> torch.Tensor:
            parts = zip(edits, found.chunk(len(edits)), strict=True)
            return torch.cat([edit.change(part) for edit, part in parts])

        with known.beginning.resumed(len(edits)):
            steered = self._log_probabilities(rows * len(edits), Edit(edits[0].at, change))
        return known.found, steered.chunk(len(edits))

    def _plain(self, rows: list[tuple[int, ...]]) -> _Unsteered:
        beginning = Beginning(self.reader.subject, self.reader.written)
        with beginning.watched():
            found = self._log_probabilities(rows, None)
        with beginning.resumed():
            again = self._log_probabilities(rows, None)
        if not torch.allclose(again, found, atol=1e-4):
            # Later blocks of this model read more of earlier ones than the residual stream.
            beginning.forget()
        return _Unsteered(rows, found, beginning)

    def _at_prompt(
        self,
        plain: torch.Tensor,
        steered: torch.Tensor,
        random: torch.Tensor,
        watched: list[int],
    ) -> PromptSteering:
        def likeliest(row: torch.Tensor) -> tuple[str, ...]:
            best = self._of_tokens(row).topk(LIKELIEST).indices
            return tuple(self.reader.subject.token(i) for i in best.tolist())

        return PromptSteering(
            kl=float((steered.exp() * (steered - plain)).sum()),
            control_kl=float((random.exp() * (random - plain)).sum()),
            shifts=tuple((steered - plain)[watched].tolist()),
            controls=tuple((random - plain)[watched].tolist()),
            before=likeliest(plain),
            after=likeliest(steered),
        )

    def _unit(self, feature: int) -> float:
        unit = self._typical_max(feature)
        if not unit > 0:
            raise FeatureError(
                f"Feature {feature} never fires on the corpus, so it has no typical maximum to be "
                f"steered by: collect more text, or take another feature."
            )
        return unit

    def _rows(self, prompts: Sequence[str]) -> list[tuple[int, ...]]:
        if not prompts:
            raise TextError("Steering needs a prompt: give at least one.")
        for prompt in prompts:
            if not isinstance(prompt, str):
                raise TextError(f"A prompt must be a string, not {type(prompt).__name__}.")
        rows = [row.ids for row in self.reader.subject.tokenize(list(prompts))]
        for prompt, row in zip(prompts, rows, strict=True):
            if not 0 < len(row) <= self.reader.room:
                raise TextError(
                    f"A prompt to steer must have from 1 to {self.reader.room} tokens; "
                    f"{prompt[:60]!r} has {len(row)}."
                )
        return rows

    def _check_watched(self, watched: Sequence[int]) -> None:
        size = len(self.reader.subject.tokenizer)
        if unknown := [id for id in watched if not 0 <= id < size]:
            raise TextError(
                f"There is no token {unknown[0]}: the vocabulary has {size}, from 0 on."
            )

    def _log_probabilities(self, rows: Sequence[Sequence[int]], edit: Edit | None) -> torch.Tensor:
        """Of the token after each row: float32 [rows, vocabulary]."""
        ends = torch.tensor([len(row) + self.reader.prepend_bos - 1 for row in rows])
        logits = self.reader.subject.next_logits(self.reader.padded(rows), ends, edit)
        return logits.float().log_softmax(-1)

    def _summary(self, sums: _Sums, strength: float, n: int) -> Steering:
        shift, control, probability = (
            self._of_tokens(total / sums.prompts)
            for total in (sums.shift, sums.control, sums.probability)
        )
        if not torch.isfinite(shift).all():
            raise SAEError(
                f"Steering by {strength:g} typical maxima gave probabilities that are not finite in "
                f"{self.reader.subject.dtype}: lower the strength."
            )

        def listed(order: torch.Tensor) -> tuple[TokenShift, ...]:
            columns = (shift, control, probability)
            places = _highest(order, n)
            return tuple(
                TokenShift(
                    self.reader.subject.token(i), i, *(float(column[i]) for column in columns)
                )
                for i in places
            )

        kl, control_kl = sums.kl / sums.prompts, sums.control_kl / sums.prompts
        return Steering(strength, sums.prompts, listed(shift), listed(-shift), kl, control_kl)

    # ---------------------------------------------------------------- tokens

    def _of_tokens(self, values: torch.Tensor) -> torch.Tensor:
        """Without the rows that only pad the vocabulary."""
        return values[: len(self.reader.subject.tokenizer)].cpu()


@dataclass(frozen=True, eq=False)
class _Unsteered:
    """A plain pass: its rows, what it found, and what steered passes go on from."""

    rows: list[tuple[int, ...]]
    found: torch.Tensor
    beginning: Beginning


class _Sums:
    """Sums over prompts: [vocabulary] of what tokens do, and of divergences."""

    def __init__(self) -> None:
        self.prompts, self.kl, self.control_kl = 0, 0.0, 0.0
        self.shift = self.control = self.probability = torch.zeros(())

    def add(self, plain: torch.Tensor, steered: torch.Tensor, random: torch.Tensor) -> None:
        """Log-probabilities [rows, vocabulary] of the three passes."""
        self.prompts += len(plain)
        self.shift = self.shift + (steered - plain).sum(0)
        self.control = self.control + (random - plain).sum(0)
        self.probability = self.probability + steered.exp().sum(0)
        self.kl += float((steered.exp() * (steered - plain)).sum())
        self.control_kl += float((random.exp() * (random - plain)).sum())


def _highest(values: torch.Tensor, n: int) -> list[int]:
    """Places of the n highest, equal ones in order."""
    return torch.sort(values, descending=True, stable=True).indices[: max(0, n)].tolist()
