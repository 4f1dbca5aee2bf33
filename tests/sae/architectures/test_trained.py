"""From one command's settings to features that can be read: each architecture on a tiny model."""

import dataclasses
import json

import pytest
import tiny
import torch
from sae_lens import SAE

from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import SAEError
from sagescope.sae.loading import load_sae
from sagescope.sae.training import TrainSettings
from sagescope.sae.training.run import train
from sagescope.sae.training.stream import ActivationStream

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

MLP = {"hook_point": "blocks.1.mlp.hook_in", "hook_point_out": "blocks.1.hook_mlp_out"}

#: Architecture, settings that differ, and what it is saved as.
CASES = [
    ("tsae", {}, "jumprelu"),
    ("tsae", {"options": {"positive": "random_earlier", "similarity": "cosine"}}, "jumprelu"),
    ("vsae", {}, "topk"),
    ("vsae", {"options": {"variance": "learned"}}, "topk"),
    ("gsae", {"options": {"graph_coefficient": "0.5"}}, "standard"),
    ("transcoder", MLP, "jumprelu_transcoder"),
]


@pytest.fixture
def settings(llama, tmp_path):
    texts = tmp_path / "some.txt"
    texts.write_text("\n\n".join(tiny.sentences(40)))
    return TrainSettings(
        subject=str(llama),
        hook_point="blocks.1.hook_resid_post",
        corpus=str(texts),
        width=64,
        k=4,
        tokens=64 * 30,
        context=32,
        batch=64,
        buffer=512,
        checkpoints=0,
    )


@pytest.mark.parametrize(("arch", "changes", "saved_as"), CASES)
def test_what_is_trained_is_loaded_by_saelens_and_read(
    arch, changes, saved_as, settings, subject, tmp_path
):
    folder = train(
        dataclasses.replace(settings, arch=arch, **changes), tmp_path / "trained", progress=False
    )
    assert SAE.load_from_disk(str(folder)).cfg.architecture() == saved_as
    reader = LatentReader(subject, load_sae(str(folder)))
    found = reader.run([tuple(range(5, 25))])
    assert 0 < len(found.values) < 20 * 64
    assert reader.written.name == changes.get("hook_point_out", settings.hook_point)


@pytest.mark.parametrize(("options", "soft"), [({}, 12), ({"soft_steps": "5"}, 5)])
def test_a_schedule_is_as_long_as_the_training_unless_it_is_set(options, soft, settings, tmp_path):
    settings = dataclasses.replace(settings, arch="binary_topk", options=options)
    folder = train(settings, tmp_path / "trained", progress=False)
    found = json.loads((folder / "resolved.json").read_text())["sae"]
    assert (found["soft_steps"], found["cooling_steps"]) == (soft, 18)


def test_a_transcoder_needs_what_it_makes(settings):
    with pytest.raises(SAEError, match="hook_point_out"):
        dataclasses.replace(settings, arch="transcoder").check()


class Numbered:
    """Windows whose activations say where they are: [window, place]."""

    passes = 0

    def read(self, skip):
        number = skip
        while True:
            group = []
            for _ in range(16):
                length = 2 + number % 9
                places = torch.arange(length).float()
                group.append(torch.stack([torch.full_like(places, number), places], dim=-1))
                number += 1
            yield group


@pytest.mark.parametrize("positive", ["previous", "random_earlier"])
def test_pairs_are_of_one_window_and_in_order(positive, settings):
    settings = dataclasses.replace(settings, arch="tsae", options={"positive": positive})
    torch.manual_seed(0)
    stream = iter(ActivationStream(Numbered(), settings))
    tokens, earlier = torch.cat([next(stream) for _ in range(8)], dim=0).view(8, 2, 64, 2).unbind(1)
    apart = (tokens - earlier).flatten(0, 1)
    assert (apart[:, 0] == 0).all()
    assert (apart[:, 1] >= 1).all()
    assert (apart[:, 1] > 1).any() == (positive == "random_earlier")
