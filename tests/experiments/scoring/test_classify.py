"""Detection, fuzzing, intruder, graded judgement and SAEBench's form, recomputed by hand."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagescope.experiments.scoring import SCORERS, Context, RuleSimulator, Target
from sagescope.experiments.scoring.bench import Marks
from sagescope.experiments.scoring.classification import (
    AUC,
    BALANCED,
    F1,
    Answers,
    accuracy,
    balanced_accuracy,
)
from sagescope.experiments.scoring.classify import RIGHT
from sagescope.experiments.scoring.contexts import NEGATIVES

LEVELS = {"red": 4.0, "green": 2.4, "pale": 0.4}
NAMES = ("detection", "fuzzing", "intruder", "graded", "saebench")


@dataclass
class Spoken:
    """Grades from a function of the text shown; what it was asked is kept."""

    says: object
    fires_from: float | None = 0.2
    words: str = "some words"
    asked: list[Context] = field(default_factory=list)

    async def grade(self, contexts: Sequence[Context]) -> np.ndarray:
        self.asked += contexts
        return np.array([self.says("".join(one.shown)) for one in contexts], float)

    async def grade_marked(self, contexts: Sequence[Context]) -> np.ndarray:
        self.asked += contexts
        marked = (" ".join(one.tokens[place] for place in one.marked) for one in contexts)
        return np.array([self.says(text) for text in marked], float)


def marks(name: str, source, simulator, seed: int = 0) -> Marks:
    return asyncio.run(SCORERS[name](Target(source, 0, seed), simulator))


def values(found: Marks) -> dict[str, float | None]:
    return {name: score.value for name, score in found.scores.items()}


def truth(text: str) -> float:
    """The best that can be said: the highest level of a text's words, in typical maxima."""
    return max((LEVELS.get(word, 0.0) for word in text.split()), default=0.0) / 4


def answers(
    grades: Sequence[float], fires: Sequence[int], fires_from: float | None = 0.5
) -> Answers:
    n = len(grades)
    kinds = np.array(["firing" if one else "random" for one in fires])
    return Answers(np.array(grades, float), np.array(fires, bool), kinds, np.arange(n), fires_from)


# --- The metrics, by hand ------------------------------------------------------------------------


def test_metrics_by_hand():
    asked = answers([0.9, 0.6, 0.1, 0.6, 0.3, 0.0], [1, 1, 1, 0, 0, 0])
    # TP 2, FN 1, TN 2, FP 1.
    assert BALANCED.value(asked) == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert F1.value(asked) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    # Pairs won: .9 all three; .6 two and a tie; .1 one.
    assert AUC.value(asked) == pytest.approx((3 + 2.5 + 1) / 9)
    for metric in (BALANCED, F1, AUC):
        score = metric.score(asked, 0)
        assert score.value == pytest.approx(metric.value(asked))
        assert score.n == 6


def test_what_failed_counts_in_nothing():
    with_nan = answers([0.9, np.nan, 0.1, np.nan], [1, 1, 0, 0])
    for metric in (BALANCED, F1, AUC):
        score = metric.score(with_nan, 0)
        assert (score.value, score.failed) == (1.0, 2)
    assert with_nan.share_failed == 0.5
    # One failure more is one more that is told, and nothing else.
    more = answers([0.9, np.nan, 0.1, np.nan, np.nan], [1, 1, 0, 0, 0])
    assert BALANCED.score(more, 0).failed == 3
    assert BALANCED.score(more, 0).value == 1


@pytest.mark.parametrize(
    ("grades", "fires", "why"),
    [
        ([0.9, 0.8], [1, 1], "is silent"),
        ([0.1, 0.2], [0, 0], "fires"),
        ([np.nan, 0.2], [1, 0], "none of the 1"),
        ([], [], "no context"),
    ],
)
def test_one_class_alone_has_no_score(grades, fires, why):
    for metric in (BALANCED, F1, AUC):
        score = metric.score(answers(grades, fires), 0)
        assert score.value is None
        assert why in score.reason


def test_grades_without_a_unit_have_an_auc_and_no_more():
    asked = answers([5.0, 2.0, 1.0], [1, 1, 0], fires_from=None)
    assert AUC.value(asked) == 1
    for metric in (BALANCED, F1):
        assert "no unit" in metric.score(asked, 0).reason


def test_all_right_is_not_certain():
    asked = answers([1.0] * 10 + [0.0] * 10, [1] * 10 + [0] * 10)
    score = balanced_accuracy(asked, 0)
    # Wilson's lower bound of ten of ten, on both sides.
    assert (score.value, score.high) == (1, 1)
    assert score.low == pytest.approx(10 / (10 + 1.959964**2))
    area = AUC.score(asked, 0)
    assert (area.value, area.low) == (1, None)
    assert "no interval" in area.reason


