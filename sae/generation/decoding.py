"""Writing token by token, with what was read before kept (the model's own key-value cache)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..subject import Edit, SubjectModel


class Stream:
    """One text in a model, read on from where it stands.

    edit: what changes while it reads. Hold the subject's `turn`.
    """

    def __init__(self, subject: SubjectModel):
        self.subject = subject
        self.length = 0
        self._cache: Any = None

    def read(self, ids: Sequence[int], edit: Edit | None = None) -> torch.Tensor:
        """Read on; next-token logits after each of these tokens: float32 [tokens, vocabulary]."""
        subject = self.subject
        row = torch.tensor([list(ids)], device=subject.device)
        how = {"past_key_values": self._cache, "use_cache": True}
        if edit is None:
            found: Any = subject.model(input_ids=row, **how)
        else:
            with edit.applied(subject.model):
                found = subject.model(input_ids=row, **how)
        self._cache = found.past_key_values
        self.length += len(ids)
        return found.logits[0].float()


class Chooser:
    """Chooses next tokens: the likeliest, or drawn. Texts with the same seed share their draws.

    size: rows of the vocabulary beyond it only pad it.
    """

    def __init__(self, temperature: float, seed: int, size: int):
        self.temperature, self.size = temperature, size
        self._draw = torch.Generator().manual_seed(seed)

    def __call__(self, logits: torch.Tensor) -> int:
        """The token after a distribution: [vocabulary]."""
        logits = logits[: self.size].cpu()
        if self.temperature <= 0:
            return int(logits.argmax())
        # Gumbel's way: equal draws choose equally wherever the distributions agree.
        noise = torch.rand(len(logits), generator=self._draw).clamp(1e-9, 1 - 1e-7)
        return int((logits / self.temperature - (-noise.log()).log()).argmax())


def plain(
    subject: SubjectModel, ids: Sequence[int], tokens: int, choose: Callable[[torch.Tensor], int]
) -> list[int]:
    """What the model writes after some tokens by itself, up to its end-of-text token."""
    stream, written, logits = Stream(subject), [], None
    with subject.turn, torch.inference_mode():
        for _ in range(tokens):
            logits = stream.read(ids if logits is None else written[-1:])
            written.append(choose(logits[-1]))
            if written[-1] in ends(subject):
                break
    return written


def ends(subject: SubjectModel) -> set[int]:
    """The tokens that end a text."""
    config: Any = getattr(subject.model, "generation_config", None)
    found = getattr(config, "eos_token_id", None)
    listed = found if isinstance(found, list) else [found]
    return {one for one in (*listed, subject.tokenizer.eos_token_id) if isinstance(one, int)}
