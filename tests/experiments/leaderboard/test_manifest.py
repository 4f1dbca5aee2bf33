"""Manifests: what is frozen stays frozen, and what differs is said."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagescope.experiments import Journal
from sagescope.experiments.leaderboard.benchmark import run_benchmark
from sagescope.experiments.leaderboard.manifest import (
    Manifest,
    Opens,
    check,
    contents,
    freeze,
    read_manifest,
    write_manifest,
)
from sagescope.experiments.results import results_of
from sagescope.sae.errors import (
    BenchmarkError,
    FeatureError,
    JournalError,
    MindError,
    SAEError,
    UnknownName,
)

text = st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
indices = st.lists(st.integers(0, 10**9), min_size=1, max_size=6, unique=True)
content = st.fixed_dictionaries(
    {
        "documents": st.integers(1, 10**6),
        "tokens": st.integers(1, 10**9),
        "sha256": st.text("0123456789abcdef", min_size=64, max_size=64),
    }
)
scorer = st.fixed_dictionaries(
    {
        "name": text,
        "version": st.integers(1, 9),
        "scores": st.lists(text, max_size=3).map(tuple),
    }
)
manifests = st.fixed_dictionaries(
    {
        "name": st.text(string.ascii_letters + string.digits, min_size=1, max_size=20),
        "drawn": text,
        "opens": st.none() | st.builds(Opens, subject=text, sae=text, corpus=text, tokens=st.integers(1, 9)),
        "subject": text,
        "sae": text,
        "key": st.none() | st.dictionaries(text, values, max_size=4),
        "features": indices,
        "seeds": indices,
        "splits": st.dictionaries(st.sampled_from(["explain", "select", "score"]), content),
        "scorers": st.lists(scorer, min_size=1, max_size=3),
    }
).map(Manifest.model_validate)  # fmt: skip


@given(manifests, st.sampled_from([".yaml", ".json"]))
def test_a_manifest_comes_back_from_its_file(tmp_path_factory, made: Manifest, ending: str):
    path = tmp_path_factory.getbasetemp() / f"benchmark{ending}"
    write_manifest(made, path)
    again = read_manifest(path)
    assert again == made
    assert again.digest == made.digest


@given(manifests, manifests)
def test_the_digest_is_of_what_decides(one: Manifest, other: Manifest):
    renamed = one.model_copy(update={"name": "else", "drawn": "else", "opens": None})
    assert renamed.digest == one.digest
    assert (one.digest == other.digest) == (one.decides == other.decides)
    more = one.model_copy(update={"features": (*one.features, max(one.features) + 1)})
    assert more.digest != one.digest


def test_freezing_says_what_each_split_holds(planted, manifest: Manifest):
    held = planted.PlantedSource().evidence
    for name, role in (("explain", "explainer"), ("select", "selector"), ("score", "scorer")):
        table = held.reader(role).split(name).tokens
        assert manifest.splits[name].tokens == len(table)
    assert manifest.features == (0, 1, 2, 3)
    assert {one.name for one in manifest.scorers} >= {"predictive", "generated"}
    assert (
        freeze(planted.PlantedSource(), "tests", [3, 1, 0, 2], drawn="x").digest == manifest.digest
    )


@pytest.mark.parametrize("change", ["a word", "an order", "a join"])
def test_the_hash_sees_every_change_of_a_split(planted, change: str):
    def source(texts):
        return planted.PlantedSource(corpus=texts)

    before = contents(source(planted.texts()).evidence)
    texts = planted.texts()
    if change == "a word":
        texts[0] = "altered " + texts[0]
    elif change == "an order":
        texts.reverse()
    else:
        texts = [*texts[2:], f"{texts[0]} {texts[1]}"]
    after = contents(source(texts).evidence)
    assert after != before


def test_another_corpus_is_refused_before_anything_is_explained(planted, manifest: Manifest):
    other = planted.PlantedSource(corpus=planted.texts(seed=5))
    with Journal.open(None) as journal:
        with pytest.raises(BenchmarkError, match="key corpus"):
            run_benchmark(other, manifest, journal)
        assert journal.runs() == []
    assert other.measured == []


def test_splits_that_hold_other_text_are_refused(planted, manifest: Manifest):
    """As where a tokenizer of another version cuts the same corpus otherwise."""
    splits = {**manifest.splits, "score": manifest.splits["select"]}
    altered = manifest.model_copy(update={"splits": splits})
    with pytest.raises(BenchmarkError, match="splits score sha256"):
        check(altered, planted.PlantedSource())


def test_scorers_of_another_version_are_refused(planted, manifest: Manifest):
    first, *rest = manifest.scorers
    newer = manifest.model_copy(
        update={"scorers": (first.model_copy(update={"version": 7}), *rest)}
    )
    with pytest.raises(BenchmarkError, match=f"scorer {first.name} version {first.version}, not 7"):
        check(newer, planted.PlantedSource())
    gone = manifest.model_copy(
        update={"scorers": (first.model_copy(update={"name": "vibes"}), *rest)}
    )
    with pytest.raises(BenchmarkError, match="'vibes'"):
        check(gone, planted.PlantedSource())


def test_what_cannot_be_frozen(source):
    with pytest.raises(FeatureError):
        freeze(source, "x", [99])
    with pytest.raises(UnknownName):
        freeze(source, "x", [0], scorers=["vibes"])
    with pytest.raises(BenchmarkError, match="each may stand there once"):
        freeze(source, "x", [0, 0])
    with pytest.raises(BenchmarkError, match="name"):
        freeze(source, "a/b", [0])


#: Each holds ten of the one before.
ALIASES = "".join(f", a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "is no manifest"),
        ("[1, 2]", "is no manifest"),
        ("{", "cannot be read"),
        ("!!python/object/apply:os.system ['true']", "cannot be read"),
        ("format: 2\nname: x", "format"),
        ("\x00", "cannot be read"),
        ("format: 1\nkey: {a0: &a0 [x, x]" + ALIASES + "}", "aliases"),
        ("[" * 100_000, "nested"),
    ],
)
def test_files_that_are_no_manifest(tmp_path: Path, written: str, said: str):
    path = tmp_path / "m.yaml"
    path.write_text(written)
    with pytest.raises(BenchmarkError, match=said):
        read_manifest(path)
    with pytest.raises(BenchmarkError, match="bench freeze"):
        read_manifest(tmp_path / "missing.yaml")


def test_a_run_is_gone_on_with_and_bound(planted, manifest: Manifest, tmp_path: Path):
    """What was done of it is not done again; under another manifest of that name it is refused."""
    small = manifest.model_copy(update={"features": (0, 1)})
    with Journal.open(tmp_path / "j.db") as journal:
        (first,) = run_benchmark(planted.PlantedSource(), small, journal).values()
        again = planted.PlantedSource()
        (second,) = run_benchmark(again, small, journal).values()
        assert again.measured == []
        assert [one.as_json() for one in second] == [one.as_json() for one in first]
        (run,) = journal.runs()
        assert [one.index for one in results_of(run)] == [0, 1]
        with pytest.raises(JournalError, match="features"):
            run_benchmark(planted.PlantedSource(), manifest, journal)


def test_each_seed_is_a_run(planted, manifest: Manifest):
    two = manifest.model_copy(update={"features": (0, 2), "seeds": (0, 3)})
    with Journal.open(None) as journal:
        found = run_benchmark(
            planted.PlantedSource(), two, journal, explainer="sage:one-hypothesis"
        )
        assert [{one.seed for one in results} for results in found.values()] == [{0}, {3}]
        with pytest.raises(BenchmarkError, match="no seed 5: only 0, 3"):
            run_benchmark(planted.PlantedSource(), two, journal, seeds=[5])
        with pytest.raises(UnknownName):
            run_benchmark(planted.PlantedSource(), two, journal, explainer="sagge")


@pytest.mark.parametrize(
    ("explainer", "why"), [("weightlens", SAEError), ("one-shot:quantiles", MindError)]
)
def test_an_explainer_that_makes_no_sense_is_refused_at_once(
    explainer, why, planted, manifest: Manifest
):
    with Journal.open(None) as journal:
        with pytest.raises(why):
            run_benchmark(planted.PlantedSource(), manifest, journal, explainer=explainer)
        assert journal.runs() == []


def test_some_features_first(planted, manifest: Manifest):
    """The run is the same one, and is gone on with by more of them."""
    with Journal.open(None) as journal:
        source = planted.PlantedSource()
        (first,) = run_benchmark(source, manifest, journal, features=[2]).values()
        assert [one.index for one in first] == [2]
        (more,) = run_benchmark(source, manifest, journal, features=[2, 1]).values()
        assert [one.index for one in more] == [2, 1]
        assert len(journal.runs()) == 1
        with pytest.raises(BenchmarkError, match="has no feature 77"):
            run_benchmark(source, manifest, journal, features=[1, 77])
