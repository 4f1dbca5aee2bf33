"""Where the attention heads of one layer look, and which of them looks furthest from the trivial.

    python benchmarks/heads.py [--layer N] [--tokens N] [--json]

For each head of the layer (default 0): the mean share of attention that goes to the beginning of
sequence, to the token itself, to the one before it, and elsewhere, over tokens of
`builtin:english#held-out` (default 20,000, in windows of 128, BOS before each). The head that
`make circuits` trains an SAE on is the one with the most attention elsewhere: rules of keys and
queries can say something of such a head that a rule of single tokens cannot.
"""

from __future__ import annotations

import argparse
import json
from itertools import islice

import torch

from sagescope.sae.corpus import load_corpus
from sagescope.sae.subject import SubjectModel
from sagescope.sae.windows import tokenized

WINDOW = 127
KINDS = ("bos", "itself", "before", "elsewhere")


def main() -> None:
    asked = _arguments()
    subject = SubjectModel.load("smollm2-135m-instruct")
    shares = looked(subject, asked.layer, asked.tokens)
    best = int(shares[:, KINDS.index("elsewhere")].argmax())
    for head, row in enumerate(shares.tolist()):
        found = dict(zip(KINDS, row, strict=True))
        if asked.json:
            print(json.dumps({"layer": asked.layer, "head": head, "most": head == best, **found}))
        else:
            told = "  ".join(f"{kind} {share:.3f}" for kind, share in found.items())
            print(f"{asked.layer}.{head}  {told}{'  <- most elsewhere' if head == best else ''}")


def looked(subject: SubjectModel, layer: int, tokens: int) -> torch.Tensor:
    """Mean shares [heads, 4] of attention, in the order of KINDS; tokens are counted without BOS."""
    hook = f"blocks.{layer}.attn.hook_pattern"
    total, seen = torch.zeros(1), 0
    for ids in _windows(subject, tokens // WINDOW):
        patterns: list[torch.Tensor] = []
        with torch.inference_mode():
            subject.bridge.run_with_hooks(
                ids[None].to(subject.device),
                return_type=None,
                stop_at_layer=layer + 1,
                fwd_hooks=[(hook, lambda made, hook, kept=patterns: kept.append(made[0].float()))],
            )
        pattern = patterns[0][:, 1:]  # [heads, queries, keys]: BOS asks nothing
        bos = pattern[:, :, 0].sum(1)
        itself = pattern[:, :, 1:].diagonal(dim1=1, dim2=2).sum(1)
        before = pattern[:, 1:, 1:-1].diagonal(dim1=1, dim2=2).sum(1)
        rest = pattern.sum((1, 2)) - bos - itself - before
        total = total + torch.stack([bos, itself, before, rest], 1).cpu()
        seen += pattern.shape[1]
    return total / seen


def _windows(subject: SubjectModel, count: int):
    """`count` windows of BOS and WINDOW tokens each, from documents that are long enough."""

    def all_windows():
        for _, found in tokenized(load_corpus("builtin:english#held-out"), subject):
            for start in range(0, len(found.ids) - WINDOW + 1, WINDOW):
                yield torch.tensor([subject.bos_id, *found.ids[start : start + WINDOW]])

    return islice(all_windows(), count)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--layer", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
