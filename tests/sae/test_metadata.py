"""What SAEs say about themselves, and what no SAE can mean."""

import json

import pytest
import tiny

from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import SAEError
from sagescope.sae.loading import load_sae


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("context_size", "64"),
        ("context_size", 1),
        ("context_size", -5),
        ("context_size", True),
        ("hook_name", 5),
        ("hf_hook_name", ["x"]),
        ("hook_head_index", "x"),
        ("hook_head_index", -1),
        ("prepend_bos", "maybe"),
        ("model_name", {"a": 1}),
        ("model_from_pretrained_kwargs", ["center_writing_weights"]),
    ],
)
def test_what_makes_no_sense_is_named(name, value, tmp_path, subject):
    folder = tiny.edit_metadata(tiny.save_sae(tmp_path / "sae"), **{name: value})
    with pytest.raises(SAEError, match=f"metadata of sae makes no sense: {name}"):
        LatentReader(subject, load_sae(str(folder)))


def test_what_nobody_said_is_none_and_the_rest_is_kept(tmp_path):
    folder = tiny.save_sae(tmp_path / "sae", metadata={"made_by": [1, "us"]})
    metadata = load_sae(str(folder)).metadata
    assert metadata.hook_head_index is None
    assert metadata.model_dump()["made_by"] == [1, "us"]


@pytest.mark.parametrize("k", [7000, "a", -1, None])
def test_settings_that_no_encoder_can_have(k, tmp_path, subject):
    folder = tiny.save_sae(tmp_path / "sae")
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(config | {"k": k}))
    with pytest.raises(SAEError):
        LatentReader(subject, load_sae(str(folder)))


@pytest.mark.parametrize("config", ["[]", "{}", "null", "{", '{"metadata": 3}', "[" * 100_000])
def test_settings_that_are_none(config, tmp_path):
    folder = tiny.save_sae(tmp_path / "sae")
    (folder / "cfg.json").write_text(config)
    with pytest.raises(SAEError):
        load_sae(str(folder))
