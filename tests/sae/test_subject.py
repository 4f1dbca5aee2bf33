"""The subject model: loading, tokens, and the hot path against the bridge."""

import json
import os
import shutil

import pytest
import tiny
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sagescope.sae.errors import HookPointError, SubjectError
from sagescope.sae.subject import Edit, SubjectModel

POINTS = [
    "blocks.0.hook_resid_pre",
    "blocks.0.hook_resid_mid",
    "blocks.1.hook_resid_post",
    "blocks.1.hook_out",
    "blocks.0.hook_attn_out",
    "blocks.1.hook_mlp_out",
    "blocks.0.attn.hook_z",
    "blocks.1.mlp.hook_post",
    "hook_embed",
]
IDS = torch.tensor([[0, 5, 9, 200, 31], [0, 7, 7, 7, 1]])


@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_hot_path_gives_what_the_bridge_gives(name, family, request):
    subject = SubjectModel.load(str(request.getfixturevalue(family)), dtype="float32")
    seen = []
    subject.bridge.run_with_hooks(
        IDS, fwd_hooks=[(name, lambda value, hook: seen.append(value.detach().clone()))]
    )
    found = subject.activations(IDS, subject.hook_point(name))
    torch.testing.assert_close(found, seen[0].reshape(found.shape), rtol=1e-5, atol=1e-4)


def test_hot_path_in_bfloat16(llama):
    subject = SubjectModel.load(str(llama), dtype="bfloat16")
    exact = SubjectModel.load(str(llama), dtype="float32")
    name = "blocks.1.hook_resid_post"
    found = subject.activations(IDS, subject.hook_point(name)).float()
    wanted = exact.activations(IDS, exact.hook_point(name))
    assert (found - wanted).norm() < 0.05 * wanted.norm()


def test_layers_behind_the_hook_point_do_not_run(subject):
    ran = []
    handle = subject.model.model.layers[1].register_forward_hook(lambda *_: ran.append(1))
    subject.activations(IDS, subject.hook_point("blocks.0.hook_resid_post"))
    handle.remove()
    assert not ran


def test_making_the_bridge_changes_nothing(llama):
    subject = SubjectModel.load(str(llama), dtype="float32")
    before = subject.logits(IDS)
    digest = subject.digest
    assert subject.bridge.cfg.n_layers == tiny.LAYERS
    assert torch.equal(subject.logits(IDS), before)
    assert subject.digest == digest


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("blocks.1.hook_resid_pots", r"blocks\.1\.hook_resid_post"),
        ("blocks.9.hook_resid_post", r"blocks\.1\.hook_resid_post"),
        ("blocks.0.attn.hook_pattern", "computed inside a module"),
        ("", "no hook point"),
    ],
)
def test_unknown_hook_points_show_the_near_ones(name, message, subject):
    with pytest.raises(HookPointError, match=message):
        subject.hook_point(name)


@pytest.mark.parametrize("name", ["blocks.1.hook_resid_post", "blocks.1.hook_resid_pre"])
def test_an_edit_replaces_activations(name, subject):
    at = subject.hook_point(name)
    whole = subject.logits(IDS)
    assert torch.equal(subject.logits(IDS, Edit(at, lambda found: found)), whole)
    zeroed = subject.logits(IDS, Edit(at, torch.zeros_like))
    assert not torch.allclose(zeroed, whole)
    assert torch.equal(subject.logits(IDS), whole)


# --- tokens --------------------------------------------------------------------------------------


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(alphabet=st.characters(codec=None), max_size=60))
@example(text="")
@example(text="🙂 naïve 👩‍👩‍👧 ö\u0308 \x00\x01\t\n  end ")
@example(text="\ud800 alone \udfff")
@example(text="\u200b\ufeff\u2028")
def test_pieces_concatenate_to_the_text(text, subject):
    (row,) = subject.tokenize([text])
    assert len(row.ids) == len(row.pieces)
    assert "".join(row.pieces) == text.encode("utf-8", "replace").decode("utf-8")


def test_a_character_of_several_tokens_stands_with_the_last_of_them(subject):
    (row,) = subject.tokenize(["a🙂b"])
    assert row.pieces == ("a", "", "", "", "🙂", "b")


def test_many_texts_are_tokenised_like_one(subject):
    texts = [*tiny.sentences(5), "", "ö"]
    assert subject.tokenize(texts) == [subject.tokenize([text])[0] for text in texts]
    assert subject.tokenize([]) == []


def test_special_tokens_in_a_text_are_not_added(subject):
    assert subject.bos_id == 0
    assert 0 not in subject.tokenize(["the cat"])[0].ids


# --- loading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("./nowhere", "no subject model"),
        ("nowhere.gguf", "no GGUF file"),
        ("owner/name", "needs the network"),
        ("smollm3", "needs the network"),
    ],
)
def test_what_cannot_be_loaded(spec, message):
    with pytest.raises(SubjectError, match=message) as caught:
        SubjectModel.load(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["~nosuchuser/x", "x" * 300 + ".gguf", "a\0b"])
