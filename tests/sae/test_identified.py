"""The report on real SAEs of a real, tiny model."""

import json

import pytest
import tiny
import torch

from sagescope.sae.corpus import corpus_of
from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import CorpusError
from sagescope.sae.identified import identify
from sagescope.sae.loading import LoadedSAE


def test_a_latent_and_its_copy_are_told_of(subject, corpus):
    sae = tiny.make_sae("standard", features=24)
    with torch.no_grad():
        sae.W_enc[:, 1], sae.b_enc[1] = sae.W_enc[:, 0], sae.b_enc[0]
    readers = [
        LatentReader(subject, LoadedSAE("copied", sae)),
        LatentReader(subject, LoadedSAE("other", tiny.make_sae("topk", features=24, k=3))),
    ]
    copied, other = identify(readers, corpus, 800, ["a", "a"])
    pairs = {(pair.a, pair.b): pair for pair in copied.support.pairs}
    assert pairs[0, 1].overlap == pytest.approx(1)
    assert copied.tokens == other.tokens >= 800
    assert other.support.l0 <= 3
    assert copied.stability.others == 1
    row = json.loads(json.dumps(copied.as_json()))
    assert {"a", "b", "overlap", "turn", "ambiguous"} <= row["support"]["pairs"][0].keys()


def test_no_text(reader):
    with pytest.raises(CorpusError, match="no text to look at"):
        identify([reader], corpus_of([]))
