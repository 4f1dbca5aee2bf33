"""The suite in a model: what an explainer recovered of planted latents, beside what they can show."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..jobs import run_to_end
from .fitting import Latent
from .recovery import Recovery, ceiling
from .source import PlantedFeature
from .suite import Answer, Findings, run_suite

if TYPE_CHECKING:
    from .in_model import PlantedModel


class LatentAnswer(Answer):
    """What was said of one planted latent. The first form's answer, and what the latent is worth.

    hook_point: where it reads. f1, auc: see `Latent`. ceiling, ceiling_agreement, ceiling_pearson:
    the same as recovered, agreement and pearson, of the latent's own activations.
    """

    hook_point: str
    f1: float
    auc: float | None
    ceiling_agreement: float
    ceiling_pearson: float


@dataclass(frozen=True)
class ModelFindings(Findings):
    """What an explainer recovered of the latents at a hook point.

    answers: one for each that realises its program. latents, planted: of all programs. folder: of
    the SAE.
    """

    hook_point: str = ""
    folder: Path = Path()
    latents: tuple[Latent, ...] = ()
    planted: tuple[PlantedFeature, ...] = ()

    def by_class(self) -> dict[str, list[Latent]]:
        """The latents of each class, in the order of the source; those left out too."""
        found: dict[str, list[Latent]] = {}
        for planted, latent in zip(self.planted, self.latents, strict=True):
            found.setdefault(planted.kind, []).append(latent)
        return found

    def left_out_as_json(self) -> list[str]:
        """One JSON object on one line for each latent that nobody explained."""
        return [
            json.dumps(
                {
                    "feature": planted.index,
                    "class": planted.kind,
                    "form": planted.form,
                    "label": planted.label,
                    "hook_point": self.hook_point,
                    "status": "not realised",
                    "f1": latent.f1,
                    "auc": latent.auc,
                }
            )
            for planted, latent in zip(self.planted, self.latents, strict=True)
            if not latent.realised
        ]


def run_model_suite(source: PlantedModel, **settings: Any) -> ModelFindings:
    """Explain every planted latent that realises its program, and compare with the key.

    settings: see `run_suite`. Raises what that raises.
    """
    found = run_suite(source, **settings) if source.features else Findings(())
    limits = run_to_end(_ceilings(source))
    return ModelFindings(
        _beside(found.answers, source, limits),
        _beside(found.without_probes, source, limits),
        hook_point=source.reader.at.name,
        folder=source.folder,
        latents=tuple(source.latents),
        planted=source.programs.features,
    )


async def _ceilings(source: PlantedModel) -> dict[int, Recovery]:
    return {one.index: await ceiling(source, one.index) for one in source.features}


def _beside(
    answers: Iterable[Answer], source: PlantedModel, limits: Mapping[int, Recovery]
) -> tuple[LatentAnswer, ...]:
    found = []
    for answer in answers:
        limit, latent = limits[answer.feature], source.latents[answer.feature]
        worth = {
            "ceiling": limit.recovered,
            "ceiling_agreement": round(limit.agreement, 4),
            "ceiling_pearson": round(limit.pearson, 4),
            "hook_point": source.reader.at.name,
            "f1": latent.f1,
            "auc": latent.auc,
        }
        found.append(LatentAnswer.model_validate(answer.model_dump() | worth))
    return tuple(found)
