"""How fast evidence is collected, against what it could be.

    python benchmarks/collection.py [TOKENS] [SAE] [--json]

In one run, over the same TOKENS tokens (default 65,536) of held-out English, in the same batches:

- a plain float32 forward of the whole model, and the product with the encoder (on an eighth of the
  tokens: it is slow);
- the bare forward that a hook stops at the hook point, in the dtype of this machine;
- the bare product of its activations with the encoder's matrix, in float32;
- `collect`, with all it does: splitting, tokenising, both of the above, the sparse activations of
  all latents, writing, and the figures of all features;
- one small call of `SubjectModel.activations` against a hand-written hook.

Rates are tokens a second. SAE: a name, folder or release (default: the first that comes with
Sagescope), on the built-in subject model.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch

from sagescope.sae.collect import collect
from sagescope.sae.corpus import Corpus, corpus_of, load_corpus
from sagescope.sae.encoder import TOKENS_PER_PASS, LatentReader
from sagescope.sae.loading import load_sae, pretrained_names
from sagescope.sae.subject import SubjectModel
from sagescope.sae.windows import batches, cut

SUBJECT = "smollm2-135m-instruct"


def main(tokens: int, sae_name: str) -> dict[str, float]:
    """Every figure, by name."""
    reader = LatentReader(SubjectModel.load(SUBJECT), load_sae(sae_name))
    corpus = _text(reader, tokens)
    passes = _passes(reader, corpus, tokens)
    real = sum(len(row) for rows in passes for row in rows)
    weights = reader.sae.module.W_enc.detach()

    found = {"tokens": float(real)}
    bare = _bare(reader, passes)
    found["bare stopped forward"] = real / bare
    found["encoder product"] = real / _product(reader, passes, weights)
    few = passes[: max(1, len(passes) // 8)]
    few_tokens = sum(len(row) for rows in few for row in rows)
    found["plain float32 whole forward"] = few_tokens / _plain(few, weights)
    with tempfile.TemporaryDirectory() as folder:
        seconds = _timed(lambda: collect(reader, corpus, tokens, Path(folder), progress=False))
    found["collect"] = real / seconds
    both = 1 / (1 / found["bare stopped forward"] + 1 / found["encoder product"])
    found["bare forward and product"] = both
    found["collect / bare forward and product"] = found["collect"] / both
    found["collect / plain float32"] = found["collect"] / found["plain float32 whole forward"]
    ours, hand = _small_calls(reader)
    found["small call, ms"] = 1000 * ours
    found["small call by hand, ms"] = 1000 * hand
    found["small call / by hand"] = ours / hand
    return found


def _text(reader: LatentReader, tokens: int) -> Corpus:
    """Held-out documents, read before the clock starts, that surely have so many tokens."""
    documents = islice(load_corpus("builtin:english#held-out"), 20 + tokens // 100)
    return corpus_of([document.text for document in documents])


def _passes(reader: LatentReader, corpus: Corpus, tokens: int) -> list[list[tuple[int, ...]]]:
    """The rows of each forward pass, as `collect` forms them from windows of the corpus."""
    rows = reader.subject.tokenize([document.text for document in corpus])
    windows = [window.ids for row in rows for window in cut(row.ids, 0, reader.room)]
    chosen: list[tuple[int, ...]] = []
    while sum(map(len, chosen)) < tokens and windows:
        chosen.append(windows.pop(0))
    groups = []
    for first in range(0, len(chosen), 64):
        some = chosen[first : first + 64]
        for group in batches([len(row) + 1 for row in some], TOKENS_PER_PASS):
            groups.append([some[place] for place in group])
    return groups


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@torch.inference_mode()
def _bare(reader: LatentReader, passes: list[list[tuple[int, ...]]]) -> float:
    inputs = [reader.padded(rows) for rows in passes]
    forward = _by_hand(reader)
    forward(inputs[0])
    return _timed(lambda: [forward(ids) for ids in inputs])


class _Stop(Exception):
    pass


def _by_hand(reader: LatentReader) -> Callable[[torch.Tensor], object]:
    """The least that reads activations: a forward hook that raises."""
    model, at = reader.subject.model, reader.at

    def stop(*_: object) -> None:
        raise _Stop

    def forward(ids: torch.Tensor) -> None:
        handle = model.get_submodule(at.module).register_forward_hook(stop)
        try:
            model.base_model(input_ids=ids, use_cache=False)
        except _Stop:
            pass
        finally:
            handle.remove()

    return forward


@torch.inference_mode()
def _product(
    reader: LatentReader, passes: list[list[tuple[int, ...]]], weights: torch.Tensor
) -> float:
    sizes = [sum(len(row) for row in rows) for rows in passes]
    inputs = torch.randn(max(sizes), weights.shape[0])
    _ = inputs @ weights
    return _timed(lambda: [inputs[:size] @ weights for size in sizes])


@torch.inference_mode()
def _plain(passes: list[list[tuple[int, ...]]], weights: torch.Tensor) -> float:
    subject = SubjectModel.load(SUBJECT, dtype="float32")

    def run(rows: list[tuple[int, ...]]) -> None:
        longest = max(len(row) for row in rows)
        ids = torch.tensor([[0, *row, *[0] * (longest - len(row))] for row in rows])
        hidden = subject.model(input_ids=ids, output_hidden_states=True).hidden_states[-1]
        _ = hidden.flatten(0, 1) @ weights

    run(passes[0])
    return _timed(lambda: [run(rows) for rows in passes])


@torch.inference_mode()
def _small_calls(reader: LatentReader, n: int = 30) -> tuple[float, float]:
    """Median seconds of a call with one row of 16 tokens: ours, and by hand; taken in turn."""
    ids, forward = torch.zeros(1, 16, dtype=torch.long), _by_hand(reader)
    ours, hand = [], []
    for _ in range(n):
        ours.append(_timed(lambda: reader.subject.activations(ids, reader.at)))
        hand.append(_timed(lambda: forward(ids)))
    return sorted(ours)[n // 2], sorted(hand)[n // 2]


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    numbers = [int(word.replace("_", "")) for word in words if word[0].isdigit()]
    names = [word for word in words if not word[0].isdigit()]
    figures = main((numbers or [65_536])[0], (names or pretrained_names())[0])
    if "--json" in sys.argv:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:40} {value:12,.2f}")
