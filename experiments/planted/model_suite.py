"""The suite in a model: what an explainer recovered of planted latents, beside what they can show."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from ..jobs import run_to_end
from ..scoring import Score
from .fitting import Latent
from .recovery import Recovery, ceiling
from .source import PlantedFeature
from .suite import Answer, Findings, run_suite, share

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
    ceiling: bool | None
    ceiling_agreement: float
    ceiling_pearson: float


@dataclass(frozen=True)
class Realised:
    """A class of programs at a hook point. f1, auc: means over all its latents, realised or not.

    ceiling: share of the realised whose own activations would count as recovered.
    """

    name: str
    planted: int
    realised: int
    f1: float
    auc: float | None
    ceiling: Score


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

    def realised(self) -> list[Realised]:
        """One a class, in the order of the source."""
        return [self._class(kind) for kind in dict.fromkeys(one.kind for one in self.planted)]

    def _class(self, kind: str) -> Realised:
        of = {one.index for one in self.planted if one.kind == kind}
        latents = [one for one in self.latents if one.feature in of]
        aucs = [one.auc for one in latents if one.auc is not None]
        return Realised(
            name=kind,
            planted=len(of),
            realised=sum(one.realised for one in latents),
            f1=mean(one.f1 for one in latents),
            auc=mean(aucs) if aucs else None,
            ceiling=share([bool(one.ceiling) for one in self._meant if one.feature in of]),
        )

    @property
    def where_ceiling(self) -> Score:
        """Share recovered of those whose latent itself would count as recovered."""
        able = [answer for answer in self._meant if answer.ceiling and not answer.failed]
        return share([bool(answer.recovered) for answer in able])

    @property
    def _meant(self) -> list[LatentAnswer]:
        return [a for a in self.answers if isinstance(a, LatentAnswer) and a.ceiling is not None]

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
