"""The peak memory of collecting, at a small and a large corpus.

    python benchmarks/memory.py [TOKENS ...] [SAE] [--json]

Each size (default 250,000 and 2,000,000 tokens of held-out English) is collected by a process of
its own, whose largest resident set (`ru_maxrss`) is printed, and beside it that of a process that
only loads the model and the SAE and runs one pass.

By default the SAE is a stand-in: random weights, but the demo's architecture, width and k, after block
1 instead of 19, so that two million tokens take minutes and not half an hour. What is kept of a token
is the same. SAE: a name or folder, as for `sagescope collect`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

SUBJECT = "smollm2-135m-instruct"
STAND_IN = "stand-in"
WIDTH, K, HOOK_POINT = 4608, 32, "blocks.1.hook_resid_post"


def main(sizes: list[int], sae_name: str) -> dict[str, float]:
    """Peak megabytes, by number of tokens; 0 tokens is what loading takes."""
    peaks = {tokens: _child(tokens, sae_name) for tokens in (0, *sizes)}
    found = {f"{tokens:,} tokens, MB": peak for tokens, peak in peaks.items()}
    found["largest / smallest corpus"] = peaks[max(sizes)] / peaks[min(sizes)]
    return found


def _child(tokens: int, sae_name: str) -> float:
    command = [sys.executable, __file__, "--child", str(tokens), sae_name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.splitlines()[-1])


def _collect(tokens: int, sae_name: str) -> float:
    from sagescope.sae.collect import collect
    from sagescope.sae.corpus import load_corpus
    from sagescope.sae.encoder import LatentReader
    from sagescope.sae.subject import SubjectModel

    reader = LatentReader(SubjectModel.load(SUBJECT), _sae(sae_name))
    reader.run([tuple(range(1, reader.room + 1))] * 8)
    if tokens:
        corpus = load_corpus("builtin:english#held-out")
        with tempfile.TemporaryDirectory() as folder:
            evidence = collect(reader, corpus, tokens, Path(folder))
            evidence.reader("explainer").split("explain").stats(0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _sae(name: str):
    from sagescope.sae.loading import load_sae

    if name != STAND_IN:
        return load_sae(name)
    import torch
    from sae_lens import TopKSAE, TopKSAEConfig

    torch.manual_seed(0)
    sae = TopKSAE(TopKSAEConfig(d_in=576, d_sae=WIDTH, k=K, device="cpu", dtype="float32"))
    torch.nn.init.normal_(sae.W_enc)
    sae.cfg.metadata.hook_name = HOOK_POINT
    sae.cfg.metadata.context_size = 128
    sae.cfg.metadata.prepend_bos = True
    with tempfile.TemporaryDirectory() as folder:
        sae.save_model(folder)
        return load_sae(folder)


if __name__ == "__main__":
    if "--child" in sys.argv:
        print(_collect(int(sys.argv[2]), sys.argv[3]))
    else:
        words = [word for word in sys.argv[1:] if not word.startswith("--")]
        numbers = [int(word.replace("_", "")) for word in words if word[0].isdigit()]
        names = [word for word in words if not word[0].isdigit()]
        figures = main(numbers or [250_000, 2_000_000], names[0] if names else STAND_IN)
        if "--json" in sys.argv:
            print(json.dumps(figures))
        else:
            for name, value in figures.items():
                print(f"{name:30} {value:12,.2f}")
