"""Evidence of several SAEs from one pass is the evidence of each alone."""

import pytest
import tiny

from sagescope.sae.collect import collect, evidence_folder, evidence_key
from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import SAEError
from sagescope.sae.loading import LoadedSAE
from sagescope.sae.subject import SubjectModel
from sagescope.sae.together import collect_together

TOKENS = 2000


@pytest.fixture
def readers(subject):
    made = [
        LoadedSAE(f"sae-{seed}", tiny.make_sae(architecture, seed=seed))
        for seed, architecture in enumerate(["topk", "standard", "jumprelu"])
    ]
    return [LatentReader(subject, one) for one in made]


def test_each_gets_the_bytes_it_would_get_alone(readers, corpus, tmp_path):
    collect_together(readers, corpus, TOKENS, tmp_path / "together", progress=False)
    for reader in readers:
        collect(reader, corpus, TOKENS, tmp_path / "alone", progress=False)
        key = evidence_key(reader, corpus, TOKENS)
        here, there = (evidence_folder(key, tmp_path / name) for name in ("together", "alone"))
        names = sorted(path.name for path in there.iterdir())
        assert names == sorted(path.name for path in here.iterdir())
        for name in names:
            assert (here / name).read_bytes() == (there / name).read_bytes()


def test_the_model_runs_once_for_all(readers, corpus, tmp_path, monkeypatch):
    run = SubjectModel.activations_at
    calls = []

    def counted(self, ids, points):
        calls.append(len(points))
        return run(self, ids, points)

    monkeypatch.setattr(SubjectModel, "activations_at", counted)
    collect(readers[0], corpus, TOKENS, tmp_path / "alone", progress=False)
    alone = len(calls)
    calls.clear()
    collect_together(readers, corpus, TOKENS, tmp_path / "together", progress=False)
    assert len(calls) == alone
    # What is there already is run for nobody.
    calls.clear()
    collect_together(readers, corpus, TOKENS, tmp_path / "together", progress=False)
    assert not calls


def test_some_were_there_before(readers, corpus, tmp_path):
    collect(readers[0], corpus, TOKENS, tmp_path, progress=False)
    found = collect_together(readers, corpus, TOKENS, tmp_path, progress=False)
    assert [len(one.features) for one in found] == [reader.sae.n_features for reader in readers]


def test_windows_of_other_lengths_are_refused(subject, readers, corpus, tmp_path):
    short = LoadedSAE("short", tiny.make_sae("topk", metadata={"context_size": 16}))
    with pytest.raises(SAEError, match="their context differs"):
        collect_together([readers[0], LatentReader(subject, short)], corpus, TOKENS, tmp_path)
