"""Temporal SAE: topics that persist, among words that do not.

Each token has one of 10 topics, which stays with probability 23/24, and one of 40 words drawn by
Zipf's law: random directions in 48 dimensions, the topic's .6 as long as the word's. Rows have norm
√48 or so, as those of a training have. The same SAE (m = 80, h = 20, k = 4) is
trained without the contrastive term, with it, and with it where the earlier tokens are of others.

Which topics an SAE happens on hangs on where it starts, by some .1 of the probe. So each rival is
trained from a few starts, which are the same for all three, and figures are means over them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import planted

WIDTH, TOPICS, WORDS = 48, 10, 40
SWITCH = 1 / 24
TOPIC, SCALE = 0.6, 6.0
LATENTS, HIGH_LEVEL, K = 80, 20, 4
STEPS, BATCH, LR = 1500, 128, 3e-3
STARTS = 2

#: Rivals: alpha, and whether pairs are shuffled.
RIVALS = {"without": (0.0, False), "with": (1.0, False), "shuffled": (1.0, True)}


@dataclass(frozen=True)
class World:
    """The directions of topics [TOPICS, d] and words [WORDS, d], and how often each word comes."""

    topics: torch.Tensor
    words: torch.Tensor
    share: torch.Tensor

    @classmethod
    def of(cls, seed: int) -> World:
        """Random directions."""
        draw = torch.Generator().manual_seed(seed)
        directions = torch.randn(TOPICS + WORDS, WIDTH, generator=draw)
        directions /= directions.norm(dim=-1, keepdim=True)
        share = 1 / torch.arange(1.0, WORDS + 1)
        return cls(directions[:TOPICS], directions[TOPICS:], share / share.sum())

    def texts(self, count: int, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Activations [count, length, d], topics and words [count, length]."""
        topic = torch.randint(TOPICS, (count, length))
        kept = torch.rand(count, length) > SWITCH
        for place in range(1, length):
            topic[:, place] = torch.where(kept[:, place], topic[:, place - 1], topic[:, place])
        word = torch.multinomial(self.share, count * length, replacement=True).view(count, length)
        strength = 0.75 + 0.5 * torch.rand(2, count, length, 1)
        made = TOPIC * strength[0] * self.topics[topic] + strength[1] * self.words[word]
        return SCALE * (made + 0.02 * torch.randn_like(made)), topic, word


def figures(seed: int) -> dict[str, float]:
    """What each rival reaches, as "rival: figure", and the least gain among the starts."""
    world = World.of(seed)
    found, probes = {}, {}
    for rival, (alpha, shuffled) in RIVALS.items():
        starts = [
            measured(trained(world, 100 * seed + start, alpha, shuffled), world)
            for start in range(STARTS)
        ]
        probes[rival] = [one["topic probe, high-level"] for one in starts]
        found |= {
            f"{rival}: {name}": sum(one[name] for one in starts) / STARTS for name in starts[0]
        }
    gains = [
        after - before for before, after in zip(probes["without"], probes["with"], strict=True)
    ]
    return found | {"least gain of a start": min(gains)}


def trained(world: World, start: int, alpha: float, shuffled: bool):
    """A temporal SAE of this world as it is loaded from disk. start: a seed."""
    from sagescope.sae.architectures.tsae import TemporalTrainingSAE, TemporalTrainingSAEConfig

    torch.manual_seed(start)
    sae = TemporalTrainingSAE(
        TemporalTrainingSAEConfig(
            d_in=WIDTH,
            d_sae=LATENTS,
            k=K,
            high_level_fraction=HIGH_LEVEL / LATENTS,
            alpha=alpha,
        )
    )

    def pairs() -> torch.Tensor:
        rows, _, _ = world.texts(BATCH, 2)
        earlier = rows[:, 0]
        return torch.cat([rows[:, 1], earlier[torch.randperm(BATCH)] if shuffled else earlier])

    return planted.loaded(planted.fit(sae, pairs, steps=STEPS, batch=BATCH, lr=LR))


@torch.no_grad()
def measured(sae, world: World) -> dict[str, float]:
    """Figures on texts of this world that no SAE was trained on."""
    torch.manual_seed(1000)
    rows, topic, word = world.texts(100, 40)
    flat = rows.flatten(0, 1)
    codes = sae.encode(flat)
    high, low = codes[:, :HIGH_LEVEL], codes[:, HIGH_LEVEL:]
    return {
        "explained variance": planted.explained_variance(sae, flat),
        "L0": planted.l0(sae, flat),
        "topic probe, high-level": probe(high, topic.flatten()),
        "topic probe, low-level": probe(low, topic.flatten()),
        "word probe, high-level": probe(high, word.flatten()),
        "smoothness, high-level": smoothness(high.view(*rows.shape[:2], -1), rows),
    }


def probe(codes: torch.Tensor, labels: torch.Tensor) -> float:
    """Accuracy of a linear probe on the second half of codes [n, h], fitted on the first."""
    from sklearn.linear_model import RidgeClassifier

    half = len(codes) // 2
    fitted = RidgeClassifier().fit(codes[:half].numpy(), labels[:half].numpy())
    return float(fitted.score(codes[half:].numpy(), labels[half:].numpy()))


def smoothness(codes: torch.Tensor, rows: torch.Tensor) -> float:
    """The paper's S of codes [texts, tokens, h] of rows [texts, tokens, d]; lower is smoother.

    The largest change of a latent between two tokens, over how far those tokens are apart; the mean
    over the latents that fire in a text, and over texts.
    """
    change = codes.diff(dim=1).abs() / rows.diff(dim=1).norm(dim=-1, keepdim=True)
    largest, fires = change.amax(1), (codes > 0).any(1)
    return float(((largest * fires).sum(-1) / fires.sum(-1).clamp_min(1)).mean())
