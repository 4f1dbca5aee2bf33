"""A zoo from end to end, on a tiny model: trained, drawn alike, explained, compared, gone on with."""

import json
from pathlib import Path

import pytest
import tiny
import yaml
from typer.testing import CliRunner

from sagescope.experiments.cli import app
from sagescope.experiments.journal import Journal
from sagescope.experiments.zoo.explaining import explained, is_drawn
from sagescope.experiments.zoo.place import Place
from sagescope.experiments.zoo.recipe import OWN, Recipe, read_recipe
from sagescope.experiments.zoo.stages import is_measured, run
from sagescope.experiments.zoo.table import table_of
from sagescope.experiments.zoo.training import is_trained
from sagescope.sae.errors import SAEError, UnknownName

# SAELens's trainer speaks of its own deprecations, and autocast of the CPU's types.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def values(tmp_path_factory) -> dict:
    """A recipe of three small SAEs, as YAML has it."""
    folder = tmp_path_factory.mktemp("zoo-of")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "CONTEXT", 128)  # explainers write longer texts than most tests
        model = tiny.save_model(folder / "llama")
    texts = folder / "some.txt"
    texts.write_text("\n\n".join(tiny.sentences(400)))
    return {
        "name": "tiny",
        "subject": str(model),
        "hook_point": "blocks.0.hook_resid_pre",
        "corpus": str(texts),
        "width": 48,
        "k": 4,
        "tokens": 64 * 200,
        "context": 128,
        "batch": 64,
        "buffer": 512,
        "checkpoints": 2,
        "held_out": {
            "corpus": f"{texts}#held-out",
            "tokens": 3000,
            "measured": 2000,
            "loss_tokens": 200,
        },
        "explaining": {"features": 4, "at_once": 2, "scorers": ["predictive"]},
        "saes": {
            "topk": {"arch": "topk"},
            "tsae": {"arch": "tsae"},
            "binary": {"arch": "binary_topk", "lr": 0.003},
        },
    }


@pytest.fixture(scope="module")
def made(values, tmp_path_factory):
    """A whole zoo, and what was said while it was made."""
    place = Place(tmp_path_factory.mktemp("zoo"), Recipe.model_validate(values))
    said: list[str] = []
    table = run(place, say=said.append)
    return place, table, said


def test_every_sae_is_explained_as_far(made):
    _, table, said = made
    assert {row.name for row in table.rows} == {"topk", "tsae", "binary"}
    assert (table.done, table.asked) == (4, 4)
    for row in table.rows:
        assert row.features == 4
        assert set(row.raw) == set(row.adjusted) == set(row.weighted) == set(table.slopes)
        assert 0 < row.measured["l0"] < 12
        assert ("coverage" in row.against) == (row.name != table.reference)
        assert row.controls["random_explanation"]["coverage"].n == 4
    # A round of all SAEs comes before the next of any.
    rounds = [sentence for sentence in said if sentence.startswith("Explained")]
    assert [sentence.split()[1] for sentence in rounds] == ["2"] * 3 + ["4"] * 3


def test_what_is_done_is_not_done_again(made, monkeypatch):
    place, table, _ = made

    def again(*_: object) -> None:
        raise AssertionError("it is done already")

    monkeypatch.setattr("sagescope.experiments.zoo.explaining._explained", again)
    monkeypatch.setattr("sagescope.experiments.zoo.training._trained", again)
    said: list[str] = []
    assert run(place, say=said.append).as_json() == table.as_json()
    assert all(sentence.startswith("Wrote") for sentence in said)


def test_files_hold_what_the_table_says(made):
    place, table, _ = made
    assert json.loads((place.folder / "zoo.json").read_text())["rows"] == table.as_json()["rows"]
    text = (place.folder / "zoo.md").read_text()
    for row in table.rows:
        assert text.count(f"| {row.name} |") >= 3
    for page in ("leaderboard.html", "leaderboard.md", "sae-eval.html"):
        assert (place.folder / page).stat().st_size > 1000
    assert not list(place.folder.glob("saes/*/checkpoints"))


def test_the_table_alone(made, values, tmp_path):
    place, table, _ = made
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(values, sort_keys=False))
    called = [str(place.folder), "--recipe", str(recipe), "--table"]
    found = CliRunner().invoke(app, ["zoo", *called, "--json"])
    assert json.loads(found.stdout) == json.loads(json.dumps(table.as_json()))
    assert CliRunner().invoke(app, ["zoo", *called]).stdout == (place.folder / "zoo.md").read_text()


