"""Steered text of an SAE's features on their subject model (see `texts`).

The direction is added at every token but the BOS token, as in `model_outputs`. Beside each text runs
a second, plain reading of it: from it come the feature's activations, so that what was added is not
mistaken for what the text says, the distributions that steered ones are compared with, and what
the continuation gate sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ..direction import Direction
from ..encoder import SEQUENTIAL, LatentReader
from ..errors import FeatureError, SAEError, TextError
from ..evidence import EvidenceReader, SplitEvidence
from ..source import check_feature
from ..subject import Edit
from .decoding import Chooser, Stream, ends
from .gates import EVERY, ContinuationGate, InputGate, Presence
from .texts import KINDS, Kind, Order, Steered, Step, Written

#: Windows on each side that the difference of means is taken over.
WINDOWS = 48
#: What adds to the stream of a row: takes activations [1, seq, d] and an amount.
Push = Callable[[torch.Tensor, float], torch.Tensor]


class ModelGeneration:
    """See `texts.Generation`.

    reader: the SAE on its subject model. evidence: gives its evidence, as a selector sees it.
    """

    def __init__(self, reader: LatentReader, evidence: Callable[[], EvidenceReader]):
        self.reader, self._evidence = reader, evidence

    async def steered(
        self, feature: int, order: Order, watch: Callable[[int], None] = lambda _: None
    ) -> Steered:
        """See Generation."""
        return await asyncio.to_thread(self._steered, feature, order, watch)

    @torch.inference_mode()
    def _steered(self, feature: int, order: Order, watch: Callable[[int], None]) -> Steered:
        check_feature(feature, self.reader.sae.n_features)
        if self.reader.sae.architecture in SEQUENTIAL:
            raise SAEError(
                f"Features of {self.reader.sae.name} depend on the whole text, so they cannot be "
                f"followed while it is written: take an SAE of another architecture."
            )
        ids, explain = self._ids(order), self._evidence().split("explain")
        unit = explain.stats(feature).typical_max
        if not unit > 0:
            raise FeatureError(
                f"Feature {feature} never fires on the corpus, so it has no typical maximum to be "
                f"steered by: collect more text, or take another feature."
            )
        presence = self._presence(feature)
        amount = (-1 if order.remove else 1) * order.strength * unit
        with self.reader.subject.turn:
            peak = max(self._follow(Stream(self.reader.subject), ids, feature)[1])
            opened = InputGate().after(presence(peak)).is_open if order.gated else None
            pushes = self._pushes(feature, explain, order.seed)
            texts: list[Written] = []
            for kind in KINDS:
                push = pushes.get(kind)
                if push is None or opened is not False:
                    run = _Run(self, feature, order, presence, amount, push, watch)
                    texts.append(run.write(kind, ids))
                else:  # the gate is closed: what is written is what the model writes by itself
                    texts.append(replace(texts[0], kind=kind))
        return Steered(feature, order, unit, presence, peak, presence(peak), opened, tuple(texts))

    def _ids(self, order: Order) -> list[int]:
        """The prompt's tokens, the BOS token included where the SAE had one."""
        if not isinstance(order.prompt, str) or not order.prompt:
            raise TextError("Steering needs a prompt: give a text.")
        if order.tokens < 1:
            raise TextError("Nothing is to be written: ask for one token or more.")
        reader = self.reader
        row = reader.subject.tokenize([order.prompt])[0].ids
        if not 0 < len(row) <= reader.room - order.tokens:
            raise TextError(
                f"A prompt of {len(row)} tokens and {order.tokens} more do not fit the SAE's context "
                f"of {reader.room}: shorten one of them."
            )
        return [*([reader.subject.bos_id] if reader.prepend_bos else []), *row]

    def _presence(self, feature: int) -> Presence:
        """From `select`, or from `explain` where the feature fires in no window of `select`."""
        reader = self._evidence()
        floor = reader.split("explain").stats(feature).fires_at
        for name in ("select", "explain"):
            peaks = reader.split(name).peaks(feature)
            if (peaks >= floor).any():
                return Presence.of(floor, peaks[peaks >= floor].tolist(), name)
        raise FeatureError(f"Feature {feature} never fires on the corpus: take another.")

    # ---------------------------------------------------------------- directions

    def _pushes(self, feature: int, explain: SplitEvidence, seed: int) -> dict[Kind, Push]:
        own = Direction(self.reader, feature)
        own.check()
        return {
            "feature": own.pushed,
            "difference of means": self._along(own, self._difference(feature, explain, seed)),
            "random": Direction(self.reader, feature, seed).pushed,
        }

    def _along(self, own: Direction, direction: torch.Tensor) -> Push:
        """Along a direction [d], with the norm of the feature's own at each token."""
        reader, at = self.reader, self.reader.written
        unit = direction / direction.norm().clamp_min(1e-12)

        def push(found: torch.Tensor, amount: float) -> torch.Tensor:
            norm = own.decoded(reader.prepared(found.float(), at)).norm(dim=-1, keepdim=True)
            made = amount * norm * unit
            made = made.expand(*found.shape[:-1], made.shape[-1]) if made.dim() == 1 else made
            return reader.restored(made, torch.zeros_like(found.float()), at)

        return push

    def _difference(self, feature: int, explain: SplitEvidence, seed: int) -> torch.Tensor:
        """Mean over tokens on which the feature fires, less the mean over tokens where it does not: [d]."""
        draw, table = np.random.default_rng([seed, feature]), explain.tokens
        fires = explain.activations(feature) >= explain.stats(feature).fires_at
        means = []
        for where in (fires, ~fires):
            some = np.unique(table.window_of[where])
            if not len(some):
                raise SAEError(
                    f"Feature {feature} fires on every token of the corpus, so there is no difference of "
                    f"means to put beside it: take another feature."
                )
            windows = [int(window) for window in draw.permutation(some)[:WINDOWS]]
            means.append(self._mean(explain, windows, where))
        return means[0] - means[1]

    def _mean(
        self, explain: SplitEvidence, windows: Sequence[int], where: np.ndarray
    ) -> torch.Tensor:
        """Mean at the hook point that the SAE writes to, over the tokens of a mask [n] in some windows."""
        reader, table, skip = self.reader, explain.tokens, int(self.reader.prepend_bos)
        rows = reader.subject.tokenize(["".join(table.window(one)) for one in windows])
        total, count = None, 0
        for window, row in zip(windows, rows, strict=True):
            start, end = (int(one) for one in table.starts[window : window + 2])
            if len(row.ids) != end - start or len(row.ids) > reader.room:
                continue  # cut anew, it comes out in other tokens
            found = reader.subject.activations(reader.padded([row.ids]), reader.written)
            part = reader.prepared(found, reader.written)[0, skip : skip + len(row.ids)].float()
            part = part[torch.as_tensor(where[start:end], device=part.device)]
            total = part.sum(0) if total is None else total + part.sum(0)
            count += len(part)
        if total is None or not count:
            raise SAEError(
                "No window of the corpus comes out in the same tokens when it is read again, so there "
                "is no difference of means to steer by: collect on another corpus."
            )
        return total / count

    # ---------------------------------------------------------------- reading

    def _follow(
        self, stream: Stream, ids: Sequence[int], feature: int
    ) -> tuple[torch.Tensor, list[float]]:
        """Read on without steering: logits [tokens, vocabulary], and the feature on each token.

        The BOS token has none: its activation counts as 0.
        """
        seen: list[torch.Tensor] = []

        def keep(found: torch.Tensor) -> torch.Tensor:
            seen.append(found)
            return found

        begins = stream.length == 0 and self.reader.prepend_bos
        logits = stream.read(ids, Edit(self.reader.at, keep))
        values = self.reader.latent(seen[0], feature)[0].tolist()
        return logits, [0.0 if begins and place == 0 else one for place, one in enumerate(values)]


