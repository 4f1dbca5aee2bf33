"""Collecting evidence: what is stored, when it is reused, and what survives an interruption."""

import errno
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny

from sagescope.sae import collect as module
from sagescope.sae import progress
from sagescope.sae.collect import activations_of, collect, evidence_folder, evidence_key
from sagescope.sae.corpus import corpus_of
from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import CorpusError, EvidenceError, FeatureError
from sagescope.sae.loading import load_sae
from sagescope.sae.splits import SHARES, Splitter
from sagescope.sae.store import open_evidence, read_manifest
from sagescope.sae.subject import SubjectModel

TOKENS = 2500


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(module, "SHARD_TOKENS", 600)
    monkeypatch.setattr(module, "WINDOWS_AT_ONCE", 4)


@pytest.fixture(scope="module")
def done(reader, corpus, tmp_path_factory):
    """A root with the finished evidence of the corpus."""
    root = tmp_path_factory.mktemp("evidence")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHARD_TOKENS", 600)
        collect(reader, corpus, TOKENS, root, progress=False)
    return root


def folder_of(reader, corpus, root, tokens=TOKENS) -> Path:
    return evidence_folder(evidence_key(reader, corpus, tokens), root)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


class Stops:
    """A reader whose run raises after some calls."""

    def __init__(self, reader, after, error):
        self._reader, self._left, self._error = reader, after, error

    def __getattr__(self, name):
        return getattr(self._reader, name)

    def run(self, rows):
        self._left -= 1
        if self._left < 0:
            raise self._error
        return self._reader.run(rows)


class Backwards:
    """Readers that run what was begun last before what was begun first."""

    def __init__(self, reader, ahead):
        self.reader, self.ahead, self.begun = reader, ahead, []

    def begin(self, rows, advance):
        found = {}
        self.begun.append((rows, found))

        def wait():
            while self.begun:
                some, into = self.begun.pop()
                into.update(activations_of(self.reader, some, advance))
            return found

        return wait


# --- what is stored ------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [1, 3, 99])
def test_whoever_reads_the_shards_the_bytes_are_the_same(done, reader, corpus, tmp_path, ahead):
    readers = Backwards(reader, ahead)
    collect(reader, corpus, TOKENS, tmp_path, progress=False, readers=readers)
    expected = contents(folder_of(reader, corpus, done))
    assert len(expected) > 5
    assert contents(folder_of(reader, corpus, tmp_path)) == expected


def test_activations_are_the_readers(done, reader, corpus):
    evidence = open_evidence(folder_of(reader, corpus, done))
    split = evidence.reader("explainer").split("explain")
    assert len(split.tokens) > 500
    rows = reader.subject.tokenize(
        ["".join(split.tokens.window(number)) for number in range(len(split.tokens.starts) - 1)]
    )
    for number, row in enumerate(rows):
        if len(row.ids) != len(split.tokens.window(number)):
            continue  # cut inside a word: tokenised alone, it comes out otherwise
        positions, latents, values = reader.run([row.ids]).row(0)
        start = split.tokens.starts[number]
        for feature in np.unique(latents)[:5]:
            wanted = np.zeros(len(row.ids), np.float32)
            wanted[positions[latents == feature]] = values[latents == feature]
            found = split.activations(int(feature))[start : start + len(row.ids)]
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=5e-4)


def test_every_document_stands_in_its_split_once(done, reader, corpus):
    evidence = open_evidence(folder_of(reader, corpus, done))
    splitter = Splitter(SHARES)
    texts = {name: [] for name in SHARES}
    for document in corpus:
        texts[splitter.place(document)].append(document.text)
    for name, split in evidence.splits.items():
        table = split.tokens
        whole = {}
        for window, document in enumerate(table.documents.tolist()):
            whole.setdefault(document, []).extend(table.window(window))
        found = ["".join(strings) for strings in whole.values()]
        # The last document is cut where the tokens run out, and short ends are left out.
        assert all(any(t.startswith(f) for t in texts[name]) for f in found)
        assert all(np.diff(table.starts) <= reader.room)


def test_tokens_are_as_many_as_asked_for(done, reader, corpus):
    manifest = read_manifest(folder_of(reader, corpus, done))
    total = sum(split["tokens"] for split in manifest.splits.values())
    assert TOKENS <= total < TOKENS + reader.context
    assert len(manifest.shards) >= 4


def test_a_short_corpus_gives_what_it_has(reader, tmp_path):
    texts = corpus_of(tiny.sentences(40))
    evidence = collect(reader, texts, 10**9, tmp_path, progress=False)
    rows = reader.subject.tokenize([document.text for document in texts])
    total = sum(len(split.tokens) for split in evidence.splits.values())
    # All but the ends of documents that are too short to be a context.
    assert 0 <= sum(len(row.ids) for row in rows) - total < 40 * module.SHORTEST_TAIL