def test_an_unfinished_round_is_in_no_table(made, values):
    """What one SAE has explained beyond the others would compare other features."""
    place, _, _ = made
    done = place.read("explained")
    try:
        place.write("explained", {**done, "tsae": {**done["tsae"], "features": 2}})
        found = table_of(place)
        assert found.done == 2
        assert {row.features for row in found.rows} == {2}
    finally:
        place.write("explained", done)


def test_scores_do_not_outlive_their_features(made, values):
    """Other features are another benchmark, of which nothing is explained."""
    place, _, _ = made
    fewer = {**values, "explaining": {**values["explaining"], "features": 2, "seed": 5}}
    other = Place(place.folder, Recipe.model_validate(fewer))
    manifest = other.manifest("topk").read_text()
    try:
        other.manifest("topk").write_text(manifest.replace("seeds: [0]", "seeds: [5]"))
        assert explained(other, "topk") == 0
    finally:
        other.manifest("topk").write_text(manifest)
    assert explained(place, "topk") == 4


def test_another_recipe_is_refused(made, values):
    place, _, _ = made
    other = Place(place.folder, Recipe.model_validate({**values, "width": 32}))
    with pytest.raises(SAEError, match=r"another recipe \(width\)"):
        run(other)


def test_an_sae_with_other_settings_is_not_trained(made, values):
    place, _, _ = made
    saes = {**values["saes"], "binary": {"arch": "binary_topk", "lr": 0.001}}
    other = Place(place.folder, Recipe.model_validate({**values, "saes": saes}))
    assert is_trained(other, "topk")
    assert not is_trained(other, "binary")
    with pytest.raises(SAEError, match=r"other settings \(lr\)"):
        run(other)


def test_explanations_of_another_benchmark_say_what_to_delete(made, values):
    """The recipe has other scorers: features are drawn anew, but the journal has the old scores."""
    place, _, _ = made
    explaining = {**values["explaining"], "scorers": ["predictive", "generated"]}
    other = Place(place.folder, Recipe.model_validate({**values, "explaining": explaining}))
    kept = {path: path.read_text() for path in place.folder.glob("benchmarks/*.yaml")}
    drawn = place.read("features")
    try:
        with pytest.raises(SAEError, match=r"zoo\.db holds explanations of other .* delete it"):
            run(other)
    finally:
        for path, text in kept.items():
            path.write_text(text)
        place.write("features", drawn)
    assert explained(place, "topk") == 4


def test_the_recipe_that_comes_with_it_can_be_made():
    recipe = read_recipe(OWN)
    recipe.check()
    assert recipe.tokens >= 2_000_000
    assert recipe.reference == "topk"
    assert len(recipe.saes) == 8
    assert recipe.explaining.features == 48


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: [", "cannot be read"),
        ("name: tiny", "subject: Field required"),
        ("", "is no recipe"),
    ],
)
def test_a_bad_recipe_says_what_is_wrong(text, says, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(SAEError, match=says):
        read_recipe(path)
    with pytest.raises(SAEError, match="name one"):
        read_recipe(Path("nowhere.yaml"))


def test_what_cannot_be_trained_is_refused_before_it_costs(values, tmp_path):
    saes = {**values["saes"], "odd": {"arch": "toppk"}}
    place = Place(tmp_path / "zoo", Recipe.model_validate({**values, "saes": saes}))
    with pytest.raises(UnknownName, match="toppk"):
        run(place)
    assert not place.folder.exists()


def test_the_journal_is_one_for_all(made):
    place, _, _ = made
    with Journal.open(place.journal) as journal:
        assert len(journal.runs()) == 3


def test_other_scorers_and_explainers_are_not_those_that_are_done(made, values):
    place, _, _ = made

    def other(**how) -> Place:
        explaining = {**values["explaining"], **how}
        recipe = Recipe.model_validate({**values, "explaining": explaining})
        return Place(place.folder, recipe)

    assert not is_drawn(other(scorers=["predictive", "generated"]))
    assert explained(other(explainer="sage:no-probes"), "topk") == 0
    assert not any(row.raw for row in table_of(other(explainer="sage:no-probes")).rows)


def test_other_held_out_text_is_measured_and_drawn_from_anew(made, values):
    place, _, _ = made
    held_out = {**values["held_out"], "tokens": 2500}
    other = Place(place.folder, Recipe.model_validate({**values, "held_out": held_out}))
    other.claim()
    assert is_drawn(place)
    assert is_measured(place)
    assert not is_drawn(other)
    assert not is_measured(other)
