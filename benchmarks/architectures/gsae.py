"""Graph-regularised SAE: a concept that is spread over two blocks of neurons that fire together.

Of 64 neurons two blocks of 12 share a factor each, so that they correlate; there are 40 sparse
features beside, and noise. The concept adds the same to every neuron of both blocks, in half of the
rows. The SAE (m = 128) sees few rows, again and again, as where every row is a prompt; its
direction for the concept is found from the same rows. Beside it stand a graph whose neurons are
shuffled, and the difference of means, which needs no SAE.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import planted

NEURONS, BLOCK, FEATURES, LATENTS = 64, 12, 40, 128
ROWS = 400
STEPS, BATCH, LR = 800, 100, 3e-3

COEFFICIENTS = (0.0, 0.1, 1.0)


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
        made = 0.5 * torch.randn(count, NEURONS, generator=draw)
        for block in range(2):
            shared = torch.randn(count, 1, generator=draw)
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
        found |= measured(f"coefficient {coefficient:g}", coefficient, graph, world, seed)
    found |= measured("shuffled graph", COEFFICIENTS[-1], graph[places][:, places], world, seed)
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
    return {
        f"{name}: graph energy": float(graph_energy(saved.W_dec, graph).mean()),
        f"{name}: cosine": float(concept_direction(saved, rows, labels) @ world.concept),
        f"{name}: explained variance": planted.explained_variance(saved, rows),
        f"{name}: L0": planted.l0(saved, rows),
    }
