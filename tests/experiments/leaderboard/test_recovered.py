"""Beside planted features: what each explainer recovered, by class."""

from sagescope.agents import records
from sagescope.experiments.leaderboard.board import Board
from sagescope.experiments.leaderboard.manifest import Manifest, PlantedSuite
from sagescope.experiments.leaderboard.output import as_markdown
from sagescope.experiments.leaderboard.recovered import recovered
from sagescope.experiments.leaderboard.rows import Entry
from sagescope.experiments.planted import planted_source
from sagescope.experiments.planted.source import DECOY
from sagescope.experiments.results import Cost, Explanation, Result

SUITE = PlantedSuite(planted=0, per_class=5)
NOTHING = records.Explanation(labels=("nothing",), description="nothing")


def result(planted, explainer: str, seed: int, said: records.Explanation) -> Result:
    probes = 0 if "no-probes" in explainer else 9
    verdict = "confirmed" if probes and said is not NOTHING else None
    return Result(
        feature=f"none/planted/{planted.index}",
        stratum=None,
        status="concluded",
        explanation=Explanation.model_validate(said.model_dump() | {"verdict": verdict}),
        scores={},
        controls={},
        cost=Cost(calls=0, tokens=0, probes=probes, seconds=1.0),
        explainer=explainer,
        mind="rules",
        run=f"r{seed}",
        seed=seed,
    )


def entry(explainer: str, *results: Result) -> Entry:
    return Entry("run", explainer, "rules", "", ("r0", "r1"), results, {})


def test_shares_are_of_features_and_say_of_how_many(manifest: Manifest):
    key = planted_source(SUITE.planted, SUITE.per_class).features
    shown = [one for one in key if one.kind in ("word", "degenerate", DECOY)]

    def told(one) -> records.Explanation:
        return NOTHING if one.form in ("dead", "noisy") else one.explanation

    probing = [result(one, "sage", 0, told(one)) for one in shown]
    # With another seed it says nothing of any.
    again = [result(one, "sage", 1, NOTHING) for one in shown]
    without = [
        result(one, "sage:no-probes", 0, NOTHING if one.kind == DECOY else told(one))
        for one in shown
    ]
    frozen = manifest.model_copy(update={"opens": SUITE, "seeds": (0, 1)})
    entries = entry("sage", *again, *probing), entry("sage:no-probes", *without)
    own, blind = found = recovered(entries, frozen)
    groups = {group.name: group for group in own.groups}
    assert {name: group.features for name, group in groups.items()} == {
        "word": 5,
        "degenerate": 5,
        DECOY: 5,
        "single concepts": 5,
    }
    assert (groups["word"].recovered.value, groups["word"].recovered.n) == (1.0, 5)
    assert own.lift is not None
    assert (own.lift.value, own.lift.n) == (1.0, 5)
    assert (own.false_labels.value, own.false_labels.n) == (0.0, 4)
    # Who does not probe confirms nothing, which is no merit.
    assert blind.false_labels.value is None
    assert blind.lift is None
    lines = as_markdown([Board(frozen, {}, (), recovered=found)], [], []).splitlines()
    cells = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in lines if "|" in line}
    # Only the one that is always on has a meaning to recover.
    assert cells["degenerate"][0].strip() == "5"
    assert cells["degenerate"][1].strip().endswith(", n 1")
    assert ", n" not in cells["word"][1]
    assert cells["what probing adds with decoys"][0].strip() == "5"


def test_other_benchmarks_have_no_key(manifest: Manifest):
    assert recovered([], manifest) == ()
