"""Norms without their division: what a norm does to a direction that passes it, or that reads it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .direction import alternating
from .subject import SubjectModel


@dataclass(frozen=True)
class LinearNorm:
    """The linear part of a norm, x -> g ⊙ (x, less its mean where the norm takes that away).

    weight: g, float32 [d]. centres: whether the mean over d is taken away (LayerNorm).
    """

    weight: torch.Tensor
    centres: bool

    @classmethod
    def of(cls, norm: torch.nn.Module, subject: SubjectModel) -> LinearNorm:
        """That of a module of the subject model; hold its `turn`.

        Families disagree on what a norm's weight means (Gemma adds one to it), so the norm itself is
        asked: it gives signs that alternate back as its weight, and a constant as nothing if it
        takes the mean away.
        """
        signs = alternating(subject.d_model, subject.device).to(subject.dtype)
        weight = (norm(signs) - norm(-signs)).float() * signs.float() / 2
        return cls(weight, not (norm(signs.abs()) - norm(-signs.abs())).any())

    def passed(self, direction: torch.Tensor) -> torch.Tensor:
        """What the norm makes of directions [..., d]."""
        return self.weight * (self._centred(direction) if self.centres else direction)

    def read(self, row: torch.Tensor) -> torch.Tensor:
        """What rows [..., d] that read the norm's output read of its input: the transpose of `passed`."""
        found = self.weight * row
        return self._centred(found) if self.centres else found

    @staticmethod
    def _centred(found: torch.Tensor) -> torch.Tensor:
        return found - found.mean(-1, keepdim=True)
