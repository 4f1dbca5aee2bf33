"""Explanations from elsewhere: read whole or refused with the line, and scored like any other."""

import gzip
import json
import re
from pathlib import Path

import pytest
from hostile import HOSTILE, hostile_run
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sagescope.experiments import Journal
from sagescope.experiments.leaderboard import neuronpedia
from sagescope.experiments.leaderboard.board import board
from sagescope.experiments.leaderboard.manifest import Manifest
from sagescope.experiments.leaderboard.neuronpedia import write_export
from sagescope.experiments.leaderboard.submission import Submitted, read_submission, verify
from sagescope.sae.errors import BenchmarkError, RuleError, SagescopeError, SubmissionError

GOOD = {"feature": 0, "labels": ["banks"], "rule": "word: bank"}


def long_rule(unit: object, level: object) -> str:
    """A rule as JSON text, with numbers that Python's own JSON would not write."""
    near = '{"match": {"kind": "word", "values": ["bank"]}}'
    return f'{{"unit": {unit}, "clauses": [{{"level": {level}, "conditions": [{near}]}}]}}'


def reaching(**where: int) -> dict:
    """A rule with a condition on tokens so far away."""
    match = {"kind": "word", "values": ["bank"]}
    return {"clauses": [{"level": 1, "conditions": [{"match": match, **where}]}]}


def written(path: Path, *lines: object) -> Path:
    text = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


