"""What a temporal SAE trains on: pairs of one document, in order, and never the BOS token."""

import itertools
import string
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagescope.sae.training import TrainSettings
from sagescope.sae.training.stream import ActivationStream
from sagescope.sae.training.windows import ModelWindows

BATCHES, BATCH = 3, 8

#: Documents of one letter each, so that a token says of which document it is; by their lengths.
lengths = st.lists(st.integers(20, 60), min_size=12, max_size=26)


class AsActivations:
    """A real subject whose activations [batch, seq, 2] say which token they are of, and where."""

    def __init__(self, subject):
        self._subject = subject

    def __getattr__(self, name):
        return getattr(self._subject, name)

    def activations(self, ids, at):
        places = torch.arange(ids.shape[1]).expand_as(ids)
        return torch.stack([ids, places], dim=-1).float()


def pairs_of(subject, texts, positive, context):
    """Pairs ((token, place), (token, place)), the later one first, as a training draws them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "some.txt")
        path.write_text("\n\n".join(texts))
        how = TrainSettings(
            subject="tiny",
            hook_point="blocks.1.hook_resid_post",
            corpus=str(path),
            arch="tsae",
            context=context,
            batch=BATCH,
            buffer=4 * BATCH,
            options={"positive": positive},
        )
        stream = ActivationStream(ModelWindows(AsActivations(subject), how), how)
        for rows in itertools.islice(iter(stream), BATCHES):
            later, earlier = rows.int().chunk(2)
            assert len(later) == len(earlier) == BATCH
            yield from zip(later.tolist(), earlier.tolist(), strict=True)


@pytest.mark.parametrize("positive", ["previous", "random_earlier"])
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lengths=lengths, context=st.integers(4, 20), seed=st.integers(0, 99))
def test_no_pair_crosses_documents_or_has_the_bos_token(positive, lengths, context, seed, subject):
    torch.manual_seed(seed)
    texts = [letter * n for letter, n in zip(string.ascii_lowercase, lengths, strict=False)]
    document = {
        token: number for number, row in enumerate(subject.tokenize(texts)) for token in row.ids
    }
    for (token, place), (before, place_before) in pairs_of(subject, texts, positive, context):
        assert document[token] == document[before]
        assert place_before >= 1, "the place of the BOS token"
        gap = place - place_before
        assert gap == 1 if positive == "previous" else 1 <= gap < context