def test_items_of_one_document_are_resampled_together():
    asked = answers([0.9, 0.1] * 20, [1, 0] * 20)
    grades = np.random.default_rng(0).random(40)
    alone = AUC.score(Answers(grades, asked.fires, asked.kinds, np.arange(40), None), 0)
    together = AUC.score(Answers(grades, asked.fires, asked.kinds, np.arange(40) // 8, None), 0)
    assert (alone.n, together.n) == (40, 5)
    assert alone.value == together.value


def test_a_mean_of_shares():
    score = accuracy(np.array([1, 0.5, 0, 0.5]), np.arange(4), 0, failed=2)
    assert (score.value, score.n, score.failed) == (0.5, 4, 2)
    assert accuracy(np.zeros(0), np.zeros(0, int), 0, failed=3).reason == (
        "none of 3 items could be graded"
    )


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=4, max_size=60).filter(
        lambda pairs: 0 < sum(fires for _, fires in pairs) < len(pairs)
    )
)
@settings(max_examples=200, deadline=None)
def test_metrics_are_scikit_learns(pairs):
    from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

    grades, fires = (np.array(column) for column in zip(*pairs, strict=True))
    asked = answers(grades / 10, fires, 0.2)
    said = grades >= 2
    assert AUC.value(asked) == pytest.approx(roc_auc_score(fires, grades))
    assert BALANCED.value(asked) == pytest.approx(balanced_accuracy_score(fires, said))
    assert F1.value(asked) == pytest.approx(f1_score(fires, said, zero_division=0))


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=4, max_size=60))
@settings(max_examples=60, deadline=None)
def test_metrics_are_delphis(pairs):
    """Delphi's own code on the same predictions; its package and orjson are not dependencies."""
    pytest.importorskip("orjson", reason="delphi needs orjson (pip install orjson)")
    peer = pytest.importorskip(
        "delphi.log.result_analysis",
        reason="no delphi here (pip install --no-deps eai-delphi)",
        exc_type=ImportError,
    )
    import pandas as pd

    grades, fires = (np.array(column) for column in zip(*pairs, strict=True))
    if len(set(fires.tolist())) < 2:
        return
    table = pd.DataFrame(
        {"prediction": (grades >= 2).astype(float), "activating": fires, "probability": grades / 10}
    )
    theirs = peer.compute_classification_metrics(peer.compute_confusion(table))
    asked = answers(grades / 10, fires, 0.2)
    assert BALANCED.value(asked) == pytest.approx(theirs["accuracy"], abs=0.01)
    assert F1.value(asked) == pytest.approx(theirs["f1_score"], abs=0.01)
    assert AUC.value(asked) == pytest.approx(peer.compute_auc(table), abs=0.01)


@pytest.mark.slow
@given(
    st.lists(st.booleans(), min_size=14, max_size=14),
    st.lists(st.booleans(), min_size=14, max_size=14),
)
@settings(max_examples=40, deadline=None)
def test_accuracy_is_saebenchs(said, fires):
    """SAEBench's own counting on the same fourteen answers."""
    peer = pytest.importorskip(
        "sae_bench.evals.autointerp.main",
        reason="no sae_bench here (pip install sae-bench)",
        exc_type=ImportError,
    )
    from types import SimpleNamespace

    examples = [SimpleNamespace(is_active=one) for one in fires]
    predictions = [number for number, one in enumerate(said, 1) if one]
    theirs = peer.AutoInterp.score_predictions(None, predictions, examples)
    right = np.array(said) == np.array(fires)
    own = accuracy(right.astype(float), np.arange(14), 0, failed=0)
    assert own.value == pytest.approx(theirs, abs=0.01)


# --- The scorers ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(make):
    return make.words(LEVELS, n=160)


@pytest.mark.parametrize("name", NAMES)
def test_who_knows_all_has_all(source, name):
    found = marks(name, source, Spoken(truth))
    # One feature has no neighbours, and no near miss: it fires wherever its words are.
    missing = {f"{name}_near_miss", f"{name}_neighbour"}
    wanted = {key: value for key, value in values(found).items() if key not in missing}
    if name == "saebench":
        # There what acts weakly is active: only who says so gets it right.
        assert all(value >= 0.5 for value in wanted.values())
    else:
        assert wanted == pytest.approx(dict.fromkeys(wanted, 1.0))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_who_says_the_same_of_all_knows_nothing(source, name, level):
    found = marks(name, source, Spoken(lambda text: level))
    flat = values(found)
    if name == "intruder":
        assert flat["intruder"] == pytest.approx(0.2)
    elif name == "graded":
        assert flat["graded_pearson"] == 0
        assert flat["graded_auprc"] == pytest.approx(found.details["more"]["graded"]["base_rate"])
        assert flat["graded_coverage"] == flat["graded_recall"] == level
        assert flat["graded_specificity"] == 1 - level
    else:
        balanced = "saebench_balanced" if name == "saebench" else name
        assert flat[balanced] == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_every_item_is_of_the_score_split_and_none_is_dropped(source, name):
    simulator = Spoken(truth)
    found = marks(name, source, simulator)
    split = source.evidence.reader("scorer").split("score").tokens
    known = {tuple(split.window(n)) for n in range(len(split.starts) - 1)}
    seen = source.evidence.reader("explainer").split("explain").tokens
    explained = {tuple(seen.window(n)) for n in range(len(seen.starts) - 1)}
    assert {context.tokens for context in simulator.asked} <= known - explained
    assert found.details["failed"] == {name: 0.0}
    if name != "intruder":
        # Weak contexts are asked about with the others, and are no items of detection.
        weak = len(Target(source, 0).panel.of("weak")) if name == "detection" else 0
        assert len(found.details["items"]) == len(simulator.asked) - weak
    assert all(item.scorer == name and item.kind for item in found.details["items"])


