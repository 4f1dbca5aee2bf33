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


def test_features_that_failed_are_no_zeros(manifest: Manifest):
    """Neither for who explains, nor, which would flatter, for who does it without probes."""
    key = planted_source(SUITE.planted, SUITE.per_class).features
    decoys = [one for one in key if one.kind == DECOY]
    dead = [one for one in key if one.form in ("dead", "noisy")]

    def lost(one, explainer: str) -> Result:
        found = result(one, explainer, 0, NOTHING)
        return found.model_copy(update={"status": "failed", "error": "the provider is down"})

    probing = [
        *(result(one, "sage", 0, one.explanation) for one in decoys[:4]),
        lost(decoys[4], "sage"),
        lost(dead[0], "sage"),
        *(result(one, "sage", 0, NOTHING) for one in dead[1:]),
    ]
    without = [
        *(result(one, "sage:no-probes", 0, one.explanation) for one in decoys[:2]),
        *(lost(one, "sage:no-probes") for one in decoys[2:]),
    ]
    frozen = manifest.model_copy(update={"opens": SUITE})
    own, blind = found = recovered(
        (entry("sage", *probing), entry("sage:no-probes", *without)), frozen
    )
    (group, *_) = own.groups
    assert (group.name, group.features, group.failed) == (DECOY, 5, 1)
    assert (group.recovered.value, group.recovered.n, group.confirmed.n) == (1.0, 4, 4)
    assert (own.false_labels.value, own.false_labels.n) == (0.0, len(dead) - 1)
    # Both were right on the two features that neither failed on: probing added nothing there.
    assert own.lift is not None
    assert (own.lift.value, own.lift.n) == (0.0, 2)
    assert (blind.groups[0].recovered.value, blind.groups[0].recovered.n) == (1.0, 2)
    table = as_markdown([Board(frozen, {}, (), recovered=found)], [], [])
    assert ", n 4" in table
    assert ", n 2" in table


def test_other_benchmarks_have_no_key(manifest: Manifest):
    assert recovered([], manifest) == ()
