"""What scoring costs: 64 rule explanations on every offline scorer, after collection.

    python benchmarks/scoring.py [FEATURES]

The features are those whose evidence comes with the demo's SAE. Each is explained, before the clock
starts, by a rule of its 16 best tokens and that rule's own words, so that nothing is mined. What is
timed is the scoring of the explanations, without controls: each scorer over all features, eight at
once, in one run whose journal it shares with the others, as a job does.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from sagescope.agents.records import Explanation
from sagescope.agents.rules.render import describe, labels
from sagescope.experiments.features import draw_each
from sagescope.experiments.journal import Journal
from sagescope.experiments.recorded import RecordedSource
from sagescope.experiments.scoring import SCORERS, Target, score_simulator
from sagescope.experiments.scoring.controls import token_lookup
from sagescope.experiments.scoring.embedding import installed
from sagescope.experiments.scoring.simulator import RuleSimulator, words_of
from sagescope.sae.loading import pretrained_names
from sagescope.sae.model_source import ModelSource

AT_ONCE = 8
#: The draws whose evidence comes with the SAE.
SEEDS, EACH = range(4), 16
#: Seconds that 64 explanations may take on two cores.
AIM, OF = 180, 64
FAMILIES = {
    "texts made from the explanation": ("generated",),
    "the whole split": ("predictive", "uniform"),
    "contexts": ("detection", "fuzzing", "intruder", "graded", "saebench", "fade", "simulation"),
    "embeddings": ("embedding",),
    "surprisal": ("surprisal",),
    "output side": ("logits", "steering"),
    "between features": ("discrimination",),
}


def explained(source, feature):
    """A rule of the feature's best tokens, with its words."""
    rule = token_lookup(Target(source, feature)).texts.rule
    words = Explanation(labels=labels(rule), description=describe(rule), rule=rule)
    return RuleSimulator(rule, source.tokenize, words=words_of(words))


async def every(scorer, source, simulators):
    """One scorer over all features; how many of its scores have a value."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(feature, simulator):
        async with places:
            return await score_simulator(Target(source, feature), simulator, [scorer])

    found = await asyncio.gather(*(one(*pair) for pair in simulators.items()))
    return sum(score.value is not None for one in found for score in one.scores.values())


def main() -> None:
    """Print seconds by family and scorer, and all together."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else OF
    unlisted = set(SCORERS) - {name for names in FAMILIES.values() for name in names}
    assert not unlisted, f"no family has {unlisted}"
    with (
        tempfile.TemporaryDirectory() as folder,
        ModelSource.load("smollm2-135m-instruct", pretrained_names()[0]) as source,
        Journal.open(Path(folder) / "j.db") as journal,
        journal.begin("scoring", {}) as run,
    ):
        features = draw_each(source.evidence, EACH, SEEDS)
        features = features[:: max(1, len(features) // n)][:n]
        source.cover(features)
        simulators = {feature: explained(source, feature) for feature in features}
        recorded, whole = RecordedSource(source, run), 0.0
        for family, names in FAMILIES.items():
            if names == ("embedding",) and not installed():
                print(f"{family}: left out, its package is not installed")
                continue
            for name in names:
                began = time.perf_counter()
                values = asyncio.run(every(name, recorded, simulators))
                took = time.perf_counter() - began
                whole += took
                each = 1000 * took / len(features)
                print(
                    f"{family:<32} {name:<15} {took:6.1f} s  {each:6.0f} ms each  {values:4} values",
                    flush=True,
                )
    print(
        f"all: {whole:.1f} s for {len(features)} explanations; {OF} may take {AIM} s: "
        f"{whole * OF / len(features) / AIM:.2f} of that"
    )


if __name__ == "__main__":
    main()
