"""From a subject model to its latents: trained, loaded by SAELens, read; small, on the real path."""

import pytest
import tiny

from sagescope.sae.encoder import LatentReader
from sagescope.sae.loading import load_sae
from sagescope.sae.subject import SubjectModel
from sagescope.sae.training import TrainSettings
from sagescope.sae.training.run import train

# SAELens's trainer speaks of its own deprecations, and autocast of the CPU's types.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SAVED_AS = {
    "aen": "standard",
    "binary_dense": "binary_dense",
    "binary_topk": "binary_topk",
    "binary_transcoder": "binary_transcoder",
    "spade": "spade",
}


@pytest.mark.parametrize("arch", SAVED_AS)
def test_trained_and_read(arch, llama, tmp_path):
    (tmp_path / "some.txt").write_text("\n\n".join(tiny.sentences(80)))
    to_transcode = {
        "hook_point": "blocks.1.mlp.hook_in",
        "hook_point_out": "blocks.1.hook_mlp_out",
    }
    settings = TrainSettings(
        subject=str(llama),
        corpus=str(tmp_path / "some.txt"),
        arch=arch,
        width=48,
        k=4,
        tokens=64 * 60,
        context=32,
        batch=64,
        buffer=512,
        **(
            to_transcode
            if arch == "binary_transcoder"
            else {"hook_point": "blocks.1.hook_resid_post"}
        ),
    )
    sae = load_sae(str(train(settings, tmp_path / "trained", progress=False)))
    assert sae.architecture == SAVED_AS[arch]
    assert sae.metadata.training_architecture == arch
    rows = [tuple(range(3, 30)), (5, 6, 7)]
    whole = LatentReader(SubjectModel.load(str(llama), dtype="float32"), sae).run(rows)
    assert len(whole.values)
    if arch.startswith("binary"):
        assert set(whole.values.tolist()) == {1.0}
    if arch == "spade":
        sums = tiny.dense(whole, sae.n_features).sum(-1)
        assert sums == pytest.approx(1, abs=1e-5)
    halved = LatentReader(SubjectModel.load(str(llama), dtype="bfloat16"), sae).run(rows)
    assert 0.5 < len(halved.values) / len(whole.values) < 2
