"""Training an SAE, small, on the real path."""

import dataclasses
import json
import signal

import pytest
import tiny
import torch

from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import CorpusError, SAEError, SagescopeError
from sagescope.sae.loading import load_sae
from sagescope.sae.progress import Bar
from sagescope.sae.subject import SubjectModel
from sagescope.sae.training import TrainSettings
from sagescope.sae.training.kept import Kept
from sagescope.sae.training.run import train
from sagescope.sae.training.stream import ActivationStream
from sagescope.sae.training.windows import SHORTEST, ModelWindows
from sagescope.sae.windows import cut

# SAELens's trainer speaks of its own deprecations, and autocast of the CPU's types.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def settings(llama, tmp_path):
    texts = tmp_path / "some.txt"
    texts.write_text("\n\n".join(tiny.sentences(80)))
    return TrainSettings(
        subject=str(llama),
        hook_point="blocks.1.hook_resid_post",
        corpus=str(texts),
        width=64,
        k=4,
        tokens=64 * 60,
        context=32,
        batch=64,
        buffer=512,
        checkpoints=4,
    )


@pytest.mark.parametrize("arch", ["topk", "batchtopk", "matryoshka"])
def test_a_trained_sae_reads_its_subject(arch, settings, llama, tmp_path):
    settings = dataclasses.replace(settings, arch=arch)
    folder = train(settings, tmp_path / "trained")
    sae = load_sae(str(folder))
    assert (sae.n_features, sae.metadata.context_size, sae.metadata.prepend_bos) == (64, 32, True)
    assert sae.metadata.training_tokens == settings.tokens
    reader = LatentReader(SubjectModel.load(str(llama)), sae)
    assert len(reader.run([(5, 6, 7)]).values)
    assert json.loads((folder / "train.json").read_text()) == dataclasses.asdict(settings)


def test_training_goes_on_from_its_checkpoint(settings, tmp_path, monkeypatch):
    settings = dataclasses.replace(settings, tokens=64 * 500)
    run = SubjectModel.activations
    calls = []

    def counted(self, ids, at):
        calls.append(1)
        if len(calls) == stop:
            raise RuntimeError("the power went")
        return run(self, ids, at)

    monkeypatch.setattr(SubjectModel, "activations", counted)
    stop = -1
    train(settings, tmp_path / "whole")
    whole = len(calls)
    calls.clear()
    stop = whole - 2
    with pytest.raises(RuntimeError, match="the power went"):
        train(settings, tmp_path / "broken")
    checkpoints = list((tmp_path / "broken" / "checkpoints").glob("*/position.json"))
    assert len(checkpoints) == 1
    assert not (tmp_path / "broken" / "cfg.json").exists()
    calls.clear()
    stop = -1
    train(settings, tmp_path / "broken")
    assert 0 < len(calls) < whole
    assert load_sae(str(tmp_path / "broken")).n_features == 64


