"""The graph-regularised SAE: the graph that it sees, and the energy that falls."""

import itertools

import pytest
import torch
from sae_lens.saes.sae import TrainStepInput

from sagescope.sae.architectures.gsae import (
    GraphTrainingSAE,
    GraphTrainingSAEConfig,
    concept_direction,
    difference_of_means,
    graph_energy,
    neuron_graph,
)
from sagescope.sae.errors import SAEError

SEEDS = range(3)


def graphed(**settings):
    torch.manual_seed(0)
    return GraphTrainingSAE(GraphTrainingSAEConfig(d_in=6, d_sae=20, **settings))


def blocks(count):
    """Rows [count, 6]: neurons 0, 1, 2 go together, 3 and 4 too, 5 alone; with large means."""
    torch.manual_seed(1)
    shared = torch.randn(count, 2)
    rows = torch.cat([shared[:, [0, 0, 0]], shared[:, [1, 1]], torch.randn(count, 1)], dim=-1)
    return rows + 0.1 * torch.randn(count, 6) + torch.tensor([50.0, 40, 30, 20, 10, 60])


def step(sae, rows):
    coefficients = {"l1": 0.5, "graph": sae.cfg.graph_coefficient}
    return sae.training_forward_pass(TrainStepInput(rows, coefficients, None, 0, False))


def test_neurons_that_fire_together_are_joined_whatever_their_means():
    joined = neuron_graph(blocks(2000)) - torch.eye(6) != 0
    wanted = torch.zeros(6, 6).bool()
    wanted[:3, :3] = wanted[3:5, 3:5] = True
    assert torch.equal(joined, wanted & ~torch.eye(6).bool())


def test_energy_is_a_rayleigh_quotient():
    laplacian = neuron_graph(blocks(2000))
    values = torch.linalg.eigvalsh(laplacian)
    assert values.min() > -1e-5
    assert values.max() <= 2
    smooth, rough = torch.tensor([[1.0, 1, 1, 0, 0, 0], [1, -1, 0, 0, 0, 0]])
    of_smooth, of_rough, longer = graph_energy(
        torch.stack([smooth, rough, 9 * rough]), laplacian
    ).tolist()
    assert of_smooth == pytest.approx(0, abs=0.01)
    assert of_rough == pytest.approx(longer)
    assert of_rough > 1


def test_the_graph_is_of_the_first_rows():
    sae, rows = graphed(graph_rows=96), blocks(128)
    for start in range(0, 128, 32):
        step(sae, rows[start : start + 32])
    torch.testing.assert_close(sae.graph, neuron_graph(rows[:96]), atol=1e-5, rtol=1e-5)


def test_the_penalty_is_the_mean_energy_times_the_width():
    sae = graphed(graph_coefficient=0.3)
    found = step(sae, blocks(64))
    energy = graph_energy(sae.W_dec, neuron_graph(blocks(64))).mean()
    torch.testing.assert_close(found.losses["graph_loss"], 6 * 0.3 * energy, atol=1e-4, rtol=1e-4)


def test_a_graph_that_was_given_stays():
    sae = graphed()
    sae.set_graph(torch.eye(6))
    step(sae, blocks(64))
    assert torch.equal(sae.graph, torch.eye(6))


def test_a_graph_of_other_neurons_is_refused():
    with pytest.raises(SAEError, match="over 6 neurons"):
        graphed().set_graph(torch.eye(5))


def test_whitened_activations_have_no_graph():
    with pytest.raises(SAEError, match="Whitened"):
        graphed(normalize_activations="covariance_whitening")


def test_a_planted_concept_is_found():
    torch.manual_seed(0)
    sae = graphed()
    labels = torch.rand(400) < 0.5
    concept = torch.tensor([1.0, 1, 0, 0, 0, 0]) / 2**0.5
    rows = torch.randn(400, 6) + 5 * labels[:, None] * concept
    assert difference_of_means(rows, labels) @ concept > 0.98
    for by in ("means", "weights"):
        direction = concept_direction(sae, rows, labels, by=by)
        assert direction.norm().item() == pytest.approx(1, abs=1e-5)
        assert direction @ concept > 0.7


def test_a_direction_does_not_hang_on_how_decoder_rows_are_scaled():
    torch.manual_seed(0)
    sae, rows = graphed().eval(), torch.randn(300, 6)
    labels = rows[:, 0] > 0
    wanted = {by: concept_direction(sae, rows, labels, by=by) for by in ("means", "weights")}
    with torch.no_grad():
        scale = 0.5 + torch.rand(20)
        sae.W_dec /= scale[:, None]
        sae.W_enc *= scale
        sae.b_enc *= scale
    for by, direction in wanted.items():
        torch.testing.assert_close(
            concept_direction(sae, rows, labels, by=by), direction, atol=1e-3, rtol=1e-3
        )


@pytest.fixture(scope="module")
def figures():
    from benchmarks.architectures import gsae

    return [gsae.figures(seed) for seed in SEEDS]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("seed", SEEDS)
class TestPlantedConcept:
    """A concept spread over neurons that fire together, on each seed."""

    def test_the_energy_falls_as_the_coefficient_grows(self, figures, seed):
        from benchmarks.architectures.gsae import COEFFICIENTS

        energies = [figures[seed][f"coefficient {value:g}: graph energy"] for value in COEFFICIENTS]
        assert all(more > less for more, less in itertools.pairwise(energies)), energies

    def test_the_direction_is_nearer(self, figures, seed):
        found = figures[seed]
        assert found["coefficient 0.3: cosine"] >= found["coefficient 0: cosine"] + 0.04

    def test_a_shuffled_graph_gives_nothing(self, figures, seed):
        found = figures[seed]
        shuffled = found["coefficient 0.3, shuffled graph: cosine"]
        assert shuffled <= found["coefficient 0: cosine"] + 0.01

    def test_the_difference_of_means_is_printed_beside(self, figures, seed):
        assert 0.9 < figures[seed]["difference of means: cosine"] <= 1
