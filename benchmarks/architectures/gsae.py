"""Graph-regularised SAE: a concept that is spread over two blocks of neurons that fire together.

Of 64 neurons two blocks of 12 share a factor each, so that they correlate; there are 40 sparse
features beside, and noise of .7 in each neuron. The concept adds the same to every neuron of both
blocks, in half of the rows. The SAE (m = 128) sees the same rows again and again, as where every
row is a prompt, and its direction for the concept is found from them. Beside it stand a graph whose
neurons are shuffled, and the difference of means, which needs no SAE.

`cosine` is of the direction by the weights of the paper's regression, `cosine by means` of that by
the means of the same latents' codes (`concept_direction`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import planted

NEURONS, BLOCK, FEATURES, LATENTS = 64, 12, 40, 128
ROWS, NOISE, SHARED = 2000, 0.7, 1.2
STEPS, BATCH, LR = 800, 100, 3e-3

COEFFICIENTS = (0.0, 0.1, 0.3)


@dataclass(frozen=True)
class World:
    """concept: its direction [NEURONS], of norm 1. features: the others' [FEATURES, NEURONS]."""

    concept: torch.Tensor
    features: torch.Tensor

    @classmethod
    def of(cls, seed: int) -> World:
        """Random features."""
        draw = torch.Generator().manual_seed(seed)
        features = torch.randn(FEATURES, NEURONS, generator=draw)
        concept = torch.zeros(NEURONS)
        concept[: 2 * BLOCK] = 1
        return cls(concept / concept.norm(), features / features.norm(dim=-1, keepdim=True))

    def draw(self, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows [count, NEURONS] and whether each has the concept [count]."""
        draw = torch.Generator().manual_seed(seed)
        labels = torch.rand(count, generator=draw) < 0.5
        made = NOISE * torch.randn(count, NEURONS, generator=draw)
        for block in range(2):
            shared = SHARED * torch.randn(count, 1, generator=draw)
            made[:, block * BLOCK : (block + 1) * BLOCK] += shared
        fires = torch.rand(count, FEATURES, generator=draw) < 0.1
        made += (2 * fires * torch.rand(count, FEATURES, generator=draw)) @ self.features
        return made + 2 * labels[:, None] * self.concept, labels


def figures(seed: int) -> dict[str, float]:
    """Graph energy of the decoder and cosine of the direction, by coefficient and graph."""
    from sagescope.sae.architectures.gsae import difference_of_means, neuron_graph

    world = World.of(seed)
    rows, labels = world.draw(ROWS, seed)
    graph = neuron_graph(rows)
    torch.manual_seed(seed)
    places = torch.randperm(NEURONS)
    found = {}
    for coefficient in COEFFICIENTS:
        name = f"coefficient {coefficient:g}"
        found |= measured(name, coefficient, graph, world, seed)
        if coefficient:
            other = graph[places][:, places]
            found |= measured(f"{name}, shuffled graph", coefficient, other, world, seed)
    of_means = difference_of_means(rows, labels)
    return found | {"difference of means: cosine": float(of_means @ world.concept)}


def measured(
    name: str, coefficient: float, graph: torch.Tensor, world: World, seed: int
) -> dict[str, float]:
    """The figures of one SAE that is trained with this graph."""
    from sagescope.sae.architectures.gsae import (
        GraphTrainingSAE,
        GraphTrainingSAEConfig,
        concept_direction,
        graph_energy,
    )

    rows, labels = world.draw(ROWS, seed)
    torch.manual_seed(seed)
    sae = GraphTrainingSAE(
        GraphTrainingSAEConfig(d_in=NEURONS, d_sae=LATENTS, graph_coefficient=coefficient)
    )
    sae.set_graph(graph)
    sae = planted.fit(
        sae, lambda: rows[torch.randint(len(rows), (BATCH,))], steps=STEPS, batch=BATCH, lr=LR
    )
    saved = planted.loaded(sae)
    by_weights, by_means = (
        concept_direction(saved, rows, labels, by=by) for by in ("weights", "means")
    )
    return {
        f"{name}: graph energy": float(graph_energy(saved.W_dec, graph).mean()),
        f"{name}: cosine": float(by_weights @ world.concept),
        f"{name}: cosine by means": float(by_means @ world.concept),
        f"{name}: explained variance": planted.explained_variance(saved, rows),
        f"{name}: L0": planted.l0(saved, rows),
    }
