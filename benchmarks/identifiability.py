"""What the identifiability report says where it is known which features can be found.

    python benchmarks/identifiability.py [--seeds N] [--json]

Three kinds of planted data in SAELens's synthetic toolkit, the same directions in each (48 features in
32 dimensions): *sparse*, any four features of a row; *paired*, two of 24 pairs that always fire
together, each feature with a magnitude of its own; *Gaussian*, where every direction is as good as
any other. That takes directions that are spread evenly, as SAELens makes them by default: between
random ones, Gaussian data lie more along some than along others, and SAEs of two seeds agree on these
(.56, where random dictionaries reach .39). For each kind, two TopK SAEs of different seeds are trained,
and printed are the variance they leave unexplained, how alike they are to the truth and to each other,
the floor of random dictionaries, and the tied pairs that were found.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np

FEATURES, WIDTH, ACTIVE = 48, 32, 4
STEPS, BATCH, LR = 1000, 256, 6e-3
MEASURED = 20_000
KINDS = ("sparse", "paired", "Gaussian")


@dataclass(frozen=True)
class Found:
    """What was measured on one kind of data. truth: of each SAE; planted: tied pairs of features.

    found: how many of these the tied latents of the first SAE stand for. precision: the share of its
    tied pairs of latents that stand for one. two: planted pairs for which the SAE has two latents or
    more that fire often enough to be looked at; a pair with one latent cannot be found as a tie.
    """

    kind: str
    unexplained: float
    truth: float
    alike: float
    floor: float
    pairs: int
    found: int
    two: int
    precision: float
    ambiguous: int


def figures(kind: str, seed: int) -> Found:
    """Train two SAEs on one kind of data, and measure."""
    import torch
    from sae_lens.synthetic import FeatureDictionary
    from scipy.sparse import csc_array

    from sagescope.sae.evaluation.stability import mean_correlation, random_floor
    from sagescope.sae.identifiability import LEAST, Support

    world = FeatureDictionary(FEATURES, WIDTH, seed=seed)
    features = _features(kind)
    saes = [_trained(world, features, 100 * seed + start) for start in (1, 2)]
    decoders = [sae.W_dec.detach().numpy() for sae in saes]
    truth = world.feature_vectors.detach().numpy()
    torch.manual_seed(seed)
    with torch.no_grad():
        true = features(MEASURED)
        rows = world(true)
        codes = saes[0].encode(rows)
        left = float((saes[0].decode(codes) - rows).square().sum())
    support = Support.of(csc_array(codes.numpy()), decoders[0])
    stands_for = _planted_pairs(codes, true)
    right = [
        int(stands_for[one.a]) for one in support.pairs if stands_for[one.a] == stands_for[one.b]
    ]
    often = np.bincount(stands_for[((codes != 0).sum(0) >= LEAST).numpy() & (stands_for >= 0)])
    return Found(
        kind=kind,
        unexplained=left / float((rows - rows.mean(0)).square().sum()),
        truth=float(np.mean([mean_correlation(decoder, truth) for decoder in decoders])),
        alike=mean_correlation(*decoders),
        floor=random_floor(FEATURES, FEATURES, WIDTH, seed),
        pairs=len(support.pairs),
        found=len(set(right)) if kind == "paired" else 0,
        two=int((often >= 2).sum()) if kind == "paired" else 0,
        precision=len(right) / max(1, len(support.pairs)) if kind == "paired" else 0.0,
        ambiguous=sum(pair.ambiguous for pair in support.pairs),
    )


def _features(kind: str) -> Any:
    """Draws what the features do: n → [n, FEATURES]. ACTIVE of them fire on each row, or all."""
    import torch

    if kind == "Gaussian":
        return lambda n: torch.randn(n, FEATURES)
    size = 2 if kind == "paired" else 1

    def draw(n: int) -> Any:
        groups = torch.rand(n, FEATURES // size).topk(ACTIVE // size).indices
        fires = torch.zeros(n, FEATURES // size).scatter(1, groups, 1.0)
        return fires.repeat_interleave(size, 1) * (0.25 + 1.5 * torch.rand(n, FEATURES))

    return draw


def _trained(world: Any, features: Any, seed: int) -> Any:
    """A TopK SAE on that data, by Adam alone: at this size SAELens's trainer is mostly overhead."""
    import torch
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.saes.sae import TrainStepInput

    torch.manual_seed(seed)
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=WIDTH, d_sae=FEATURES, k=ACTIVE))
    adam = torch.optim.Adam(sae.parameters(), lr=LR)
    falling = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.05, STEPS)
    for step in range(STEPS):
        with torch.no_grad():
            rows = world(features(BATCH))
        given = TrainStepInput(rows, {}, None, step, False)
        sae.training_forward_pass(given).loss.backward()
        adam.step()
        adam.zero_grad()
        falling.step()
    return sae.eval()


def _planted_pairs(codes: Any, true: Any) -> np.ndarray:
    """For each latent the planted pair on whose tokens most of its energy is; -1 - latent without one."""
    fires = (true[:, ::2] != 0).float()
    energy = codes.square()
    share = (energy.T @ fires) / energy.sum(0).clamp(min=1e-12)[:, None]
    most, pair = share.max(1)
    return np.where((most > 0.5).numpy(), pair.numpy(), -1 - np.arange(len(pair)))


def main(seeds: int, as_json: bool) -> None:
    """Print a line for each kind of data and seed."""
    if not as_json:
        print("  ".join(f"{head:>11}" for head in ("seed", *Found.__dataclass_fields__)))
    for seed, kind in product(range(seeds), KINDS):
        row = figures(kind, seed)
        if as_json:
            print(json.dumps({"seed": seed, **asdict(row)}))
            continue
        values = [seed, *asdict(row).values()]
        shown = [f"{value:.3f}" if isinstance(value, float) else str(value) for value in values]
        print("  ".join(f"{one:>11}" for one in shown), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    main(given.seeds, given.json)
