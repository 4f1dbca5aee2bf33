"""The OpenAPI schema of the service, as it is committed.

python -m sagescope.experiments.service.schema > docs/openapi.json
"""

from __future__ import annotations

import json
import sys
from typing import Any

from ..guard import Guard
from .app import make_app
from .served import Opened


def schema() -> dict[str, Any]:
    """The schema, without a model being loaded."""

    def nothing() -> Opened:
        raise NotImplementedError

    return make_app(nothing, Guard(None, local=True)).openapi()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), indent=1) + "\n")
