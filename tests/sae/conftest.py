"""A tiny subject model, its SAEs and a corpus, made once for all tests of the folder."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import tiny


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A folder for models and SAEs that no test changes."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="session")
def llama(made) -> Path:
    return tiny.save_model(made / "tiny-llama", "llama")


@pytest.fixture(scope="session")
def gpt2(made) -> Path:
    return tiny.save_model(made / "tiny-gpt2", "gpt2")


@pytest.fixture(scope="session")
def subject(llama):
    from sagescope.sae.subject import SubjectModel

    return SubjectModel.load(str(llama), dtype="float32")


@pytest.fixture(scope="session")
def gpt2_subject(gpt2):
    from sagescope.sae.subject import SubjectModel

    return SubjectModel.load(str(gpt2), dtype="float32")


@pytest.fixture(scope="session")
def subject_of(made, subject, gpt2_subject):
    """Subject models by family (see `tiny.save_model`)."""
    from sagescope.sae.subject import SubjectModel

    known = {"llama": subject, "gpt2": gpt2_subject}

    def of(family: str) -> SubjectModel:
        if family not in known:
            folder = tiny.save_model(made / f"tiny-{family}", family)
            known[family] = SubjectModel.load(str(folder), dtype="float32")
        return known[family]

    return of


@pytest.fixture(scope="session")
def topk(made) -> Path:
    return tiny.save_sae(made / "tiny-topk")


@pytest.fixture(scope="session")
def reader(subject, topk):
    from sagescope.sae.encoder import LatentReader
    from sagescope.sae.loading import load_sae

    return LatentReader(subject, load_sae(str(topk)))


@pytest.fixture(scope="session")
def corpus():
    from sagescope.sae.corpus import corpus_of

    return corpus_of(tiny.sentences(60))


@pytest.fixture(scope="session")
def smollm():
    """The demo's subject model, in the dtype of this machine."""
    from sagescope.sae.subject import SubjectModel

    return SubjectModel.load("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def smollm_reader(smollm, made):
    """With a random TopK SAE at the demo's hook point."""
    from sagescope.sae.encoder import LatentReader
    from sagescope.sae.loading import load_sae

    folder = tiny.save_sae(
        made / "smollm-topk",
        hook="blocks.19.hook_resid_post",
        features=512,
        d_in=576,
        metadata={"context_size": 128},
        k=32,
    )
    return LatentReader(smollm, load_sae(str(folder)))
