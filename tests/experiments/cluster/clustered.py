"""A run over workers of a real Ray, as a process of its own.

python clustered.py JOURNAL MIND WORKERS
"""

import os
import sys
from pathlib import Path

import planted

from sagescope.experiments import explain
from sagescope.experiments.cluster import Cluster
from sagescope.sae.errors import SagescopeError


class Keyless(planted.PlantedSource):
    """Opened only where there is no key."""

    def __init__(self):
        if keys := [name for name in os.environ if name.endswith("_API_KEY")]:
            raise SagescopeError(f"A worker has {keys}.")
        super().__init__()


if __name__ == "__main__":
    journal, mind, workers = sys.argv[1:]
    explain(
        planted.PlantedSource(),
        range(len(planted.TRIGGERS)),
        mind=mind,
        journal=Path(journal),
        run="x",
        random_weights=0,
        cluster=Cluster(Keyless, workers=int(workers)),
    )