def packed(path: Path, *lines: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    return path


def said(index: int, description: str, kind: str = "np_max-act", model: str = "gpt", **more):
    """A line of Neuronpedia's explanations."""
    return {
        "id": "x", "modelId": "m", "layer": "20-res", "index": str(index), "authorId": "a",
        "description": description, "embedding": "[1,2]", "typeName": kind,
        "explanationModelName": model, **more,
    }  # fmt: skip


# --- Our own format ------------------------------------------------------------------------------


def test_a_submission_is_scored_from_its_text(
    planted, manifest: Manifest, journal: Journal, tmp_path
):
    path = written(
        tmp_path / "mine.jsonl",
        GOOD,
        "",
        {"feature": 1, "description": "Colours.", "rule": {"clauses": [
            {"level": 1, "conditions": [{"match": {"kind": "word", "values": ["green", "blue"]}}]}]}},
        {"feature": 2, "description": "In words alone."},
        {"feature": 3, "description": "Fires on money, which is wrong.", "rule": "word: money"},
        {"feature": 4, "description": "Outside of the benchmark."},
    )  # fmt: skip
    submission = read_submission(path)
    assert (submission.name, submission.mind, len(submission.entries)) == ("mine", "not said", 5)
    with Journal.open(None) as opened:
        name, results = verify(planted.PlantedSource(), manifest, submission, opened)
        assert [one.index for one in results] == [0, 1, 2, 3]
        coverage = [
            one.scores["coverage"] and one.scores["coverage"].value
            for one in results
            if "coverage" in one.scores
        ]
        assert coverage[:2] == [1.0, 1.0]
        assert results[3].scores["coverage"].value == 0.0
        again, same = verify(planted.PlantedSource(), manifest, submission, opened)
        assert (again, [one.as_json() for one in same]) == (
            name,
            [one.as_json() for one in results],
        )
        table = board([journal, opened], manifest)
    row = next(row for row in table.rows if row.explainer == "mine")
    assert (row.kind, row.calls, row.controlled) == ("submitted", None, True)
    assert (row.done, row.groups["all"].scores["coverage"].n) == (4, 3)


def test_a_rule_is_scored_as_if_it_had_been_found_here(
    planted, manifest: Manifest, journal: Journal, tmp_path
):
    """The explanations of a run, handed in, get the run's scores."""
    from sagescope.experiments.results import results_of

    run = journal.runs()[0]
    found = results_of(run)
    lines = [
        {"feature": one.index, "description": one.explanation.description,
         "rule": one.explanation.rule.model_dump(mode="json")}
        for one in found
    ]  # fmt: skip
    submission = read_submission(written(tmp_path / "again.jsonl", *lines))
    with Journal.open(None) as opened:
        _, results = verify(planted.PlantedSource(), manifest, submission, opened)
    for mine, theirs in zip(found, results, strict=True):
        assert mine.scores["coverage"] == theirs.scores["coverage"]
        assert mine.scores["input"] == theirs.scores["input"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["{"], "line 1: this is no JSON"),
        ([GOOD, "[1]"], "line 2:"),
        ([GOOD, "", {"feature": -1, "description": "x"}], "line 3: feature"),
        ([{"feature": "0", "description": "x"}], "line 1: feature"),
        ([{"feature": True, "description": "x"}], "line 1: feature"),
        ([{"feature": 0}], "neither a description nor a label"),
        ([{"feature": 0, "labels": [" "]}], "neither a description nor a label"),
        ([{**GOOD, "score": 1.0}], "line 1: score"),
        ([GOOD, GOOD], "line 2: feature 0 has an explanation already"),
        ([{**GOOD, "rule": "nonsense"}], "line 1: .* is no rule"),
        ([{**GOOD, "rule": {"clauses": []}}], "no clauses"),
        ([{**GOOD, "rule": "regex: (a+)+b"}], "repeats what repeats"),
        ([{**GOOD, "rule": f"regex: {'a' * 300}"}], "longer than 200"),
        ([{**GOOD, "rule": f"regex: {'a*' * 12}b"}], "in too many ways"),
        ([{**GOOD, "rule": f"regex: {'a?' * 40}{'a' * 40}"}], "in too many ways"),
        ([{**GOOD, "rule": f"regex: {'(a|aa)' * 20}b"}], "in too many ways"),
        ([f'{{"feature": 0, "labels": ["x"], "rule": {long_rule("Infinity", 1)}}}'], "unit inf"),
        ([f'{{"feature": 0, "labels": ["x"], "rule": {long_rule("NaN", 1)}}}'], "unit: Input"),
        ([f'{{"feature": 0, "labels": ["x"], "rule": {long_rule("1e300", 1)}}}'], "leave it out"),
        ([f'{{"feature": 0, "labels": ["x"], "rule": {long_rule(0, 1)}}}'], "leave it out"),
        ([f'{{"feature": 0, "labels": ["x"], "rule": {long_rule(1, "1e999")}}}'], "level inf"),
        ([{**GOOD, "rule": f"word: bank @ {'9' * 400}"}], "level inf"),
        ([{**GOOD, "rule": reaching(first=-(10**400))}], "100,000 tokens"),
        ([{**GOOD, "rule": reaching(last=10**30)}], "100,000 tokens"),
        ([{**GOOD, "rule": reaching(at_least=10**30)}], "100,000 tokens"),
        ([{**GOOD, "rule": "; ".join(["word: bank"] * 13)}], "13 conditions"),
        ([{**GOOD, "rule": "word: " + ", ".join(f"w{n}" for n in range(17))}], "17 words or forms"),
        ([{**GOOD, "labels": ["x" * 1_001]}], "at most 1000 characters"),
        ([{**GOOD, "description": "x" * 20_001}], "at most 20000 characters"),
        (["x" * 10_000_001], "longer than 10,000,000 bytes"),
        (["\ud800"], "line 1: this is no JSON"),
        (["[" * 100_000], "line 1: this is no JSON"),
        ([], "no explanation in"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, lines, said: str):
    path = written(tmp_path / "bad.jsonl", *lines)
    with pytest.raises(SubmissionError, match=said) as caught:
        read_submission(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "pattern",
    [
        "banks?",
        "river|bank|shore",
        "[A-Z][a-z]+(ing|ed)?",
        r"\d{1,4}[-/.]\d{1,2}[-/.]\d{2,4}",
        r"(https?://)?[\w.]+\.[a-z]{2,}(/.*)?",
    ],
)
def test_ordinary_regular_expressions_are_taken(tmp_path: Path, pattern: str):
    (entry,) = read_submission(
        written(tmp_path / "x.jsonl", {**GOOD, "rule": f"regex: {pattern}"})
    ).entries
    rule = entry.explanation(2.0).rule
    assert rule is not None
    assert rule.clauses[0].conditions[0].match.values == (pattern,)


regexes = st.lists(
    st.tuples(
        st.sampled_from(["a", ".", "[ab]", "(a|b)", "(a|aa)", "(?:ab)", "(?=a*b)", "b"]),
        st.sampled_from(["", "*", "+", "?", "*?", "{0,9}", "{2,}"]),
    ),
    max_size=9,
).map(lambda parts: "".join(part + times for part, times in parts))


@given(regexes)
@settings(deadline=None)
def test_a_regular_expression_that_is_taken_ends(pattern: str):
    """On a text that it nearly matches; one that ran for ever would hang this test."""
    try:
        Submitted.model_validate({**GOOD, "rule": f"regex: {pattern}c"})
    except (ValidationError, RuleError):
        return
    assert re.fullmatch(f"{pattern}c", "a" * 30) is None


def test_nothing_is_written_for_what_is_refused(planted, manifest: Manifest, tmp_path: Path):
    nothing = read_submission(written(tmp_path / "x.jsonl", {"feature": 77, "description": "x"}))
    with Journal.open(None) as opened:
        with pytest.raises(BenchmarkError, match="none of the 4 features"):
            verify(planted.PlantedSource(), manifest, nothing, opened)
        assert opened.runs() == []
    with pytest.raises(SubmissionError, match="There is no"):
        read_submission(tmp_path / "missing.jsonl")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data: bytes):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    for ending in ("", ".gz"):
        file = path.with_name(path.name + ending)
        file.write_bytes(data)
        with pytest.raises(SubmissionError):
            read_submission(file)


