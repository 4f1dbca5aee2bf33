"""What an SAE's metadata asks of its subject model."""

import numpy as np
import pytest
import tiny

from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import HookPointError, SAEError
from sagescope.sae.loading import load_sae
from sagescope.sae.subject import SubjectModel

ROWS = [tuple(range(3, 3 + n)) for n in (5, 1, 40)]
CENTRED = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}


def test_centred_writing_weights_of_a_layernorm_model(made, gpt2):
    """Against the same model whose weights were really centred."""
    folder = tiny.save_sae(made / "centred", "standard", metadata=CENTRED)
    found = LatentReader(SubjectModel.load(str(gpt2), dtype="float32"), load_sae(str(folder)))
    centred = SubjectModel.load(str(gpt2), dtype="float32")
    writers = [
        module
        for name, module in centred.model.named_modules()
        if name.endswith(("c_proj", "wte", "wpe"))
    ]
    for module in writers:
        module.weight -= module.weight.mean(-1, keepdim=True)
        if getattr(module, "bias", None) is not None:
            module.bias -= module.bias.mean()
    tiny.edit_metadata(folder, model_from_pretrained_kwargs={})
    wanted = LatentReader(centred, load_sae(str(folder)))
    np.testing.assert_allclose(
        tiny.dense(found.run(ROWS), 96), tiny.dense(wanted.run(ROWS), 96), rtol=1e-3, atol=5e-4
    )


@pytest.mark.parametrize(
    ("hook", "asked", "why"),
    [
        ("blocks.1.hook_resid_post", {"center_writing_weights": True}, "only a LayerNorm model"),
        ("blocks.1.hook_resid_post", {"fold_value_biases": True}, "fold_value_biases"),
        ("blocks.1.ln1.hook_out", {"fold_ln": True}, "only the residual stream"),
    ],
)
def test_preparations_that_cannot_be_had_are_refused(hook, asked, why, tmp_path, subject):
    metadata = {"model_from_pretrained_kwargs": asked}
    sae = load_sae(str(tiny.save_sae(tmp_path / "sae", hook=hook, metadata=metadata)))
    with pytest.raises(SAEError, match=why):
        LatentReader(subject, sae)


def test_preparations_that_change_nothing_are_fine(tmp_path, subject):
    asked = {"center_writing_weights": False, "fold_ln": True, "dtype": "float16"}
    metadata = {"model_from_pretrained_kwargs": asked}
    LatentReader(subject, load_sae(str(tiny.save_sae(tmp_path / "sae", metadata=metadata))))


def test_scaled_activations_whose_scale_is_lost_are_refused(tmp_path, subject):
    folder = tiny.save_sae(tmp_path / "sae", normalize_activations="expected_average_only_in")
    with pytest.raises(SAEError, match="save_inference_model"):
        LatentReader(subject, load_sae(str(folder)))


def test_an_sae_for_another_width_is_refused(tmp_path, subject):
    folder = tiny.save_sae(tmp_path / "sae", d_in=24, metadata={"model_name": "other-model"})
    with pytest.raises(SAEError, match=r"takes 24 numbers a token.*other-model"):
        LatentReader(subject, load_sae(str(folder)))


def test_an_sae_for_another_hook_point_is_refused(tmp_path, subject):
    folder = tiny.save_sae(tmp_path / "sae", hook="blocks.7.hook_resid_post")
    with pytest.raises(HookPointError, match=r"blocks\.1\.hook_resid_post"):
        LatentReader(subject, load_sae(str(folder)))
    tiny.edit_metadata(folder, hook_name=None)
    with pytest.raises(SAEError, match="which hook point"):
        LatentReader(subject, load_sae(str(folder)))


def test_the_hugging_face_hook_name_wins(tmp_path, subject):
    folder = tiny.save_sae(tmp_path / "sae", hook="blocks.0.hook_mlp_in")
    tiny.edit_metadata(folder, hf_hook_name="model.layers.0.post_attention_layernorm.output")
    reader = LatentReader(subject, load_sae(str(folder)))
    assert (reader.at.module, reader.at.side) == (
        "model.layers.0.post_attention_layernorm",
        "out",
    )


@pytest.mark.parametrize(
    ("trained_on", "logged"),
    [("tiny-llama", 0), ("owner/Tiny-Llama", 0), ("gpt2-small", 1)],
)
def test_another_model_name_is_logged(trained_on, logged, tmp_path, subject, caplog):
    folder = tiny.save_sae(tmp_path / "sae", metadata={"model_name": trained_on})
    LatentReader(subject, load_sae(str(folder)))
    assert len(caplog.records) == logged


def test_a_name_cannot_act_on_the_terminal(tmp_path, subject, caplog):
    folder = tiny.save_sae(tmp_path / "sae", metadata={"model_name": "\x1b]0;evil\x07\u202egpt"})
    LatentReader(subject, load_sae(str(folder)))
    assert "⟨U+001B⟩]0;evil⟨U+0007⟩⟨U+202E⟩gpt" in caplog.text
