"""One feature: what was found, what it was found from, and what any text does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response

from ...agents.records import Context as CaseContext
from ...agents.records import Verdict
from ...agents.rules.language import Rule
from ...sae.errors import FeatureError, SagescopeError
from ..journal import Run
from ..report import recalls_of
from ..sessions.views import Comparison, Reading, Scale
from ..transcript import Transcript, transcript_of
from .contexts import Context, evidence_of, neighbours_of, recorded
from .pages import Piece, page, pieces
from .site import FeatureNumber, Site

#: Characters of a text that is typed.
LONGEST = 4_000
#: Tokens that are listed of those a feature promotes, and of those it suppresses.
PROMOTED = 10


@dataclass(frozen=True)
class Story:
    """A feature as its page tells it.

    verdicts: as they stand now, by hypothesis. top, spread: contexts that the journal has. before,
    after: the features on both sides of it in the run.
    """

    run: Run
    transcript: Transcript
    scale: Scale
    rule: Rule | None
    verdicts: dict[int, Verdict]
    top: list[Context]
    spread: list[Context]
    before: int | None
    after: int | None

    def pieces_of(self, tokens: Any, activations: Any) -> list[Piece]:
        """A text that was measured, marked."""
        from ...agents.rules.match import predict

        levels = predict(self.rule, [tokens])[0] if self.rule and tokens else None
        return pieces(zip(tokens, activations, strict=True), self.scale, levels)

    def case_pieces(self, found: CaseContext) -> list[Piece]:
        """A context of a line of the rule, with the token that the line speaks of marked."""
        here = [0.0] * len(found.tokens)
        here[found.at] = self.scale.typical_max or 1.0
        return pieces(zip(found.tokens, found.activations, strict=True), self.scale, here)


def router(site: Site) -> APIRouter:
    """`/runs/RUN/features/FEATURE`, and the parts of it that ask the model."""
    routes = APIRouter(prefix="/runs/{name}/features/{feature}")

    @routes.get("")
    def shown(request: Request, name: str, feature: FeatureNumber) -> Response:
        run = site.journal.run(name)
        return page(request, "feature", about(site, run, feature))

    @routes.get("/evidence")
    def evidence(request: Request, name: str, feature: FeatureNumber) -> Response:
        run = site.journal.run(name)
        story = story_of(run, feature)
        found = evidence_of(site.source.of(run), feature, story.scale, story.rule)
        return page(request, "feature_evidence", {"evidence": found, "story": story})

    @routes.get("/outputs")
    async def outputs(request: Request, name: str, feature: FeatureNumber) -> Response:
        return await _outputs(site, request, name, feature)

    @routes.get("/neighbours")
    def neighbours(request: Request, name: str, feature: FeatureNumber) -> Response:
        run = site.journal.run(name)
        found = neighbours_of(site.source.of(run), feature)
        known = set(site.progress.of(run).features)
        return page(
            request, "feature_neighbours", {"neighbours": found, "known": known, "run": run}
        )

    @routes.post("/try")
    async def tried(
        request: Request, name: str, feature: FeatureNumber, text: Annotated[str, Form()] = ""
    ) -> Response:
        return await _tried(site, request, name, feature, text)

    return routes


async def _outputs(site: Site, request: Request, name: str, feature: int) -> Response:
    import asyncio

    run = site.journal.run(name)
    source = await asyncio.to_thread(site.source.of, run)
    outputs = getattr(source, "outputs", None)
    found = await outputs.promoted(feature, PROMOTED) if outputs else None
    return page(request, "feature_outputs", {"promoted": found})


async def _tried(site: Site, request: Request, name: str, feature: int, text: str) -> Response:
    """What the feature does on a text. Nothing of it is kept: a session keeps what is tried."""
    import asyncio

    run = site.journal.run(name)
    if len(text) > LONGEST:
        raise SagescopeError(f"That text is too long: {LONGEST:,} characters at most.")
    if not text.strip():
        return page(request, "feature_tried", {"context": None})
    story = await asyncio.to_thread(story_of, run, feature)
    source = await asyncio.to_thread(site.source.of, run)
    (measured,) = await source.activations(feature, [text])
    reading = Reading.of(measured, "typed", story.scale)
    shown = story.pieces_of(reading.tokens, reading.activations)
    values = {"context": Context(reading.maximum, shown), "reading": reading, "story": story}
    return page(request, "feature_tried", values)


def about(site: Site, run: Run, feature: int) -> dict[str, Any]:
    """What the page of a feature shows."""
    story = story_of(run, feature)
    result = story.transcript.result
    return {
        "story": story,
        "run": run,
        "feature": feature,
        "transcript": story.transcript,
        "result": result,
        "recalls": recalls_of(result, "explanation") if result else [],
        "is_session": run.config.get("explainer") == "session",
        "is_opened": site.source.opened,
    }


def story_of(run: Run, feature: int) -> Story:
    """A feature's story. Raises FeatureError for one that the run does not have."""
    features = run.features
    if feature not in features:
        raise FeatureError(f"The run {run.name!r} has no feature {feature}.")
    transcript = transcript_of(run, feature)
    scale = scale_of(transcript)
    rule = transcript.result.explanation.rule if transcript.result else None
    shown = {
        name: [recorded(one, name, scale, rule) for one in transcript.exemplars.get(name, ())]
        for name in ("top", "spread")
    }
    place = features.index(feature)
    return Story(
        run,
        transcript,
        scale,
        rule,
        standing(run, transcript),
        shown["top"],
        shown["spread"],
        features[place - 1] if place else None,
        features[place + 1] if place + 1 < len(features) else None,
    )


def scale_of(transcript: Transcript) -> Scale:
    """What the activations of a feature are compared with; zeros where nothing is known yet."""
    stats = (transcript.facts or {}).get("stats", {})
    return Scale(fires_at=stats.get("fires_at", 0.0), typical_max=stats.get("typical_max", 0.0))


def standing(run: Run, transcript: Transcript) -> dict[int, Verdict]:
    """The verdicts with what a session did since: what was given up, and what was replaced."""
    events = run.in_force(transcript.feature, ["dropped", "undone"])
    dropped = {event.payload["hypothesis"] for event in events if event.kind == "dropped"}
    replaced = {one.parent for one in transcript.hypotheses if one.parent is not None}
    found = {}
    for one in transcript.hypotheses:
        verdict = transcript.verdicts.get(one.id) or Verdict(hypothesis=one.id)
        now = {
            "dropped": verdict.dropped or one.id in dropped,
            "replaced": verdict.replaced or one.id in replaced,
        }
        found[one.id] = verdict.model_copy(update=now)
    return found


def compared(
    found: Comparison,
) -> list[tuple[list[Piece], float | None, list[Piece], float | None]]:
    """The rows of a comparison, marked."""

    def side(token: str | None, value: float | None) -> list[Piece]:
        return [] if token is None else pieces([(token, value or 0.0)], found.scale)

    return [
        (
            side(row.left, row.left_activation),
            row.left_activation,
            side(row.right, row.right_activation),
            row.right_activation,
        )
        for row in found.rows
    ]
