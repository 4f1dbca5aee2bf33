"""The transcoder: other activations out than in, and nothing that only suits an autoencoder."""

import pytest
import torch

from sagescope.sae.architectures.transcoder import TrainingTranscoder, TranscoderTrainingConfig
from sagescope.sae.errors import SAEError

SEEDS = range(3)


@pytest.mark.parametrize(
    "settings",
    [{"normalize_activations": "layer_norm"}, {"apply_b_dec_to_input": True}],
)
def test_what_only_suits_an_autoencoder_is_refused(settings):
    with pytest.raises(SAEError, match="makes other activations than it reads"):
        TranscoderTrainingConfig(d_in=12, d_out=8, d_sae=40, **settings)


def test_it_reads_one_width_and_makes_another():
    coder = TrainingTranscoder(TranscoderTrainingConfig(d_in=12, d_out=8, d_sae=40, k=4))
    assert coder(torch.randn(5, 12)).shape == (5, 8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("seed", SEEDS)
def test_planted_features_are_read_in_one_space_and_written_in_another(seed):
    from benchmarks.architectures import transcoder

    found = transcoder.figures(seed)
    assert found["explained variance"] >= found["explained variance, linear map"] + 0.1
    assert found["directions written, matched cosine"] >= 0.8
