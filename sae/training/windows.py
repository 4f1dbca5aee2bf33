"""Windows of a corpus as activations, in an order that can be gone on with.

`ModelWindows` runs the subject model; `kept.KeptWindows` reads what was kept of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch

from ..corpus import load_corpus
from ..errors import CorpusError, SAEError
from ..hook_points import HookPoint
from ..splits import PARTS, part
from ..subject import Edit, SubjectModel
from ..windows import batches, cut, pad, tokenized
from .settings import TrainSettings

#: Shorter windows, in tokens, are left out: the end of a document is hardly a context.
SHORTEST = 8

#: Windows that are read at once.
GROUP = 256


class Windows(Protocol):
    """Activations of windows, again and again."""

    #: How often everything has been read through.
    passes: int

    def read(self, skip: int) -> Iterator[list[torch.Tensor]]:
        """Groups of windows [tokens, d], without BOS, endless; the first `skip` windows left out.

        d is the width of the hook point; of several, the sum of their widths.
        """
        ...


class ModelWindows:
    """Activations at hook points of a subject model, on the corpus's part for training.

    Windows of fewer than SHORTEST tokens are never read, nor counted.
    """

    def __init__(self, subject: SubjectModel, settings: TrainSettings):
        self.subject, self.settings = subject, settings
        names = (settings.hook_point, settings.hook_point_out)
        self.at = [subject.hook_point(name) for name in names if name is not None]
        self.passes = 0

    def read(self, skip: int = 0) -> Iterator[list[torch.Tensor]]:
        """As Windows. Raises CorpusError where no window is long enough."""
        bos = self.subject.bos_id
        for rows in self._groups(skip):
            found: dict[int, torch.Tensor] = {}
            for group in batches([len(row) for row in rows], budget=8 * self.settings.context):
                ids = pad([[bos, *rows[place]] for place in group], bos)
                made = self.activations(ids)
                found |= {p: made[i, 1 : len(rows[p]) + 1] for i, p in enumerate(group)}
            yield [found[place] for place in range(len(rows))]

    def activations(self, ids: torch.Tensor) -> torch.Tensor:
        """[batch, seq, d] of padded token ids [batch, seq], BOS included."""
        if len(self.at) == 1:
            return self._one_head(self.subject.activations(ids, self.at[0]))
        return torch.cat(_both(self.subject, ids, *self.at), dim=-1)

    def _one_head(self, found: torch.Tensor) -> torch.Tensor:
        head = self.settings.head
        if head is None:
            return found
        config = self.subject.model.config.get_text_config()
        width = (
            getattr(config, "head_dim", None) or self.subject.d_model // config.num_attention_heads
        )
        heads = found.shape[-1] // width
        if found.shape[-1] % width or not 0 <= head < heads:
            raise SAEError(
                f"{self.at[0].name} of {self.subject.id} has no head {head}: "
                f"{f'it has {heads}, numbered from 0' if heads > 1 else 'it is not made of heads'}."
            )
        return found[..., head * width : (head + 1) * width]

    def _groups(self, skip: int) -> Iterator[list[tuple[int, ...]]]:
        corpus = part(load_corpus(self.settings.corpus), "train", PARTS)
        room = self.settings.context - 1
        shortest = min(SHORTEST, room)
        number, group = 0, []
        while True:
            before = number
            for _, tokens in tokenized(corpus, self.subject):
                for window in cut(tokens.ids, 0, room):
                    if len(window.ids) < shortest:
                        continue
                    number += 1
                    if number <= skip:
                        continue
                    group.append(window.ids)
                    if len(group) == GROUP:
                        yield group
                        group = []
            if number == before:
                raise CorpusError(
                    f"{self.settings.corpus} gives no text to train on: none of its documents has "
                    f"{shortest} tokens or more. Give a corpus of longer documents."
                )
            self.passes += 1


def _both(
    subject: SubjectModel, ids: torch.Tensor, into: HookPoint, out_of: HookPoint
) -> list[torch.Tensor]:
    """Activations at two hook points of one pass, the second behind the first."""
    seen: list[torch.Tensor] = []

    def look(found: torch.Tensor) -> torch.Tensor:
        seen.append(found)
        return found

    with subject.turn, Edit(into, look).applied(subject.model):
        made = subject.activations(ids, out_of)
    return [seen[0], made]