@pytest.fixture
def heeding():
    """SIGINT as a terminal's processes have it, also where whoever started the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeding")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_waits_for_the_step_and_loses_none(number, settings, tmp_path, monkeypatch):
    class Ended(BaseException):
        """What the commands make of SIGTERM."""

    def end(*_):
        raise Ended

    before = signal.signal(signal.SIGTERM, end)
    run, steps = torch.optim.Adam.step, []

    def stopped_in_the_middle(self, *asked):
        steps.append(1)
        if len(steps) == 21:
            signal.raise_signal(number)
        return run(self, *asked)

    monkeypatch.setattr(torch.optim.Adam, "step", stopped_in_the_middle)
    settings = dataclasses.replace(settings, checkpoints=0)
    try:
        with pytest.raises((KeyboardInterrupt, Ended)):
            train(settings, tmp_path / "broken")
        handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert handlers == (signal.default_int_handler, end)
    assert [one.name for one in (tmp_path / "broken" / "checkpoints").iterdir()] == [str(21 * 64)]
    train(settings, tmp_path / "broken")
    assert len(steps) == settings.tokens // 64  # each step once


@pytest.mark.usefixtures("heeding")
def test_a_second_stop_keeps_no_half_step(settings, tmp_path, monkeypatch):
    run, steps = torch.optim.Adam.step, []

    def stopped_twice(self, *asked):
        steps.append(1)
        if len(steps) == 21:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return run(self, *asked)

    monkeypatch.setattr(torch.optim.Adam, "step", stopped_twice)
    settings = dataclasses.replace(settings, checkpoints=5)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "broken")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    (kept,) = (tmp_path / "broken" / "checkpoints").iterdir()
    assert int(kept.name) < 21 * 64  # the last one that was made on the way
    train(settings, tmp_path / "broken")
    assert load_sae(str(tmp_path / "broken")).n_features == 64


class Shown(Bar):
    """A progress bar that keeps the share of dead latents that it was told last."""

    dead = ""

    def tell(self, **figures):
        """Keep it."""
        self.dead = figures["dead"]


def test_latents_that_nothing_revives_are_told_as_dead(settings, tmp_path):
    latents = {"width": 512, "k": 1, "aux_until": 0.0, "buffer": 2048}
    settings = dataclasses.replace(settings, tokens=1024 * 220, batch=1024, **latents)
    shown = Shown("Training", settings.tokens, shown=False)
    folder = train(settings, tmp_path / "trained", shown=shown)
    metadata = json.loads((folder / "cfg.json").read_text())["metadata"]
    assert metadata["num_dead_features"] > 0
    assert shown.dead == f"{metadata['num_dead_features'] / 512:.1%}"


class Recorded:
    """A subject model that writes down which windows it ran."""

    def __init__(self, subject):
        self._subject = subject
        self.windows = []

    def __getattr__(self, name):
        return getattr(self._subject, name)

    def activations(self, ids, at):
        self.windows += [tuple(row) for row in ids.tolist()]
        return self._subject.activations(ids, at)


def read(subject, settings, skip, until):
    """The windows that a stream reads after `skip`, and how many it has read in all."""
    recorded = Recorded(subject)
    stream = ActivationStream(ModelWindows(recorded, settings), settings, skip)
    for _ in stream:
        if stream.windows_read >= until:
            return recorded.windows, stream.windows_read


def test_a_stream_that_goes_on_reads_no_window_twice(settings, subject, tmp_path):
    texts = tiny.sentences(700)
    (tmp_path / "some.txt").write_text("\n\n".join(texts))
    rows = subject.tokenize(texts)
    assert any(len(w.ids) < SHORTEST for row in rows for w in cut(row.ids, 0, settings.context - 1))
    first, place = read(subject, settings, 0, 300)
    second, end = read(subject, settings, place, 2 * place)
    whole, _ = read(subject, settings, 0, end)
    assert place == len(first)
    assert not set(first) & set(second)
    assert sorted(first + second) == sorted(whole)


@pytest.mark.parametrize("context", [2, 5, 32])
def test_short_contexts_and_short_texts(context, settings, subject, tmp_path):
    """Windows as long as the context are read, however short that is."""
    settings = dataclasses.replace(settings, context=context)
    windows, _ = read(subject, settings, 0, 1)
    assert max(map(len, windows)) == context
    (tmp_path / "some.txt").write_text("\n\n".join(f"a {word}" for word in tiny.WORDS))
    if context == 32:
        with pytest.raises(CorpusError, match="has 8 tokens or more"):
            read(subject, settings, 0, 1)


def test_a_folder_of_another_training_is_refused(settings, tmp_path):
    train(settings, tmp_path / "trained")
    other = dataclasses.replace(settings, k=8, seed=1)
    with pytest.raises(SAEError, match=r"other settings \(k, seed\)"):
        train(other, tmp_path / "trained")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"k": 65}, "k must be"),
        ({"width": 0}, "width"),
        ({"context": 1}, "context"),
        ({"batch": 600}, "buffer"),
        ({"tokens": 63}, "tokens"),
        ({"lr": float("nan")}, "lr"),
        ({"aux_until": float("nan")}, "aux_until"),
        ({"arch": "topkk"}, "topk"),
        ({"corpus": "nowhere.txt"}, "no corpus"),
        ({"weights": "float8"}, "weights must be float32 or bfloat16"),
        ({"hook_point_out": "blocks.1.hook_mlp_out"}, "for transcoders"),
        ({"options": {"decoder_init_nrm": 0.2}}, "decoder_init_norm"),
        ({"options": {"decoder_init_norm": "much"}}, "valid number"),
        ({"options": {"d_sae": 7}}, "setting of topk"),
    ],
)
def test_wrong_settings_are_refused_before_the_model_is_loaded(
    wrong, why, settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(SubjectModel, "load", None)
    with pytest.raises(SagescopeError, match=why):
        train(dataclasses.replace(settings, **wrong), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir()), "the folder was claimed"


def test_what_the_architecture_does_not_use_is_not_looked_at(settings):
    dataclasses.replace(settings, arch="standard", k=65).check()


def test_a_single_step(settings, tmp_path):
    settings = dataclasses.replace(settings, tokens=settings.batch)
    assert load_sae(str(train(settings, tmp_path / "out"))).n_features == 64


def test_folders_that_cannot_be(settings, tmp_path):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(SAEError, match="give another"):
            train(settings, out)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "train.json").write_text("[]")
    with pytest.raises(SAEError, match="other settings"):
        train(settings, tmp_path / "odd")


def test_a_corpus_without_text(settings, tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    nothing = dataclasses.replace(settings, corpus=str(tmp_path / "empty.txt"))
    with pytest.raises(CorpusError, match="no text to train on"):
        train(nothing, tmp_path / "two")


def test_settings_of_the_architecture_reach_it(settings, tmp_path):
    own = dataclasses.replace(settings, options={"decoder_init_norm": 0.3})
    folder = train(own, tmp_path / "out")
    resolved = json.loads((folder / "resolved.json").read_text())
    assert resolved["sae"]["decoder_init_norm"] == 0.3
    assert "| decoder_init_norm | 0.3 |" in (folder / "README.md").read_text()


def test_one_head(settings, llama, tmp_path):
    head = dataclasses.replace(settings, hook_point="blocks.1.attn.hook_z", head=1)
    sae = load_sae(str(train(head, tmp_path / "out")))
    assert sae.metadata.hook_head_index == 1
    assert len(LatentReader(SubjectModel.load(str(llama)), sae).run([(5, 6, 7)]).starts) == 2
    with pytest.raises(SAEError, match="has no head 99"):
        train(dataclasses.replace(head, head=99), tmp_path / "other")


# --- Kept activations ----------------------------------------------------------------------------


@pytest.fixture
def passes(monkeypatch):
    """Every forward pass of a subject model, in turn; one that is asked to stops with an error."""
    run, calls = SubjectModel.activations, []

    def counted(self, ids, at):
        calls.append(ids.numel())
        if len(calls) == calls_until.get("stop"):
            raise RuntimeError("the power went")
        return run(self, ids, at)

    calls_until: dict[str, int] = {}
    monkeypatch.setattr(SubjectModel, "activations", counted)
    return calls, calls_until


def test_kept_activations_serve_many_trainings(settings, tmp_path, passes):
    calls, _ = passes
    keep = tmp_path / "kept"
    train(settings, tmp_path / "first", keep=keep)
    assert sum(calls) > settings.tokens
    calls.clear()
    other = dataclasses.replace(settings, arch="batchtopk", seed=1)
    train(other, tmp_path / "second", keep=keep)
    assert sum(calls) < 10, "only how wide the hook point is was asked"
    assert load_sae(str(tmp_path / "second")).n_features == 64
    elsewhere = dataclasses.replace(settings, hook_point="blocks.0.hook_resid_post")
    with pytest.raises(SAEError, match=r"other activations \(hook_point\)"):
        train(elsewhere, tmp_path / "third", keep=keep)


def test_keeping_goes_on_where_it_was_stopped(settings, tmp_path, passes):
    settings = dataclasses.replace(settings, tokens=64 * 500)
    calls, until = passes
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(settings, tmp_path / "one", keep=whole)
    until["stop"] = len(calls) - 10
    calls.clear()
    with pytest.raises(RuntimeError, match="the power went"):
        train(settings, tmp_path / "two", keep=broken)
    part = Kept.of(broken)
    assert part
    assert part.windows > 0
    with (broken / "activations.bf16").open("ab") as rows:
        rows.write(b"half a row")
    until.clear()
    train(settings, tmp_path / "two", keep=broken)
    for name in ("activations.bf16", "lengths.u2", "kept.json"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes()


def test_what_is_kept_is_bounded(settings, tmp_path):
    settings = dataclasses.replace(settings, tokens=64 * 300)
    train(settings, tmp_path / "out", keep=tmp_path / "kept", keep_gb=1e-9)
    kept = Kept.of(tmp_path / "kept")
    assert kept
    assert kept.tokens < settings.tokens
    assert load_sae(str(tmp_path / "out")).metadata.corpus_passes > 0


def test_the_dead_that_are_no_longer_revived_still_count(settings, tmp_path):
    """The metadata say how many latents are dead at the end, and how many fire there."""
    settings = dataclasses.replace(
        settings,
        arch="binary_topk",
        tokens=1024 * 210,  # as dead counts what did not fire on 200,000
        batch=1024,
        buffer=2048,
        aux_until=0.1,
        options={"initial_threshold": 1e6, "soft_steps": 0, "revive_after": 0},
    )
    metadata = load_sae(str(train(settings, tmp_path / "silent"))).module.cfg.metadata
    assert metadata.num_dead_features == 64
    assert metadata.l0 == 0
