"""Training SAEs on a subject model: `TrainSettings` say what, `run.train` does it."""

from .settings import TrainSettings

__all__ = ["TrainSettings"]
