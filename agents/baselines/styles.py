"""Styles of one-shot prompts: what each of the usual explainers shows of a feature.

Evidence is chosen and laid out as the named method does it; the wording is ours, and all styles ask
for the same answer. Only the `explain` split; every text from it is a JSON string on one line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...sae.evidence import Exemplar
from ...sae.visible import visible
from ..minds import exhibits
from ..notebook import Notebook

#: What a style shows: the variables of its template, `one-shot/STYLE.j2`.
Style = Callable[[Notebook], Mapping[str, Any]]

#: Bills et al. 2023: five records of 64 tokens; what is not zero is repeated where it is a fifth or less.
RECORDS, RECORD_TOKENS, SPARSE = 5, 64, 0.2
#: Neuronpedia: ten texts, 24 tokens on either side of the peak, ten promoted tokens.
TEXTS, AROUND, PROMOTED = 10, 24, 10
#: Delphi: 40 examples over ten quantiles, 32 tokens each; from .3 of the maximum on a token is marked.
EXAMPLES, QUANTILES, EXAMPLE_TOKENS, MARKED = 40, 10, 32, 0.3


@dataclass(frozen=True)
class Pairs:
    """One record: each token as a JSON string with its activation, 0 to 10."""

    pairs: tuple[tuple[str, int], ...]

    @property
    def active(self) -> tuple[tuple[str, int], ...]:
        """Those above zero, where they are few; else none, as they say nothing new."""
        found = tuple(pair for pair in self.pairs if pair[1])
        return found if len(found) <= SPARSE * len(self.pairs) else ()


def token_activation(notebook: Notebook) -> dict[str, Any]:
    """Top records as token–activation pairs, scaled by the highest activation among them.

    Bills et al. 2023, "Language models can explain neurons in language models"; on Neuronpedia
    `oai_token-act-pair`.
    """
    found = notebook.split.top(notebook.feature, RECORDS)
    highest = _highest(found)
    cuts = [_around(one, RECORD_TOKENS // 2, RECORD_TOKENS // 2 - 1) for one in found]
    return {
        "records": [
            Pairs(tuple((_quoted(token), _scaled(value, highest)) for token, value in cut))
            for cut in cuts
        ]
    }


def max_activation(notebook: Notebook) -> dict[str, Any]:
    """Top tokens, the tokens after them and top texts, beside which go the promoted tokens.

    Neuronpedia's `np_max-act-logits`.
    """
    found = notebook.split.top(notebook.feature, TEXTS)
    after = [one.tokens[one.peak + 1] for one in found if one.peak + 1 < len(one.tokens)]
    return {
        "tokens": [_quoted(one.tokens[one.peak].strip()) for one in found],
        "after": [_quoted(token.strip()) for token in after],
        "texts": [_quoted("".join(t for t, _ in _around(one, AROUND, AROUND))) for one in found],
    }


async def promoted(notebook: Notebook) -> list[str]:
    """The tokens that the feature promotes, as JSON strings; none for sources that know of none."""
    outputs = getattr(notebook.source, "outputs", None)
    if outputs is None:
        return []
    found = await outputs.promoted(notebook.feature, PROMOTED)
    return [_quoted(one.token) for one in found.promoted]


def quantiles(notebook: Notebook) -> dict[str, Any]:
    """Short examples, the same number from each quantile of activation, with their activations.

    Paulo et al. 2024, "Automatically interpreting millions of features in large language models"
    (Delphi), with its default numbers.
    """
    found = notebook.split.spread(notebook.feature, EXAMPLES, notebook.seed)
    highest = _highest(found)
    parts = np.array_split(np.arange(len(found)), min(QUANTILES, max(1, len(found))))
    cuts = [
        _around(one, EXAMPLE_TOKENS - EXAMPLE_TOKENS // 4, EXAMPLE_TOKENS // 4) for one in found
    ]
    return {"quantiles": [[_example(cuts[place], highest) for place in part] for part in parts]}


def contrastive(notebook: Notebook) -> dict[str, Any]:
    """Exactly what `sage` is shown in its first step: 45 windows, 40 of them over five bands of
    activation, and near misses. So what `sage` does better than this, its loop does.
    """
    return {
        "top": exhibits.top(notebook),
        "bands": exhibits.bands(notebook),
        "words": exhibits.words(notebook),
        "near_misses": exhibits.near_misses(notebook),
    }


#: Style by the name users type after `one-shot:`.
STYLES: dict[str, Style] = {
    "token-activation": token_activation,
    "max-activation": max_activation,
    "quantiles": quantiles,
    "contrastive": contrastive,
}


# -------------------------------------------------------------------- laying out


def _around(one: Exemplar, before: int, after: int) -> list[tuple[str, float]]:
    """Tokens around the peak, with their activations."""
    low = max(0, one.peak - before)
    high = one.peak + after + 1
    return list(zip(one.tokens[low:high], one.activations[low:high].tolist(), strict=True))


def _example(cut: Sequence[tuple[str, float]], highest: float) -> tuple[str, str]:
    """A text with <<marked>> tokens, and these with their activations."""
    marked = [value >= MARKED * highest > 0 for _, value in cut]
    text = "".join(f"<<{t}>>" if mark else t for (t, _), mark in zip(cut, marked, strict=True))
    active = [
        f"{_quoted(token)} {_scaled(value, highest)}"
        for (token, value), mark in zip(cut, marked, strict=True)
        if mark
    ]
    return _quoted(text), ", ".join(active)


def _highest(found: Sequence[Exemplar]) -> float:
    return max((float(one.activations.max(initial=0.0)) for one in found), default=0.0)


def _scaled(value: float, highest: float) -> int:
    return int(10 * max(0.0, value) / highest) if highest > 0 else 0


def _quoted(text: str) -> str:
    return json.dumps(visible(text), ensure_ascii=False)
