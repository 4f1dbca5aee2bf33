"""Reading an SAE on its subject model."""

import numpy as np
import pytest
import tiny
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagescope.sae.encoder import SEPARABLE, LatentReader
from sagescope.sae.errors import FeatureError, SAEError
from sagescope.sae.loading import load_sae
from sagescope.sae.subject import SubjectModel

ARCHITECTURES = (
    "standard",
    "gated",
    "topk",
    "abstopk",
    "jumprelu",
    "transcoder",
    "skip_transcoder",
    "jumprelu_transcoder",
    "jumprelu_skip_transcoder",
    "temporal",
    "matching_pursuit",
    "binary_dense",
    "binary_topk",
    "binary_transcoder",
    "spade",
)

ROWS = [tuple(range(3, 3 + n)) for n in (5, 1, 40, 17, 63, 0, 16)]


def expected(reader, rows):
    """What SAELens's own encode gives, a row at a time, without padding."""
    parts = []
    for row in rows:
        ids = torch.tensor([[reader.subject.bos_id, *row]])
        found = reader.subject.activations(ids, reader.at)
        with torch.no_grad():
            parts.append(reader.sae.module.encode(found)[0, 1:])
    return torch.cat(parts).numpy()


@pytest.fixture(params=ARCHITECTURES)
def any_sae(request, made):
    hook = "blocks.1.mlp.hook_in" if "transcoder" in request.param else "blocks.1.hook_resid_post"
    return load_sae(str(tiny.save_sae(made / request.param, request.param, hook=hook)))


def test_every_architecture_of_the_registry_is_tested():
    from sae_lens.registry import SAE_CLASS_REGISTRY

    assert set(SAE_CLASS_REGISTRY) == set(ARCHITECTURES)
    assert set(ARCHITECTURES) > SEPARABLE


def test_latents_are_those_of_saelens(any_sae, subject):
    reader = LatentReader(subject, any_sae)
    found = tiny.dense(reader.run(ROWS), any_sae.n_features)
    assert (found != 0).any()
    np.testing.assert_allclose(found, expected(reader, ROWS), rtol=1e-3, atol=5e-4)


def test_some_columns_are_those_of_all(any_sae, subject):
    wanted = [5, 90, 6, 33]
    whole = tiny.dense(LatentReader(subject, any_sae).run(ROWS), any_sae.n_features)
    some = tiny.dense(LatentReader(subject, any_sae, wanted).run(ROWS), any_sae.n_features)
    np.testing.assert_allclose(some[:, wanted], whole[:, wanted], rtol=1e-3, atol=5e-4)
    rest = np.setdiff1d(np.arange(any_sae.n_features), wanted)
    assert not some[:, rest].any()


