"""Print the figures of some families or of all, seed by seed. See the package's docstring."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import time
import warnings
from collections.abc import Iterator

from . import __name__ as package
from . import __path__ as folder

SHARED = {"__main__", "planted"}


def families() -> list[str]:
    """The modules of this package that have figures."""
    return sorted({module.name for module in pkgutil.iter_modules(folder)} - SHARED)


def measured(name: str, seeds: int) -> Iterator[dict[str, float]]:
    """The figures of one family, for each seed."""
    figures = importlib.import_module(f"{package}.{name}").figures
    for seed in range(seeds):
        start = time.perf_counter()
        found = figures(seed)
        yield found | {"seconds": time.perf_counter() - start}


def table(name: str, found: list[dict[str, float]]) -> str:
    """A row for each figure, a column for each seed."""
    width = max(len(row) for row in found[0])
    head = f"{name:<{width}}" + "".join(f"{f'seed {seed}':>10}" for seed in range(len(found)))
    rows = [
        f"{row:<{width}}" + "".join(f"{figures[row]:>10.3f}" for figures in found)
        for row in found[0]
    ]
    return "\n".join([head, *rows, ""])


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.architectures")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(families()):
        parser.error(f"no {', '.join(sorted(unknown))}: there are {', '.join(families())}")
    # SAELens's trainer speaks of its own deprecations.
    warnings.simplefilter("ignore")
    for name in asked.names or families():
        found = list(measured(name, asked.seeds))
        print(json.dumps({name: found}) if asked.json else table(name, found), flush=True)


if __name__ == "__main__":
    main()