def test_what_can_be_no_path(spec):
    with pytest.raises(SubjectError, match="cannot be a path"):
        SubjectModel.load(spec)


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(SubjectError, match=r"no config\.json"):
        SubjectModel.load(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(SubjectError, match="could not be loaded"):
        SubjectModel.load(str(tmp_path))


def edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


DAMAGES = {
    "truncated weights": lambda folder: os.truncate(folder / "model.safetensors", 3000),
    "empty weights": lambda folder: os.truncate(folder / "model.safetensors", 0),
    "a list as config": lambda folder: (folder / "config.json").write_text("[]"),
    "other shapes": lambda folder: edit_config(folder, intermediate_size=47),
    "layers that are no number": lambda folder: edit_config(folder, num_hidden_layers="x"),
    "heads that are no number": lambda folder: edit_config(folder, num_attention_heads=None),
    "no blocks to speak of": lambda folder: edit_config(folder, hidden_size=0),
    "another family": lambda folder: edit_config(folder, model_type="nonsense"),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").write_text("{}"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_folders(damage, llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "model")
    damage(folder)
    with pytest.raises(SubjectError) as caught:
        SubjectModel.load(str(folder))
    assert "\n" not in str(caught.value)


def without(folder, *names):
    """Take tensors out of a checkpoint."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    kept = {name: t for name, t in load_file(path).items() if name not in names}
    save_file(kept, path, metadata={"format": "pt"})
    return folder


def test_a_checkpoint_that_lacks_tensors(llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "model")
    lost = [f"model.layers.1.mlp.{name}_proj.weight" for name in ("down", "gate", "up")]
    without(folder, *lost, "model.norm.weight")
    with pytest.raises(SubjectError, match=r"lacks .*\(model\.layers\.1\.mlp\.down_proj") as caught:
        SubjectModel.load(str(folder))
    assert "and 1 more" in str(caught.value)


@pytest.mark.parametrize("tied", [True, False])
def test_an_unembedding_is_missed_only_where_it_is_not_tied(tied, llama, subject, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "model")
    edit_config(folder, tie_word_embeddings=tied)
    without(folder, "lm_head.weight")
    if not tied:
        with pytest.raises(SubjectError, match=r"lm_head\.weight"):
            SubjectModel.load(str(folder), dtype="float32")
        return
    loaded = SubjectModel.load(str(folder), dtype="float32")
    assert torch.equal(loaded.model.lm_head.weight, subject.model.model.embed_tokens.weight)


@pytest.mark.parametrize("device", ["foo", "", "meta", "cuda:99", "cpu:x"])
def test_devices_that_cannot_be_used(device, llama):
    with pytest.raises(SubjectError, match="cannot be used"):
        SubjectModel.load(str(llama), device=device)


def test_a_broken_gguf_file(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and no more")
    with pytest.raises(SubjectError, match="could not be read as GGUF"):
        SubjectModel.load(str(broken))


def test_unknown_dtype(llama):
    with pytest.raises(SubjectError, match="Unknown dtype"):
        SubjectModel.load(str(llama), dtype="float12")


def test_the_digest_is_of_the_weights(llama, made):
    digest = SubjectModel.load(str(llama), dtype="float32").digest
    assert SubjectModel.load(str(llama), dtype="float32").digest == digest
    assert SubjectModel.load(str(llama), dtype="bfloat16").digest != digest
    other = tiny.save_model(made / "other-weights", seed=1)
    assert SubjectModel.load(str(other), dtype="float32").digest != digest


# --- the demo's model ----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_builtin_model_has_what_the_demo_needs(smollm):
    assert (smollm.id, smollm.d_model, smollm.n_layers) == ("smollm2-135m-instruct", 576, 30)
    prompt = "The capital of France is the city of"
    (row,) = smollm.tokenize([prompt])
    best = int(smollm.logits(torch.tensor([[smollm.bos_id, *row.ids]]))[0, -1].argmax())
    assert smollm.tokenizer.decode([best]) == " Paris"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["blocks.19.hook_resid_post", "blocks.9.hook_mlp_out"])
def test_hot_path_of_the_demo_gives_what_the_bridge_gives(name, smollm):
    (row,) = smollm.tokenize(["The quick brown fox jumps over the lazy dog, twice."])
    ids = torch.tensor([[smollm.bos_id, *row.ids]])
    seen = []
    smollm.bridge.run_with_hooks(
        ids, fwd_hooks=[(name, lambda value, hook: seen.append(value.detach().clone()))]
    )
    found = smollm.activations(ids, smollm.hook_point(name)).float()
    # Eager and fused attention round apart in bfloat16; the BOS position's norm hides the others.
    error = (found - seen[0].float())[:, 1:].norm() / found[:, 1:].norm()
    assert error < (0.03 if smollm.dtype == torch.bfloat16 else 1e-4)


@pytest.mark.slow
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(alphabet=st.characters(codec=None), max_size=60))
def test_pieces_of_the_demo_concatenate_to_the_text(text, smollm):
    (row,) = smollm.tokenize([text])
    # Its tokenizer drops some control characters, so that a text of these alone has no token.
    assert "".join(row.pieces) == (text.encode("utf-8", "replace").decode() if row.ids else "")