def test_a_corpus_that_leaves_a_split_empty_is_refused(reader, tmp_path):
    with pytest.raises(CorpusError, match="leave the split"):
        collect(reader, corpus_of(tiny.sentences(1)), 1000, tmp_path, progress=False)
    with pytest.raises(CorpusError, match="leave the split"):
        collect(reader, corpus_of([]), 1000, tmp_path, progress=False)


def test_only_some_features(subject, topk, reader, corpus, done, tmp_path):
    some = LatentReader(subject, load_sae(str(topk)), [40, 3, 77])
    evidence = collect(some, corpus, TOKENS, tmp_path, progress=False)
    whole = open_evidence(folder_of(reader, corpus, done))
    assert list(evidence.features) == [3, 40, 77]
    for feature in (77, 3):
        np.testing.assert_allclose(
            evidence.splits["score"].activations(feature),
            whole.splits["score"].activations(feature),
            rtol=1e-3,
            atol=5e-4,
        )
    assert evidence.table().index.tolist() == [3, 40, 77]
    with pytest.raises(FeatureError, match="does not cover feature 4"):
        evidence.splits["explain"].activations(4)
    with pytest.raises(FeatureError, match="does not cover feature 4"):
        evidence.stratum(4)


# --- reuse ---------------------------------------------------------------------------------------


def test_finished_evidence_is_reused(done, reader, corpus):
    collect(Stops(reader, 0, AssertionError("ran again")), corpus, TOKENS, done, progress=False)


def test_the_key_names_all_that_matters(reader, corpus, llama, made, topk):
    key = evidence_key(reader, corpus, TOKENS)
    bf16 = LatentReader(SubjectModel.load(str(llama), dtype="bfloat16"), load_sae(str(topk)))
    other_sae = load_sae(str(tiny.save_sae(made / "other-key", seed=5)))
    others = [
        evidence_key(reader, corpus, TOKENS + 1),
        evidence_key(reader, corpus_of(tiny.sentences(60, seed=1)), TOKENS),
        evidence_key(bf16, corpus, TOKENS),
        evidence_key(LatentReader(reader.subject, other_sae), corpus, TOKENS),
        evidence_key(LatentReader(reader.subject, reader.sae, [1]), corpus, TOKENS),
    ]
    folders = {evidence_folder(one, Path("root")) for one in [key, *others]}
    assert len(folders) == 6
    again = LatentReader(SubjectModel.load(str(llama), dtype="float32"), load_sae(str(topk)))
    same = corpus_of(tiny.sentences(60), name="other name")
    assert evidence_key(again, same, TOKENS) == key


# --- damage --------------------------------------------------------------------------------------


@pytest.fixture
def damaged(done, reader, corpus, tmp_path):
    """A copy of finished evidence, to be damaged."""
    import shutil

    return shutil.copytree(folder_of(reader, corpus, done), tmp_path / "evidence")


def read_all(folder):
    evidence = open_evidence(folder)
    evidence.table()
    return [split.activations(5) for split in evidence.splits.values()]


def test_a_shard_cut_short(damaged):
    shard = damaged / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(EvidenceError, match="delete it"):
        read_all(damaged)


def test_a_flipped_byte(damaged):
    shard = damaged / "shard-00002.safetensors"
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(content)
    with pytest.raises(EvidenceError, match=r"shard-00002.* was changed.*delete it"):
        read_all(damaged)


@pytest.mark.parametrize("name", ["shard-00000.safetensors", "features.parquet"])
def test_a_missing_file(name, damaged):
    (damaged / name).unlink()
    with pytest.raises(EvidenceError, match="delete it"):
        read_all(damaged)


def test_a_manifest_that_is_none(damaged):
    (damaged / "manifest.json").write_text("{")
    with pytest.raises(EvidenceError, match=r"manifest\.json cannot be read"):
        read_all(damaged)
    (damaged / "manifest.json").unlink()
    with pytest.raises(EvidenceError, match="sagescope collect"):
        read_all(damaged)


def test_another_format(damaged):
    path = damaged / "manifest.json"
    path.write_text(path.read_text().replace('"format": 1,', '"format": 99,'))
    with pytest.raises(EvidenceError, match="format 99"):
        read_all(damaged)