@dataclass
class _Run:
    """One text being written. push: None for the unsteered one."""

    made_by: ModelGeneration
    feature: int
    order: Order
    presence: Presence
    amount: float
    push: Push | None
    watch: Callable[[int], None]
    gate: ContinuationGate = field(default_factory=ContinuationGate)
    steps: list[Step] = field(default_factory=list)

    def write(self, kind: Kind, prompt: Sequence[int]) -> Written:
        """Write up to so many tokens after the prompt."""
        subject, order = self.made_by.reader.subject, self.order
        choose = Chooser(order.temperature, order.seed, len(subject.tokenizer))
        steered, plain = Stream(subject), Stream(subject)
        written: list[int] = []
        distributions: list[torch.Tensor] = []
        reference, values = self.made_by._follow(plain, prompt, self.feature)
        references, values = [reference[-1:]], []
        read = list(prompt)
        while len(written) < order.tokens:
            logits = steered.read(read, self._edit(not written))[-1]
            if not torch.isfinite(logits).all():
                raise SAEError(
                    f"Steering by {order.strength:g} typical maxima gave logits that are not finite "
                    f"in {subject.dtype}: lower the strength."
                )
            distributions.append(logits)
            written.append(choose(logits))
            read = written[-1:]
            self.watch(1)
            is_over = read[0] in ends(subject) or len(written) == order.tokens
            if is_over or len(written) % EVERY == 0:
                fresh = written[len(values) :]
                reference, found = self.made_by._follow(plain, fresh, self.feature)
                references.append(reference)
                values += found
                self._look(found, len(written))
            if is_over:
                break
        kl = _divergence(torch.stack(distributions), torch.cat(references)[: len(written)])
        return Written(
            kind=kind,
            pieces=self._pieces(prompt, written),
            activations=tuple(values),
            kl=kl if self.push else 0.0,
            steered=self.push is not None,
            steps=tuple(self.steps),
        )

    def _edit(self, begins: bool) -> Edit | None:
        push, amount = self.push, self.amount * self.gate.alpha
        if push is None:
            return None
        skip = int(self.made_by.reader.prepend_bos) if begins else 0

        def change(found: torch.Tensor) -> torch.Tensor:
            whole = found.float()
            added = push(whole, amount).expand(whole.shape).clone()
            added[:, :skip] = 0
            return (whole + added).to(found.dtype)

        return Edit(self.made_by.reader.written, change)

    def _look(self, values: Sequence[float], token: int) -> None:
        """Let the continuation gate see the last stretch, where there is one and it is whole."""
        if self.push is None or not self.order.gated or len(values) < EVERY:
            return
        presence = self.presence(max(values))
        # What it looks for is that steering has not done its work.
        self.gate = self.gate.after(presence if self.order.remove else 1 - presence)
        self.steps.append(Step(token, presence, self.gate.state, self.gate.alpha))

    def _pieces(self, prompt: Sequence[int], written: Sequence[int]) -> tuple[str, ...]:
        """The string of each token that was written, so that together they are the text.

        A character of several tokens stands with the last of them.
        """
        decode = self.made_by.reader.subject.tokenizer.decode
        how = {"clean_up_tokenization_spaces": False}
        before, pieces = str(decode(list(prompt), **how)), []
        for place in range(1, len(written) + 1):
            now = str(decode([*prompt, *written[:place]], **how))
            is_whole = not now.endswith("\ufffd") or place == len(written)
            pieces.append(now[len(before) :] if is_whole else "")
            before = now if is_whole else before
        return tuple(pieces)


def _divergence(steered: torch.Tensor, plain: torch.Tensor) -> float:
    """Mean KL(steered ‖ plain) of rows of logits, in nats."""
    first, second = steered.log_softmax(-1), plain.log_softmax(-1)
    return float((first.exp() * (first - second)).sum(-1).mean())
