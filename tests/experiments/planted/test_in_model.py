"""Planted in a model: a hand-made SAE on a real model, from text through the host to the verdict."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sagescope.experiments.cli import app
from sagescope.experiments.planted import planted_source, recovery
from sagescope.experiments.planted.fitting import Direction, best_threshold, fitted, tried
from sagescope.experiments.planted.in_model import PlantedModel, planted_model
from sagescope.experiments.planted.model_suite import run_model_suite
from sagescope.experiments.planted.pieces import Pieces
from sagescope.sae.errors import HookPointError
from sagescope.sae.model_source import ModelSource
from sagescope.sae.subject import SubjectModel

CLASSES = ("word", "phrase", "degenerate")


@pytest.fixture(scope="module")
def programs():
    return planted_source(5, per_class=2, classes=CLASSES)


@pytest.fixture(scope="module")
def folder(programs, tmp_path_factory) -> Path:
    """A random model, wide enough to tell words apart, whose tokens are words and parts of them."""
    import transformers

    made = tmp_path_factory.mktemp("model") / "tiny-wide"
    config = transformers.LlamaConfig(
        vocab_size=2000,
        hidden_size=256,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=0,
        initializer_range=0.3,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(made)
    tiny.save_tokenizer(made, 2000, programs.corpus)
    return made


@pytest.fixture(scope="module")
def subject(folder):
    return SubjectModel.load(str(folder), dtype="float32")


@pytest.fixture(scope="module")
def source(programs, subject, tmp_path_factory):
    root = tmp_path_factory.mktemp("planted")
    with planted_model(programs, subject, "hook_embed", root=root) as source:
        yield source


def form(source: PlantedModel, name: str) -> int:
    return next(one.index for one in source.programs.features if one.form == name)


# -------------------------------------------------------------------- pieces


@given(st.lists(st.text("ab .\n", max_size=12), min_size=1, max_size=4), st.randoms())
def test_pieces_of_tokens_give_back_what_the_tokens_had(texts, draw):
    strings = []
    for text in texts:
        cuts = sorted(draw.sample(range(len(text) + 1), draw.randint(0, len(text))))
        strings.append([text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)])
    pieces = Pieces(texts, strings)
    solid = np.array([bool(token) for token in pieces.reading.plain], bool)[
        pieces.reading.table.ids
    ]
    assert (pieces.on_tokens(np.ones(len(pieces.table), np.float32)) == solid).all()
    label, counts = pieces.labels(solid.astype(np.float32))
    on_tokens = pieces.on_tokens(label)
    assert (on_tokens == solid).all()  # some piece ends in each token
    assert counts[label > 0].all()


def test_the_last_piece_of_a_word_is_to_fire_and_its_others_do_not_count():
    pieces = Pieces(["The lattice."], [["The", " lat", "tice", "."]])
    label, counts = pieces.labels(np.array([0, 1, 0], np.float32))
    assert label.tolist() == [0, 0, 1, 0]
    assert counts.tolist() == [True, False, True, True]
    assert pieces.on_tokens(np.array([0, 3, 2, 0], np.float32)).tolist() == [0, 3, 0]


def test_a_piece_over_two_tokens_speaks_for_both():
    pieces = Pieces(['So."'], [["So", '."']])
    assert pieces.on_tokens(np.array([0, 5], np.float32)).tolist() == [0, 5, 5]


# -------------------------------------------------------------------- fitting


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_a_direction_that_is_there_is_found(seed: int):
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((2000, 16)).astype(np.float32)
    along = x @ draw.standard_normal(16)
    fires = along > np.quantile(along, 0.95)
    x[fires] += 5 * x[fires] / np.linalg.norm(x[fires], axis=1, keepdims=True)
    fit = fitted(x[:1000], fires[:1000].astype(np.float32), np.ones(1000, bool))
    score = fit.on(x)
    threshold = best_threshold(score[:1000], fires[:1000])
    assert tried(0, score[1000:], threshold, fires[1000:]).auc > 0.95


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30))
def test_no_threshold_does_better_than_the_best(pairs):
    score = np.array([value for value, _ in pairs], np.float32)
    fires = np.array([one for _, one in pairs])
    best = tried(0, score, best_threshold(score, fires), fires).f1
    for other in np.arange(0, 7) + 0.5:
        # A latent is silent at 0, so that no threshold is below it.
        assert best >= tried(0, score, other, fires).f1


def test_what_always_or_never_fires_needs_no_direction():
    x = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    every = np.ones(50, bool)
    assert (fitted(x, np.ones(50, np.float32), every).on(x) == 1).all()
    assert not fitted(x, np.zeros(50, np.float32), every).on(x).any()


def test_a_direction_fires_above_its_threshold_alone():
    direction = Direction(np.array([1.0], np.float32), 0.0, 0.5).scaled(2)
    assert direction.on(np.array([[0.25], [0.5], [0.75]], np.float32)).tolist() == [0, 0, 1.5]


# -------------------------------------------------------------------- in a model


def test_words_have_a_direction_in_the_embedding_and_phrases_and_chance_have_none(source):
    realised = {planted.form for planted in source.features}
    assert realised == {"word", "dead"}
    left = [one for one in source.latents if not one.realised]
    assert len(left) == 3
    assert all(one.f1 < 0.9 for one in left)
    assert source.latents[form(source, "word")].f1 >= 0.9


def test_the_sae_opens_like_any_other_and_fires_as_planted(source, folder):
    index = form(source, "word")
    corpus = str(source.folder / "corpus.jsonl")
    with ModelSource.load(
        str(folder), str(source.folder), corpus, tokens=500, dtype="float32"
    ) as other:
        texts = [text for _, text in source.contrast(index)]
        found = asyncio.run(other.activations(index, texts))
    pieces = Pieces(texts, [one.tokens for one in found])
    measured = pieces.on_tokens(np.concatenate([one.activations for one in found]))
    y = source.truth(index, pieces.reading)
    assert np.corrcoef(measured > 0, y > 0)[0, 1] > 0.9
    assert measured[(measured > 0) & (y > 0)].mean() == pytest.approx(y.max(), rel=0.2)


def test_the_same_seed_finds_it_again_and_another_hook_point_makes_another(
    programs, subject, source
):
    seen = []
    with planted_model(
        programs,
        subject,
        "hook_embed",
        root=source.folder.parent,
        watch=lambda *at: seen.append(at),
    ) as again:
        assert again.folder == source.folder
        assert again.reader.sae.digest == source.reader.sae.digest
    assert not seen
    with pytest.raises(HookPointError, match="hook_embed"):
        planted_model(programs, subject, "hook_embd", root=source.folder.parent)


def test_the_suite_explains_what_is_realised_and_holds_it_to_the_program(source):
    found = run_model_suite(source)
    assert [a.feature for a in found.answers] == [one.index for one in source.features]
    words = [answer for answer in found.answers if answer.class_ == "word"]
    for answer in words:
        assert answer.label.split("“")[1].split("”")[0] in answer.explanation
        assert answer.probes
        # Other words end in the same piece, so that the embedding cannot tell all of them apart.
        assert answer.agreement > 0.8 < answer.ceiling_agreement
    assert {answer.hook_point for answer in found.answers} == {"hook_embed"}
    [dead] = [answer for answer in found.answers if answer.form == "dead"]
    assert dead.ceiling is None
    assert not dead.false_label
    left = [json.loads(line) for line in found.left_out_as_json()]
    assert {one["form"] for one in left} == {"noisy", "pair", "skip-gram"}


def test_a_reference_is_held_to_the_program_on_the_models_pieces(source):
    index = form(source, "word")
    reference = source.planted(index).explanation
    assert recovery(source, index, reference).recovered
    assert not recovery(source, index, source.planted(form(source, "dead")).explanation).recovered


def test_the_command_says_what_was_left_out_and_goes_on_with_its_run(folder, tmp_path):
    line = [
        *("planted", "--in-model", "--features", "1", "--classes", "word,phrase", "--seed", "5"),
        *("--subject", str(folder), "--hook-points", "hook_embed"),
        *("--journal", str(tmp_path / "j.db"), "--run", "m"),
    ]
    first = CliRunner().invoke(app, line)
    assert first.exit_code == 0, first.output
    assert "Planted at hook_embed" in first.stdout
    assert "1 of 2" in first.stdout
    assert "latent itself" in first.stdout
    again = CliRunner().invoke(app, [*line, "--json"])
    assert again.exit_code == 0, again.output
    rows = [json.loads(row) for row in again.stdout.splitlines()]
    assert [(row["class"], row["status"]) for row in rows][1:] == [("phrase", "not realised")]


def test_noise_on_top_of_a_models_own_is_refused():
    refused = CliRunner().invoke(app, ["planted", "--in-model", "--options", "noise"])
    assert refused.exit_code == 2
    assert "--options" in refused.stderr


@pytest.mark.slow
def test_the_whole_path_on_smollm2(tmp_path):
    programs = planted_source(7, per_class=1, classes=["word", "closed-set", "phrase"])
    subject = SubjectModel.load("smollm2-135m-instruct")
    with planted_model(programs, subject, "blocks.4.hook_resid_post", root=tmp_path) as source:
        assert {"word", "closed-set"} <= {planted.kind for planted in source.features}
        found = run_model_suite(source)
    assert all(answer.status in ("concluded", "out_of_budget") for answer in found.answers)
    assert any(answer.recovered for answer in found.answers)