# --- interruption --------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 3, 9, 14])
def test_going_on_after_an_interruption_gives_the_same_bytes(after, done, reader, corpus, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        collect(Stops(reader, after, KeyboardInterrupt()), corpus, TOKENS, tmp_path, progress=False)
    folder = folder_of(reader, corpus, tmp_path)
    with pytest.raises(EvidenceError, match="no finished evidence"):
        open_evidence(folder)
    collect(reader, corpus, TOKENS, tmp_path, progress=False)
    assert contents(folder) == contents(folder_of(reader, corpus, done))


def test_whole_shards_are_not_run_again(reader, corpus, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        collect(Stops(reader, 12, KeyboardInterrupt()), corpus, TOKENS, tmp_path, progress=False)
    folder = folder_of(reader, corpus, tmp_path)
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*")}
    assert kept
    # One cut short by a power failure is run again.
    first = folder / "shard-00000.safetensors"
    first.write_bytes(first.read_bytes()[:-1])
    collect(reader, corpus, TOKENS, tmp_path, progress=False)
    now = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*")}
    assert now.pop(first.name) != kept.pop(first.name)
    assert kept.items() <= now.items()


CHILD = """
import sys, time
sys.path.insert(0, {tests!r})
import tiny, torch
from pathlib import Path
from sagescope.sae import collect as module
from sagescope.sae import progress
from sagescope.sae.corpus import corpus_of
from sagescope.sae.encoder import LatentReader
from sagescope.sae.loading import load_sae
from sagescope.sae.subject import SubjectModel

torch.set_num_threads(1)
module.SHARD_TOKENS, module.WINDOWS_AT_ONCE = 600, 4
reader = LatentReader(SubjectModel.load({llama!r}, dtype="float32"), load_sae({topk!r}))
run = reader.run
reader.run = lambda rows: (time.sleep({pause}), run(rows))[1]
module.collect(reader, corpus_of(tiny.sentences(60)), {tokens}, Path({root!r}), progress=False)
"""


def child(llama, topk, root, pause):
    script = CHILD.format(
        tests=str(Path(__file__).parent),
        llama=str(llama),
        topk=str(topk),
        pause=pause,
        tokens=TOKENS,
        root=str(root),
    )
    return subprocess.Popen([sys.executable, "-c", script])


def test_a_killed_process_leaves_what_the_next_one_goes_on_from(
    done, reader, corpus, llama, topk, tmp_path
):
    process = child(llama, topk, tmp_path, pause=0.2)
    folder = folder_of(reader, corpus, tmp_path)
    while not list(folder.glob("shard-00001*")) and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "manifest.json").exists()
    assert len(list(folder.glob("shard-*"))) >= 2
    collect(reader, corpus, TOKENS, tmp_path, progress=False)
    assert contents(folder) == contents(folder_of(reader, corpus, done))


def test_two_processes_at_once_make_one_store(done, reader, corpus, llama, topk, tmp_path):
    process = child(llama, topk, tmp_path, pause=0.02)
    folder = folder_of(reader, corpus, tmp_path)
    while not list(folder.glob("shard-*")) and process.poll() is None:
        time.sleep(0.02)
    collect(Stops(reader, 0, AssertionError("ran too")), corpus, TOKENS, tmp_path, progress=False)
    assert process.wait() == 0
    assert contents(folder) == contents(folder_of(reader, corpus, done))


def test_a_full_disk_is_one_sentence(reader, corpus, tmp_path, monkeypatch):
    from sagescope.sae import store

    write = store.write_shard
    written = []

    def full(path, *rest):
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        write(path, *rest)

    monkeypatch.setattr(store, "write_shard", full)
    with pytest.raises(EvidenceError, match=r"is full.*What was collected stays"):
        collect(reader, corpus, TOKENS, tmp_path, progress=False)
    assert written[0].exists()
    monkeypatch.undo()
    collect(reader, corpus, TOKENS, tmp_path, progress=False)


@pytest.mark.parametrize(("step", "shown"), [(0, False), (3, True)])
def test_the_bar_appears_after_two_seconds(
    step, shown, reader, corpus, tmp_path, monkeypatch, capsys
):
    ticks = itertools.count(0, step)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    collect(reader, corpus, 1500, tmp_path)
    printed = capsys.readouterr().err
    assert ("tokens/s" in printed and "left" in printed) if shown else printed == ""


@pytest.mark.parametrize("place", [-1, -4000, 40, 400])
def test_a_shard_damaged_before_going_on_is_collected_again(place, done, reader, corpus, tmp_path):
    """Never taken for good because its header still says what it was made from."""
    stopped = Stops(reader, 14, RuntimeError("the power went"))
    with pytest.raises(RuntimeError, match="the power went"):
        collect(stopped, corpus, TOKENS, tmp_path, progress=False)
    folder = folder_of(reader, corpus, tmp_path)
    first = folder / "shard-00000.safetensors"
    held = bytearray(first.read_bytes())
    held[place] ^= 1
    first.write_bytes(held)
    collect(reader, corpus, TOKENS, tmp_path, progress=False)
    assert contents(folder) == contents(folder_of(reader, corpus, done))
