"""Planted features, small enough to explain in no time."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

# planted.py is also run by itself, in processes that tests kill.
sys.path.insert(0, str(Path(__file__).parent))
# tiny.py: models and SAEs that are real, and small.
sys.path.insert(0, str(Path(__file__).parents[1] / "sae"))

import planted as module


@pytest.fixture(scope="session")
def planted() -> ModuleType:
    """The module planted.py: its source, and what that is made of."""
    return module


@pytest.fixture
def source() -> module.PlantedSource:
    return module.PlantedSource()