@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_explanation_comes_through(tmp_path_factory, description: str, labels: list[str]):
    path = tmp_path_factory.getbasetemp() / "own.jsonl"
    written(path, {"feature": 3, "labels": ["a", *labels], "description": description})
    (entry,) = read_submission(path).entries
    assert (entry.description, entry.labels) == (description, ("a", *labels))


# --- Neuronpedia ---------------------------------------------------------------------------------


def test_neuronpedia_explanations_are_read(tmp_path: Path):
    packed(
        tmp_path / "e" / "explanations" / "batch-0.jsonl.gz", said(0, "banks"), said(1, "colours")
    )
    packed(tmp_path / "e" / "explanations" / "batch-1.jsonl.gz", said(2, "numbers"))
    found = read_submission(tmp_path / "e")
    assert (found.name, found.mind) == ("np_max-act", "gpt")
    assert [(one.feature, one.description) for one in found.entries] == [
        (0, "banks"), (1, "colours"), (2, "numbers")]  # fmt: skip
    one = tmp_path / "e" / "explanations" / "batch-1.jsonl.gz"
    assert [entry.feature for entry in read_submission(one, name="theirs").entries] == [2]


def test_of_several_makers_one_is_named(tmp_path: Path):
    file = packed(
        tmp_path / "batch-0.jsonl.gz",
        said(0, "banks"),
        said(0, "money", model="claude"),
        said(1, "x"),
    )
    with pytest.raises(SubmissionError, match=r"'np_max-act by gpt' \(2\).*--by"):
        read_submission(file)
    (entry,) = read_submission(file, by="np_max-act by claude").entries
    assert entry.description == "money"
    with pytest.raises(SubmissionError, match="no explanations 'x'"):
        read_submission(file, by="x")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([said(0, "a"), said(0, "b")], "line 2: feature 0 has an explanation already"),
        ([said(0, "a"), said(1, "b", layer="3-res")], "line 2: this is of m/3-res"),
        ([said(0, "a"), {"modelId": "m"}], "line 2: layer"),
        ([{**said(0, "a"), "index": "-1"}], "line 1: index"),
        ([said(0, "")], "line 1: .*neither"),
    ],
)
def test_exports_that_make_no_sense(tmp_path: Path, lines, expected: str):
    with pytest.raises(SubmissionError, match=expected):
        read_submission(packed(tmp_path / "batch-0.jsonl.gz", *lines))


def test_a_cut_file_is_refused(tmp_path: Path):
    file = packed(tmp_path / "batch-0.jsonl.gz", *(said(n, "x" * 50) for n in range(50)))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(SubmissionError, match="cannot be read"):
        read_submission(file)


def test_a_run_is_exported_and_comes_back(journal: Journal, tmp_path: Path):
    run = journal.runs()[0]
    counts = write_export(run, tmp_path / "out", "smollm", "20-topk")
    assert counts["features"] == counts["explanations"] == 4
    assert counts["activations"] > 8
    forms = {
        "features": neuronpedia.FeatureLine,
        "activations": neuronpedia.ActivationLine,
        "explanations": neuronpedia.ExplanationLine,
    }
    for kind, form in forms.items():
        with gzip.open(tmp_path / "out" / kind / "batch-0.jsonl.gz", "rt") as file:
            lines = [json.loads(line) for line in file]
        assert len(lines) == counts[kind]
        for line in lines:
            assert form.model_validate(line, strict=True).model_dump() == line
            assert {"modelId": "smollm", "layer": "20-topk"}.items() <= line.items()
        if kind == "activations":
            for line in lines:
                assert len(line["tokens"]) == len(line["values"])
                assert line["values"][line["maxValueTokenIndex"]] == line["maxValue"]
    from sagescope.experiments.results import results_of

    back = read_submission(tmp_path / "out")
    assert (back.name, back.mind) == ("sagescope_sage", "rules")
    descriptions = {one.index: one.explanation.description for one in results_of(run)}
    assert {one.feature: one.description for one in back.entries} == descriptions