def test_the_same_again_and_another_seed(source):
    one, again, other = (marks("detection", source, Spoken(truth), seed) for seed in (0, 0, 1))
    assert one == again
    assert one.details["items"] != other.details["items"]


def test_both_classes_in_any_ten(source):
    simulator = Spoken(truth)
    marks("fuzzing", source, simulator)
    items = marks("detection", source, simulator).details["items"]
    for start in range(0, len(items) - 10):
        kinds = {item.kind == "firing" for item in items[start : start + 10]}
        assert kinds == {True, False}


def test_right_tokens_are_marked_in_some_and_wrong_ones_in_others(source):
    simulator = Spoken(truth)
    found = marks("fuzzing", source, simulator)
    for item, context in zip(found.details["items"], simulator.asked, strict=True):
        marked = {context.tokens[place].strip() for place in context.marked}
        assert marked
        assert all(context.first <= place < context.end for place in context.marked)
        level = [LEVELS.get(word, 0.0) for word in marked]
        if item.kind == "firing":
            assert min(level) >= RIGHT * item.maximum
        else:
            assert max(level) == 0
    counts = {
        kind: [len(c.marked) for i, c in zip(found.details["items"], simulator.asked, strict=True) if i.kind == kind]
        for kind in ("firing", "misplaced", "random")
    }  # fmt: skip
    # How many are marked gives nothing away.
    assert set(counts["misplaced"]) <= set(counts["firing"])
    assert set(counts["random"]) <= set(counts["firing"])


def test_intruder_by_hand(source):
    """Who takes the weaker word for silence cannot tell contexts of it from an intruder."""
    found = marks("intruder", source, Spoken(lambda text: float("red" in text.split())))
    trials = found.details["items"]
    right = [trial.passed for trial in trials]
    assert 0 < sum(right) < len(right)
    # A tie is as good as a guess among the k, so the score is above the share of clear wins.
    assert np.mean(right) < found.scores["intruder"].value < 1


def test_graded_recall_and_coverage_by_hand(source):
    """Who knows one word of two covers its share of the mass."""
    target = Target(source, 0)
    known = {"red"}
    found = marks("graded", source, Spoken(lambda text: float(bool(known & set(text.split())))))
    acting = [one for one in target.panel.drawn if one.peak > 0]
    mass = np.array([one.stands_for * one.activations.sum() for one in acting])
    hit = np.array([bool(known & set(one.text.split())) for one in acting])
    assert found.scores["graded_coverage"].value == pytest.approx(mass[hit].sum() / mass.sum())
    bands = found.details["more"]["graded"]["bands"]
    assert sum(band["n"] for band in bands) == len(acting)
    recalls = [band["recall"] for band in bands if band["n"]]
    assert found.scores["graded_recall"].value == pytest.approx(np.mean(recalls))


def at_random(text: str) -> float:
    """A grade that knows nothing of the feature and differs from text to text."""
    return len(text) % 7 / 10


@pytest.mark.parametrize("name", ["detection", "fuzzing"])
def test_scores_are_those_of_their_items(source, name):
    found = marks(name, source, Spoken(at_random))
    items = found.details["items"]
    fires = np.array([item.kind == "firing" for item in items])
    grades = np.array([item.grade for item in items])
    said = grades >= 0.2
    score = {name: one.value for name, one in found.scores.items()}
    assert 0 < score[name] < 1
    assert score[name] == pytest.approx((said[fires].mean() + (~said[~fires]).mean()) / 2)
    hits = (said & fires).sum()
    assert score[f"{name}_f1"] == pytest.approx(2 * hits / (said.sum() + fires.sum()))
    pairs = np.sign(grades[fires][:, None] - grades[~fires])
    assert score[f"{name}_auc"] == pytest.approx(((pairs + 1) / 2).mean())


