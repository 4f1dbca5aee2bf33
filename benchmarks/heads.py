"""Where the attention heads of one layer look, and how much there is in what they bring.

    python benchmarks/heads.py [--layer N] [--tokens N] [--json]

For each head of the layer (default 0), over tokens of `builtin:english#held-out` (default 20,000, in
windows of 128, BOS before each):

- the mean share of attention that goes to BOS, to the token itself, to the one before it, and elsewhere;
- of what it brings (`hook_z`), the share of the mean square that is not the mean, and the dimensions
  that the rest spreads over (participation ratio of the covariance's eigenvalues, (Σλ)² / Σλ²).

`make circuits` trains an SAE on the head of block 0 whose output spreads over the most dimensions: a
head that looks everywhere alike brings the same always, and leaves an SAE nothing to take apart.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
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
    windows = list(islice(_windows(subject), max(1, asked.tokens // WINDOW)))
    shares, brought = looked(subject, asked.layer, windows), read(subject, asked.layer, windows)
    spread = [(varies(one), dimensions(one)) for one in brought]
    best = max(range(len(spread)), key=lambda head: spread[head][1])
    for head, row in enumerate(shares.tolist()):
        found = {"layer": asked.layer, "head": head, **dict(zip(KINDS, row, strict=True))}
        found |= {"varies": spread[head][0], "dimensions": spread[head][1], "taken": head == best}
        print(json.dumps(found) if asked.json else _line(found))


def looked(subject: SubjectModel, layer: int, windows: list[torch.Tensor]) -> torch.Tensor:
    """Mean shares [heads, 4] of attention, in the order of KINDS; BOS itself asks nothing."""
    total, seen = torch.zeros(1), 0
    for ids in windows:
        patterns: list[torch.Tensor] = []
        with torch.inference_mode():
            subject.bridge.run_with_hooks(
                ids[None].to(subject.device),
                return_type=None,
                stop_at_layer=layer + 1,
                fwd_hooks=[
                    (
                        f"blocks.{layer}.attn.hook_pattern",
                        lambda made, hook, kept=patterns: kept.append(made[0].float()),
                    )
                ],
            )
        pattern = patterns[0][:, 1:]  # [heads, queries, keys]
        bos = pattern[:, :, 0].sum(1)
        itself = pattern[:, :, 1:].diagonal(dim1=1, dim2=2).sum(1)
        before = pattern[:, 1:, 1:-1].diagonal(dim1=1, dim2=2).sum(1)
        rest = pattern.sum((1, 2)) - bos - itself - before
        total = total + torch.stack([bos, itself, before, rest], 1).cpu()
        seen += pattern.shape[1]
    return total / seen


def read(subject: SubjectModel, layer: int, windows: list[torch.Tensor]) -> list[torch.Tensor]:
    """What each head brings: [tokens, d_head] a head."""
    at = subject.hook_point(f"blocks.{layer}.attn.hook_z")
    heads = subject.model.config.get_text_config().num_attention_heads
    found = [subject.activations(ids[None], at)[0, 1:].float().cpu() for ids in windows]
    return list(torch.cat(found).unflatten(1, (heads, -1)).unbind(1))


def varies(brought: torch.Tensor) -> float:
    """The share of the mean square that is not the mean's."""
    return 1 - float(brought.mean(0).square().sum() / brought.square().sum(1).mean())


def dimensions(brought: torch.Tensor) -> float:
    """Participation ratio of the eigenvalues of the covariance."""
    eigenvalues = torch.linalg.svdvals(brought - brought.mean(0)).square()
    return float(eigenvalues.sum() ** 2 / eigenvalues.square().sum())


def _line(found: dict) -> str:
    shares = "  ".join(f"{kind} {found[kind]:.3f}" for kind in KINDS)
    rest = f"varies {found['varies']:.3f}  dimensions {found['dimensions']:.1f}"
    return f"{found['layer']}.{found['head']}  {shares}  {rest}{'  <-' if found['taken'] else ''}"


def _windows(subject: SubjectModel) -> Iterator[torch.Tensor]:
    """Windows of BOS and WINDOW tokens each, of documents that are long enough."""
    for _, found in tokenized(load_corpus("builtin:english#held-out"), subject):
        for start in range(0, len(found.ids) - WINDOW + 1, WINDOW):
            yield torch.tensor([subject.bos_id, *found.ids[start : start + WINDOW]])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--layer", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
