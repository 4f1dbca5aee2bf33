"""Stand-ins for Ray's workers, for all tests of the folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