#: What Neuronpedia's export script writes, table by table.
FIELDS = {
    "features": """modelId layer index maxActApprox creatorId frac_nonzero freq_hist_data_bar_heights
        freq_hist_data_bar_values logits_hist_data_bar_heights logits_hist_data_bar_values
        neuron_alignment_indices neuron_alignment_l1 neuron_alignment_values
        correlated_neurons_indices correlated_neurons_l1 correlated_neurons_pearson
        decoder_weights_dist neg_str neg_values pos_str pos_values sourceSetName topkCosSimIndices
        topkCosSimValues vector vectorLabel hookName vectorDefaultSteerStrength hasVector""",
    "activations": """id modelId layer index creatorId dataSource tokens maxValue minValue values
        maxValueTokenIndex dfaValues dfaMaxValue dfaTargetIndex binContains binMin binMax""",
    "explanations": """id modelId layer index authorId description embedding typeName
        explanationModelName umap_x umap_y umap_cluster umap_log_feature_sparsity""",
}


@pytest.mark.parametrize("kind", FIELDS)
def test_an_export_has_just_neuronpedias_fields(journal: Journal, tmp_path: Path, kind: str):
    write_export(journal.runs()[0], tmp_path / "out")
    with gzip.open(tmp_path / "out" / kind / "batch-0.jsonl.gz", "rt") as file:
        assert all(set(json.loads(line)) == set(FIELDS[kind].split()) for line in file)


def test_an_export_is_whole_or_not_there(journal: Journal, tmp_path: Path):
    run = journal.runs()[0]
    write_export(run, tmp_path / "a")
    write_export(run, tmp_path / "b")
    for file in sorted((tmp_path / "a").rglob("*.gz")):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()
    with pytest.raises(SagescopeError, match="there already"):
        write_export(run, tmp_path / "a")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_exported_as_it_is(text: str, tmp_path: Path):
    with Journal.open(None) as journal:
        write_export(hostile_run(journal, text), tmp_path / "out")
    with gzip.open(tmp_path / "out" / "activations" / "batch-0.jsonl.gz", "rt") as file:
        assert json.loads(file.readline())["tokens"] == [text, text]


# --- Delphi --------------------------------------------------------------------------------------


def delphi(folder: Path, *explanations: tuple[str, object], model: str = "llama") -> Path:
    (folder / "explanations").mkdir(parents=True)
    (folder / "run_config.json").write_text(json.dumps({"explainer_model": model}))
    for name, value in explanations:
        (folder / "explanations" / f"{name}.txt").write_text(json.dumps(value))
    return folder


def test_delphis_results_are_read(tmp_path: Path):
    folder = delphi(
        tmp_path / "results",
        ("layers.6.mlp_latent12", "Banks."),
        ("layers.6.mlp_latent3", {"explanation": "Colours."}),
    )
    found = read_submission(folder)
    assert (found.name, found.mind) == ("delphi", "llama")
    assert [(one.feature, one.description) for one in found.entries] == [
        (3, "Colours."),
        (12, "Banks."),
    ]
    assert read_submission(folder / "explanations").entries == found.entries


def test_of_several_hook_points_one_is_named(tmp_path: Path):
    folder = delphi(tmp_path / "r", ("a_latent1", "One."), ("b_latent1", "Other."))
    with pytest.raises(SubmissionError, match="several hook points, a, b"):
        read_submission(folder)
    assert read_submission(folder, by="b").entries[0].description == "Other."
    with pytest.raises(SubmissionError, match="no hook point 'c'"):
        read_submission(folder, by="c")


@pytest.mark.parametrize("value", [None, 3, ["x"], {"text": "x"}, ""])
def test_delphi_files_that_are_no_explanation(tmp_path: Path, value: object):
    folder = delphi(tmp_path / "r", ("a_latent1", value))
    with pytest.raises(SubmissionError, match=r"a_latent1\.txt, line 1"):
        read_submission(folder)