@pytest.mark.parametrize("scale", ["layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("architecture", ["standard", "topk"])
def test_activations_are_normalised_at_run_time(architecture, scale, made, subject):
    folder = made / f"{architecture}-{scale}"
    reader = LatentReader(
        subject, load_sae(str(tiny.save_sae(folder, architecture, normalize_activations=scale)))
    )
    found = tiny.dense(reader.run(ROWS), reader.sae.n_features)
    np.testing.assert_allclose(found, expected(reader, ROWS), rtol=1e-3, atol=5e-4)
    narrow = LatentReader(subject, reader.sae, [7]).run(ROWS)
    np.testing.assert_allclose(tiny.dense(narrow, 96)[:, 7], found[:, 7], rtol=1e-3, atol=5e-4)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(st.lists(st.integers(1, 383), max_size=63), min_size=1, max_size=20),
    seed=st.randoms(use_true_random=False),
)
def test_a_row_does_not_see_its_neighbours(rows, seed, reader):
    together = reader.run(rows)
    order = list(range(len(rows)))
    seed.shuffle(order)
    shuffled = reader.run([rows[place] for place in order])
    for number, row in enumerate(rows):
        alone = reader.run([row]).row(0)
        for other in (together.row(number), shuffled.row(order.index(number))):
            for ours, theirs in zip(alone, other, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=5e-4)


@pytest.mark.slow
def test_numbers_are_the_same_bits_in_any_company(smollm_reader):
    """On the demo's model: what resumed runs rely on to end with the same bytes."""
    texts = tiny.sentences(12) + [" ".join(tiny.WORDS[:n]) for n in (1, 2, 5, 9, 14, 30)]
    rows = [row.ids[:127] for row in smollm_reader.subject.tokenize(texts)]
    together, backwards = smollm_reader.run(rows), smollm_reader.run(rows[::-1])
    for number, row in enumerate(rows):
        alone = smollm_reader.run([row]).row(0)
        for other in (together.row(number), backwards.row(len(rows) - 1 - number)):
            for ours, theirs in zip(alone, other, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_no_rows_and_empty_rows(reader):
    assert len(reader.run([]).values) == 0
    assert len(reader.run([(), ()]).values) == 0


def test_bos_token_is_not_returned(reader):
    assert reader.prepend_bos
    assert reader.run([(4, 5, 6)]).starts.tolist() == [0, 3]


@pytest.mark.parametrize("rows", [[()], [(), ()], [(), (4, 5, 6), ()]])
@pytest.mark.parametrize("architecture", ["topk", "temporal"])
def test_rows_without_tokens_take_no_pass(rows, architecture, made, subject, monkeypatch):
    folder = tiny.save_sae(
        made / f"no-bos-{architecture}", architecture, metadata={"prepend_bos": False}
    )
    reader = LatentReader(subject, load_sae(str(folder)))
    run, seen = type(subject).activations_at, []

    def counted(self, ids, points):
        seen.append(len(ids))
        return run(self, ids, points)

    monkeypatch.setattr(type(subject), "activations_at", counted)
    found = reader.run(rows)
    assert found.starts[-1] == sum(map(len, rows))
    assert sum(seen) == sum(map(bool, rows))
    if rows[-1] != rows[0]:
        np.testing.assert_array_equal(found.values, reader.run([(4, 5, 6)]).values)


def test_without_bos(made, subject):
    folder = tiny.save_sae(made / "no-bos", metadata={"prepend_bos": False})
    reader = LatentReader(subject, load_sae(str(folder)))
    assert reader.room == reader.context == tiny.CONTEXT
    found = tiny.dense(reader.run([(4, 5, 6)]), 96)
    at = subject.activations(torch.tensor([[4, 5, 6]]), reader.at)
    with torch.no_grad():
        wanted = reader.sae.module.encode(at)[0].numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=5e-4)


def test_context_is_the_shorter_of_model_and_sae(made, subject):
    folder = tiny.save_sae(made / "long", metadata={"context_size": 4096})
    assert LatentReader(subject, load_sae(str(folder))).context == tiny.CONTEXT
    tiny.edit_metadata(folder, context_size=16)
    assert LatentReader(subject, load_sae(str(folder))).room == 15


# --- heads ---------------------------------------------------------------------------------------


def test_hook_z_is_read_flat(made, subject):
    folder = tiny.save_sae(
        made / "hook-z", "standard", hook="blocks.0.attn.hook_z", reshape_activations="hook_z"
    )
    reader = LatentReader(subject, load_sae(str(folder)))
    names = {}
    subject.bridge.run_with_hooks(
        torch.tensor([[0, 4, 5]]),
        fwd_hooks=[("blocks.0.attn.hook_z", lambda z, hook: names.update(z=z.detach()))],
    )
    flat = names["z"].reshape(1, 3, tiny.WIDTH)
    with torch.no_grad():
        wanted = reader.sae.module.encode(flat)[0, 1:].numpy()
    np.testing.assert_allclose(tiny.dense(reader.run([(4, 5)]), 96), wanted, rtol=1e-3, atol=5e-4)


def test_one_head(made, subject):
    folder = tiny.save_sae(
        made / "head",
        "standard",
        hook="blocks.0.attn.hook_z",
        d_in=tiny.WIDTH // 4,
        metadata={"hook_head_index": 2},
    )
    reader = LatentReader(subject, load_sae(str(folder)))
    whole = subject.activations(torch.tensor([[0, 4, 5]]), reader.at)
    with torch.no_grad():
        wanted = reader.sae.module.encode(whole[..., 16:24])[0, 1:].numpy()
    np.testing.assert_allclose(tiny.dense(reader.run([(4, 5)]), 96), wanted, rtol=1e-3, atol=5e-4)
    tiny.edit_metadata(folder, hook_head_index=4)
    with pytest.raises(SAEError, match="takes 8 numbers a token"):
        LatentReader(subject, load_sae(str(folder)))


@pytest.mark.parametrize("features", [[96], [-1], []])
def test_unknown_features(features, subject, topk):
    with pytest.raises(FeatureError):
        LatentReader(subject, load_sae(str(topk)), features)


def test_activations_that_are_not_finite_are_an_error(tmp_path, llama, topk):
    subject = SubjectModel.load(str(llama), dtype="float32")
    subject.model.get_input_embeddings().weight[7] = float("nan")
    reader = LatentReader(subject, load_sae(str(topk)))
    with pytest.raises(SAEError, match="not finite"):
        reader.run([(5, 7)])
