"""Several SAEs on one subject model: the same numbers as apart, from shared passes."""

import numpy as np
import pytest
import tiny

from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import FeatureError, SAEError, TextError
from sagescope.sae.host import ActivationHost
from sagescope.sae.joined import JoinedReader
from sagescope.sae.loading import load_sae

TEXTS = [text[:80] for text in tiny.sentences(8)]


@pytest.fixture(scope="module")
def readers(subject, made):
    """Two depths, with and without a BOS token, one short context."""
    folders = [
        tiny.save_sae(made / "joined-deep", hook="blocks.1.hook_resid_post"),
        tiny.save_sae(made / "joined-early", hook="blocks.0.hook_resid_post", features=64, seed=2),
        tiny.save_sae(made / "joined-early-jumprelu", "jumprelu", hook="blocks.0.hook_resid_post"),
        tiny.save_sae(made / "joined-no-bos", metadata={"prepend_bos": False, "context_size": 40}),
    ]
    return [LatentReader(subject, load_sae(str(folder))) for folder in folders]


async def test_joined_saes_give_what_they_give_apart(readers):
    joined = JoinedReader(readers)
    with ActivationHost(joined) as host:
        for part in joined.parts(host):
            with ActivationHost(part.reader) as own:
                for ours, alone in zip(
                    await part.latents(TEXTS), await own.latents(TEXTS), strict=True
                ):
                    assert ours.pieces == alone.pieces
                    np.testing.assert_array_equal(ours.latents, alone.latents)
                    np.testing.assert_array_equal(ours.positions, alone.positions)
                    np.testing.assert_array_equal(ours.values, alone.values)
                    assert len(ours.values)


async def test_one_pass_answers_for_all(readers):
    joined = JoinedReader(readers[:3])
    with ActivationHost(joined) as host:
        first, second, third = joined.parts(host)
        await first.activations(0, TEXTS)
        ran = host.passes
        await second.activations(63, TEXTS)
        await third.activations(5, TEXTS)
        assert (host.passes, host.recalled) == (ran, 2 * len(TEXTS))


async def test_each_sae_has_its_own_features_and_context(readers):
    joined = JoinedReader(readers)
    with ActivationHost(joined) as host:
        deep, early, _, short = joined.parts(host)
        with pytest.raises(FeatureError, match="no feature 64"):
            await early.activations(64, TEXTS)
        with pytest.raises(FeatureError, match="no feature"):
            await host.activations(10_000, TEXTS)
        long = "the cat " * 20
        assert len((await deep.activations(0, [long]))[0].tokens) > 40
        with pytest.raises(TextError, match="40"):
            await short.activations(0, [long])


def test_what_cannot_be_joined(readers, gpt2_subject, topk):
    with pytest.raises(SAEError, match="serve them apart"):
        JoinedReader([readers[0], LatentReader(gpt2_subject, load_sae(str(topk)))])
    with pytest.raises(SAEError, match="Two SAEs"):
        JoinedReader([readers[0], readers[0]])


async def test_the_strongest_features_come_highest_first(readers):
    with ActivationHost(readers[0]) as host:
        (found,) = await host.latents(TEXTS[:1])
    strongest = found.strongest(5)
    everything = {f: found.of(f).activations for f in np.unique(found.latents).tolist()}
    highest = sorted(everything, key=lambda f: -everything[f].max())[:5]
    assert [one.feature for one in strongest] == highest
    for one in strongest:
        assert everything[one.feature][one.position] == one.activation
        assert everything[one.feature].max() == one.activation
