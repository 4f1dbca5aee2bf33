"""How well a subject model foretells texts (see `outputs.Losses`)."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence

import numpy as np
import torch

from .errors import TextError
from .subject import SubjectModel
from .windows import batches, pad

#: Padded tokens in one pass: logits of all of them are held at once.
TOKENS_PER_PASS = 512


class ModelLosses:
    """See `outputs.Losses`. Works in threads; its passes take turns with those of the host."""

    def __init__(self, subject: SubjectModel):
        self.subject = subject

    async def losses(self, prefix: str, texts: Sequence[str]) -> np.ndarray:
        """See Losses. A BOS token stands before the prefix."""
        return await asyncio.to_thread(self._losses, prefix, list(texts))

    @torch.inference_mode()
    def _losses(self, prefix: str, texts: list[str]) -> np.ndarray:
        subject = self.subject
        lead, *rows = [list(row.ids) for row in subject.tokenize([prefix, *texts])]
        lead = [subject.bos_id, *lead]
        room = subject.max_context - len(lead)
        for text, row in zip(texts, rows, strict=True):
            if not 0 < len(row) <= room:
                raise TextError(
                    f"A text to foretell must have from 1 to {room} tokens; {text[:60]!r} has "
                    f"{len(row)}."
                )
        found = np.zeros(len(rows))
        with subject.turn:
            seen = self._read(lead[:-1])
            for group in batches([len(row) for row in rows], TOKENS_PER_PASS):
                found[group] = self._after(seen, lead[-1], [rows[place] for place in group])
        return found

    def _read(self, ids: list[int]):
        """What the model keeps of a beginning that all texts share; None where there is none."""
        if not ids:
            return None
        row = torch.tensor([ids], device=self.subject.device)
        return self.subject.model.base_model(input_ids=row, use_cache=True).past_key_values

    def _after(self, seen, last: int, rows: list[list[int]]) -> np.ndarray:
        """Mean losses of rows after what was seen and its last token."""
        subject = self.subject
        ids = pad([[last, *row] for row in rows], last).to(subject.device)
        if seen is not None:
            seen = copy.deepcopy(seen)
            seen.batch_repeat_interleave(len(rows))
        logits = subject.model(input_ids=ids[:, :-1], past_key_values=seen).logits
        found = []
        # One row at a time: logits of all of them in float32 would not fit a cache.
        for row, wanted in zip(logits, rows, strict=True):
            of_row = row[: len(wanted)].float()
            told = of_row.gather(1, torch.tensor(wanted, device=of_row.device)[:, None])[:, 0]
            found.append(float((of_row.logsumexp(-1) - told).mean()))
        return np.array(found)
