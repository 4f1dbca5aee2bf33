"""Binary codes against TopK, where features are on or off, and where they have magnitudes.

64 features in 32 dimensions, four of which fire at a time: with magnitude 1 ("binary data") or one
from .3 to 2 ("continuous data"). F1, precision and the matching of latents to features are those of
`sae_lens.synthetic`. "precision, lowest" is the precision of the weakest quarter of each latent's
firings; of codes that are 0 or 1, of all its firings.

TopK has SAELens's AuxK for dead latents, and is printed without it, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from sae_lens.registry import get_sae_training_class
from sae_lens.synthetic import FeatureDictionary
from sae_lens.synthetic.evals import compute_classification_metrics
from sae_lens.util import cosine_similarities

from .planted import explained_variance, fit

FEATURES, WIDE, FIRING = 64, 32, 4
DATA = {"binary data": (1.0, 1.0), "continuous data": (0.3, 2.0)}
RIVALS: dict[str, dict[str, Any]] = {
    "topk": {"k": FIRING},
    "topk, none revived": {"k": FIRING, "aux_loss_coefficient": 0.0},
    "binary_topk": {"k": FIRING},
}
STEPS, BATCH, LR = 2500, 256, 3e-3
#: A latent is dead, for TopK's AuxK and for binary_topk alike, that was silent for so many steps.
DEAD_AFTER = 30


def figures(seed: int) -> dict[str, float]:
    """The figures that this module's docstring names, for a seed."""
    found: dict[str, float] = {}
    truth = FeatureDictionary(FEATURES, WIDE, seed=seed).feature_vectors.detach()
    for kind, (low, high) in DATA.items():

        def draw(count: int, low: float = low, high: float = high) -> torch.Tensor:
            places = torch.rand(count, FEATURES).topk(FIRING).indices
            sizes = low + (high - low) * torch.rand(count, FIRING)
            return torch.zeros(count, FEATURES).scatter(1, places, sizes)

        for name, options in RIVALS.items():
            torch.manual_seed(seed)
            sae = fit(
                _new(name.partition(",")[0], options),
                lambda draw=draw: draw(BATCH) @ truth,
                steps=STEPS,
                batch=BATCH,
                lr=LR,
                dead_after=DEAD_AFTER,
            )
            acts = draw(20_000)
            measured = {**dict(_measured(sae, acts, truth))}
            found |= {f"{kind}: {name}, {figure}": value for figure, value in measured.items()}
    return found


def _new(name: str, options: dict[str, Any]) -> Any:
    """An SAE whose schedule, if it has one, is of STEPS: as `sagescope train` makes it."""
    sae_class, config_class = get_sae_training_class(name)
    if hasattr(config_class, "by_steps"):
        options = config_class.by_steps(STEPS) | options
    return sae_class(config_class(d_in=WIDE, d_sae=FEATURES, **options))


@torch.no_grad()
def _measured(sae: Any, acts: torch.Tensor, truth: torch.Tensor) -> Iterator[tuple[str, float]]:
    rows = acts @ truth
    codes = sae.encode(rows)
    fires = (codes > 0).float()
    yield "unexplained", 1 - explained_variance(sae, rows)
    yield "f1", compute_classification_metrics(codes, acts, sae.W_dec, truth).f1_score
    quarters = precision_by_quarter(codes, acts, sae.W_dec, truth)
    yield "precision, lowest", quarters[0]
    yield "precision, highest", quarters[-1]
    yield "L0", float(fires.sum(-1).mean())
    yield "highest firing frequency", float(fires.mean(0).max())


def precision_by_quarter(
    codes: torch.Tensor, acts: torch.Tensor, decoder: torch.Tensor, truth: torch.Tensor
) -> list[float]:
    """How many firings are of the latent's feature, by quarter of its activation; latents' mean.

    Quarters of equal numbers of firings, the weakest first. codes: [n, latents]. acts: [n,
    features]. A latent's feature is the one its decoder row is nearest to.
    """
    match = cosine_similarities(decoder, truth).abs().argmax(1)
    found = []
    for latent in range(codes.shape[1]):
        on = codes[:, latent] > 0
        if on.sum() < 4:
            continue
        # Among firings that are alike, chance decides.
        order = (codes[on, latent] + 1e-6 * torch.rand(int(on.sum()))).argsort()
        right = (acts[on, match[latent]] > 0).float()[order]
        found.append([float(quarter.mean()) for quarter in right.tensor_split(4)])
    return torch.tensor(found).mean(0).tolist()
