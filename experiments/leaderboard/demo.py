"""The demo's leaderboard: rule mining with and without its parts, beside its controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...sae.source import FeatureSource
from ..features import draw_each
from ..journal import Journal
from .benchmark import Watch, run_benchmark
from .manifest import Manifest, Opens, PlantedSuite, freeze

#: The rows; controls come along with each.
EXPLAINERS = ("sage", "sage:no-probes", "sage:one-hypothesis")
#: As many features as each of these seeds draws: those whose evidence comes with the demo's SAE.
DRAWN, DRAW_SEEDS = 16, (0, 1, 2, 3)
#: The planted suite's seed, and how many of each class.
PLANTED = PlantedSuite(planted=0, per_class=10)


def demo_benchmark(source: FeatureSource, opens: Opens | None = None) -> Manifest:
    """The benchmark on the SAE: 64 features, half of them contextual."""
    return drawn_benchmark(source, "demo", DRAWN, DRAW_SEEDS, opens)


def drawn_benchmark(
    source: FeatureSource,
    name: str,
    n: int,
    draw_seeds: Sequence[int],
    opens: Opens | None = None,
    seeds: Sequence[int] = (0,),
    scorers: Sequence[str] | None = None,
    **answering: Any,
) -> Manifest:
    """A benchmark of features that each of some seeds draws (see `features.draw`).

    answering: simulator and scorer mind, as for `freeze`. Raises as `draw` and `freeze`.
    """
    features = draw_each(source.evidence, n, draw_seeds)
    strata = [source.evidence.stratum(feature) for feature in features]
    contextual = strata.count("contextual")
    by = ", ".join(map(str, draw_seeds))
    drawn = (
        f"{n} with each of the draw's seeds {by}, half of each stratum where there are so many; "
        f"{contextual} of {len(features)} are contextual ({contextual / len(features):.0%})"
    )
    how = {"seeds": seeds, "scorers": scorers, **answering}
    return freeze(source, name, features, drawn=drawn, opens=opens, **how)


def planted_benchmark(
    source: FeatureSource,
    name: str,
    suite: PlantedSuite,
    seeds: Sequence[int] = (0,),
    scorers: Sequence[str] | None = None,
    **answering: Any,
) -> Manifest:
    """The benchmark of all features of a planted source. answering: see `drawn_benchmark`."""
    drawn = f"planted from the seed {suite.planted}, {suite.per_class} of each class"
    features = range(source.n_features)
    how = {"seeds": seeds, "scorers": scorers, **answering}
    return freeze(source, name, features, drawn=drawn, opens=suite, **how)


def run_all(
    source: FeatureSource,
    manifest: Manifest,
    journal: Journal,
    concurrency: int | None = None,
    watch: Watch | None = None,
) -> None:
    """Every explainer of the demo on one benchmark; what is done is not done again."""
    for explainer in EXPLAINERS:
        tell = _named(watch, f"{manifest.name}, {explainer}") if watch else None
        run_benchmark(
            source, manifest, journal, explainer=explainer, concurrency=concurrency, watch=tell
        )


def _named(watch: Watch, name: str) -> Watch:
    return lambda stage, done, total: watch(f"{name}: {stage.lower()}", done, total)
