"""One command trains an SAE of any kind; plain SAELens loads it, and a feature of it is explained.

Each step is a process of its own, as a user has it.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

MLP = ["--hook-point", "blocks.1.mlp.hook_in", "--hook-point-out", "blocks.1.hook_mlp_out"]
RESIDUAL = ["--hook-point", "blocks.1.hook_resid_post"]

#: What `--arch` is given, and what it is saved as.
KINDS = {
    "tsae": "jumprelu",
    "vsae": "topk",
    "binary_topk": "binary_topk",
    "binary_dense": "binary_dense",
    "binary_transcoder": "binary_transcoder",
    "aen": "standard",
    "spade": "spade",
    "gsae": "standard",
    "topk": "topk",
    "batchtopk": "jumprelu",
    "jumprelu": "jumprelu",
    "gated": "gated",
    "matryoshka": "jumprelu",
    "standard": "standard",
    "transcoder": "jumprelu_transcoder",
}

#: Loads with SAELens alone, and says of what kind it is and which latent fires most.
LOAD = """
import json, sys
import sagescope.sae
from sae_lens import SAE
import torch
sae = SAE.load_from_disk(sys.argv[1])
torch.manual_seed(0)
# Of any norm: which activations its model has is not known here.
rows = torch.nn.functional.normalize(torch.randn(1000, sae.cfg.d_in), dim=-1)
codes = sae.encode(torch.logspace(0, 3, 1000)[:, None] * rows)
fires = (codes != 0).float().mean(0)
print(json.dumps([sae.cfg.architecture(), int(fires.argmax()), float(fires.max())]))
"""


def python(*arguments: str, cwd: Path) -> str:
    """What a process prints that must end well."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("arch", KINDS)
def test_trained_loaded_and_explained(arch, tmp_path):
    subject = tiny.save_model(tmp_path / "tiny-llama")
    corpus = tmp_path / "some.txt"
    corpus.write_text("\n\n".join(tiny.sentences(200)))
    shared = ["--subject", str(subject), "--corpus", str(corpus)]
    sagescope = ["-m", "sagescope.experiments.cli"]
    python(
        *sagescope, "train", "mine", *shared, "--arch", arch, "--width", "64", "--k", "4",
        "--tokens", "6400", "--context", "32", "--batch", "64", "--buffer", "512",
        "--checkpoints", "1", *(MLP if arch.endswith("transcoder") else RESIDUAL),
        cwd=tmp_path,
    )  # fmt: skip
    for beside in ("train.json", "README.md", "cfg.json", "sae_weights.safetensors"):
        assert (tmp_path / "mine" / beside).exists()
    kind, feature, fires = json.loads(python("-c", LOAD, "mine", cwd=tmp_path).splitlines()[-1])
    assert kind == KINDS[arch]
    assert fires > 0
    explained = python(
        *sagescope, "explain", "--features", str(feature), *shared, "--sae", "mine",
        "--tokens", "4000", "--run", "one", "--no-score", "--json",
        cwd=tmp_path,
    )  # fmt: skip
    (line,) = [json.loads(line) for line in explained.splitlines() if line.startswith("{")]
    assert line["feature"].rpartition("/")[2] == str(feature)
    assert line["status"] != "failed"
    assert line["explanation"]
