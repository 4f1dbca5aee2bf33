"""Where things are kept, and places where nothing can be."""

import errno
import os

import pytest
import tiny

from sagescope.sae.errors import SAEError, SagescopeError
from sagescope.sae.model_source import ModelSource
from sagescope.sae.paths import cache_root, new_file, new_folder, user_path
from sagescope.sae.subject import SubjectModel


@pytest.fixture(params=["a file", "below a file", "too long"])
def unusable(request, tmp_path):
    (tmp_path / "file").write_text("x")
    kinds = {"a file": "file", "below a file": "file/below", "too long": "x" * 300}
    return tmp_path / kinds[request.param]


def test_a_path_as_typed(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/there/not", SAEError) == tmp_path / "there" / "not"
    assert str(user_path("plain", SAEError)) == "plain"


def test_a_file_or_folder_appears_whole_or_not_at_all(tmp_path):
    for new in (new_file, new_folder):
        with pytest.raises(ZeroDivisionError), new(tmp_path / "one"):
            _ = 1 / 0
        assert not list(tmp_path.iterdir())
    with new_folder(tmp_path / "one") as draft:
        (draft / "inside").touch()
        assert not (tmp_path / "one").exists()
    assert (tmp_path / "one" / "inside").exists()


def test_where_nothing_can_be_made(unusable):
    for new in (new_file, new_folder):
        with pytest.raises(SagescopeError, match="could not be written to"), new(unusable / "x"):
            raise AssertionError("not reached")


def test_a_full_disk_stays_what_it_is(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.mkstemp", full)
    with pytest.raises(OSError, match="No space"), new_file(tmp_path / "x"):
        raise AssertionError("not reached")


def test_a_cache_that_cannot_be(unusable, llama, topk, tmp_path, monkeypatch):
    text = tmp_path / "some.txt"
    text.write_text("\n\n".join(tiny.sentences(60)))
    gguf = tmp_path / "some.gguf"
    gguf.write_bytes(b"GGUF")
    source = ModelSource.load(str(llama), str(topk), str(text), 2000, progress=False)
    monkeypatch.setenv("SAGESCOPE_HOME", str(unusable))
    with source, pytest.raises(SagescopeError, match=r"be written to|cannot be a path"):
        _ = source.evidence
    with pytest.raises(SagescopeError, match=r"be written to|cannot be a path"):
        SubjectModel.load(str(gguf))


def test_the_cache_in_the_home_of_nobody(monkeypatch):
    monkeypatch.setenv("SAGESCOPE_HOME", "~nosuchuser/x")
    with pytest.raises(SagescopeError, match="home of nobody"):
        cache_root()