def test_saebench_by_hand(source):
    found = marks("saebench", source, Spoken(at_random))
    items = found.details["items"]
    peaks = np.array([item.maximum for item in items])
    highest = max(item.maximum for item in items if item.kind == "top")
    fires, said = peaks > 0.01 * highest, np.array([item.grade >= 0.2 for item in items])
    right = said == fires
    assert found.scores["saebench_autointerp"].value == pytest.approx(right.sum() / 14)
    balanced = (right[fires].mean() + right[~fires].mean()) / 2
    assert found.scores["saebench_balanced"].value == pytest.approx(balanced)


def test_the_other_graded_scores_by_hand(source):
    target = Target(source, 0)
    found = marks("graded", source, Spoken(at_random)).scores
    drawn = target.panel.drawn
    grades = np.array([at_random(one.text) for one in drawn])
    silent = np.array([one.kind in NEGATIVES for one in drawn])
    assert found["graded_specificity"].value == pytest.approx((grades[silent] < 0.2).mean())
    peaks = np.array([one.peak for one in drawn]) / target.stats.typical_max
    assert found["graded_pearson"].value == pytest.approx(np.corrcoef(grades, peaks)[0, 1])
    fires = np.array([one.kind == "firing" for one in drawn])
    precision = [fires[grades >= level].mean() for level in np.unique(grades)]
    share = [fires[grades == level].sum() / fires.sum() for level in np.unique(grades)]
    assert found["graded_auprc"].value == pytest.approx(np.dot(precision, share))


def test_a_weak_context_is_found_from_half_its_activation_on(source):
    half, less = (
        marks("graded", source, Spoken(lambda text, share=share: share * truth(text)))
        for share in (0.5, 0.49)
    )
    # Strong ones need the firing threshold alone; weak ones, .1 of the typical maximum, half.
    assert half.scores["graded_recall"].value == 1
    assert less.scores["graded_recall"].value < 1


def test_saebench_has_fourteen_of_its_kinds(source):
    items = marks("saebench", source, Spoken(truth)).details["items"]
    kinds = [item.kind for item in items]
    assert len(items) == 14
    assert kinds.count("top") == kinds.count("importance-weighted") == 2
    # A random context is active where it is measured to be.
    lucky = [item for item in items if item.kind == "anywhere" and item.maximum > 0]
    assert all(item.passed for item in lucky if item.maximum > 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_silent_feature_has_reasons(make, name):
    found = marks(name, make.spelled(["a b c"] * 9, ["a b c"] * 9), Spoken(truth))
    assert set(values(found)) == set(SCORERS[name].scores)
    assert set(values(found).values()) == {None}
    assert all(score.reason for score in found.scores.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_number_of_grades_is_an_error_and_not_cut_short(source, name):
    class Short(Spoken):
        async def grade(self, contexts):
            return (await super().grade(contexts))[:-1]

        async def grade_marked(self, contexts):
            return (await super().grade_marked(contexts))[:-1]

    with pytest.raises(ValueError, match="grades for"):
        marks(name, source, Short(truth))


@pytest.mark.parametrize("name", NAMES)
def test_when_nothing_is_graded_nothing_is_scored(source, name):
    found = marks(name, source, Spoken(lambda text: np.nan))
    assert set(values(found).values()) == {None}
    assert all(score.failed for score in found.scores.values() if "none of" in score.reason)
    assert found.details["failed"] == {name: 1.0}
    assert {item.error is None for item in found.details["items"]} == {False}


def test_rules_are_run(make, source):
    rule = make.rule({"red": 1.0, "green": 0.6, "pale": 0.1})
    for name in NAMES[:4]:
        found = marks(name, source, RuleSimulator(rule, source.tokenize))
        defined = [value for value in values(found).values() if value is not None]
        assert defined == pytest.approx([1.0] * len(defined))


def test_a_near_miss_is_harder_than_a_random_context():
    """A word list cannot know that the word must follow "the"."""
    from sagescope.sae.source import FunctionSource

    draw = np.random.default_rng(0)
    words = ["the", "red", "house", "garden", "paper", "letter", "winter", "corner"] + ["and"] * 20
    corpus = [" ".join(draw.choice(words, 40)) for _ in range(400)]

    def after_the(text: str, feature: int):
        tokens = text.split(" ")
        pairs = zip(["", *tokens], tokens, strict=False)
        return [(word, 3.0 * (word == "red" and before == "the")) for before, word in pairs]

    source = FunctionSource(after_the, 1, corpus)
    found = values(marks("detection", source, Spoken(lambda text: float("red" in text.split()))))
    assert found["detection_near_miss"] == 0.5
    assert found["detection_random"] > 0.7
    assert found["detection_near_miss"] < found["detection"] < found["detection_random"]
    assert set(NEGATIVES) == {"random", "near miss", "neighbour"}
