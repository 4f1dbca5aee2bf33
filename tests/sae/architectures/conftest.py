"""The planted data are the benchmarks': what is asserted here is what they print."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3]))
