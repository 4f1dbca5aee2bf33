"""What scoring costs: 64 rule explanations on every offline scorer, after collection.

    python benchmarks/scoring.py [FEATURES]

The features are those whose evidence comes with the demo's SAE. Each is explained by its 16 best
tokens, so that nothing is mined; what is timed is scoring alone, without controls. Each scorer runs
over all features, eight at once, in one run whose journal it shares with the others, as a job does.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from sagescope.agents.records import Explanation
from sagescope.experiments.features import draw
from sagescope.experiments.journal import Journal
from sagescope.experiments.recorded import RecordedSource
from sagescope.experiments.scoring import SCORERS, Target, score_simulator
from sagescope.experiments.scoring.controls import token_lookup
from sagescope.experiments.scoring.simulator import RuleSimulator
from sagescope.sae.loading import pretrained_names
from sagescope.sae.model_source import ModelSource

AT_ONCE = 8
#: The draws whose evidence comes with the SAE.
SEEDS, EACH = 4, 16
#: Needs a package that is not part of the setup.
LEFT_OUT = ("embedding",)


def explained(source, feature):
    """A rule of the feature's best tokens, with words."""
    texts = token_lookup(Target(source, feature)).texts
    words = Explanation(labels=("tokens",), description="its best tokens", rule=texts.rule)
    return RuleSimulator(words.rule, source.tokenize, words="tokens: its best tokens")


async def every(scorer, source, simulators):
    """One scorer over all features."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(feature, simulator):
        async with places:
            return await score_simulator(Target(source, feature), simulator, [scorer])

    return await asyncio.gather(*(one(*pair) for pair in simulators.items()))


def main() -> None:
    """Print seconds by scorer, and all together."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS * EACH
    with (
        tempfile.TemporaryDirectory() as folder,
        ModelSource.load("smollm2-135m-instruct", pretrained_names()[0]) as source,
        Journal.open(Path(folder) / "j.db") as journal,
        journal.begin("scoring", {}) as run,
    ):
        features = [one for seed in range(SEEDS) for one in draw(source.evidence, EACH, seed)]
        features = list(dict.fromkeys(features))[:n]
        source.cover(features)
        simulators = {feature: explained(source, feature) for feature in features}
        recorded, whole = RecordedSource(source, run), 0.0
        for name in SCORERS:
            if name in LEFT_OUT:
                continue
            began = time.perf_counter()
            asyncio.run(every(name, recorded, simulators))
            took = time.perf_counter() - began
            whole += took
            default = "by default" if SCORERS[name].default else ""
            print(
                f"{name:<16} {took:7.1f} s   {1000 * took / len(features):7.0f} ms each  {default}"
            )
        print(f"all              {whole:7.1f} s for {len(features)} explanations")


if __name__ == "__main__":
    main()
