"""A session on the page: the verbs of `sagescope session`, and what stands so far.

What stands is read from the journal, so that it is the same in every tab, after a reload, and while
a terminal works in the same session.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import singledispatch
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from ...sae.errors import SessionError, UnknownName
from ..journal import RUN_NAME, Run
from ..results import result_of
from ..sessions.session import AsyncSession
from ..sessions.steered import SteeredTexts
from ..sessions.views import (
    KINDS,
    Accepted,
    Comparison,
    Hypotheses,
    Reading,
    Readings,
    Round,
    Trials,
    Undone,
    View,
)
from .contexts import Context, context_of
from .feature import Story, compared, story_of
from .open_sessions import has_session
from .pages import address, asks_for_fragment, page, pieces
from .site import FeatureNumber, Site

#: Where a session is kept, where nobody names a run.
RUN = "session"
#: Texts that were looked at, the youngest first, that the page shows.
LOOKED = 12
#: What a form may hold, in characters.
LONGEST = 4_000

Form_ = Mapping[str, str]
Work = Callable[[AsyncSession, Form_], Coroutine[Any, Any, View]]


def router(site: Site) -> APIRouter:
    """`/sessions/RUN/FEATURE`, its state, and its verbs."""
    routes = APIRouter(prefix="/sessions")

    @routes.post("")
    def open_(
        feature: Annotated[int, Form(ge=0, lt=1 << 31)], run: Annotated[str, Form()] = RUN
    ) -> Response:
        return RedirectResponse(address("sessions", run.strip() or RUN, feature), 303)

    @routes.get("/{name}/{feature}")
    def shown(request: Request, name: str, feature: FeatureNumber) -> Response:
        return page(request, "session", about(site, name, feature))

    @routes.get("/{name}/{feature}/state")
    def state(request: Request, name: str, feature: FeatureNumber) -> Response:
        return page(request, "session_state", about(site, name, feature))

    @routes.post("/{name}/{feature}/stop")
    async def stop(name: str, feature: FeatureNumber) -> Response:
        site.sessions.stop(name, feature)
        return Response(status_code=204)

    @routes.post("/{name}/{feature}/{verb}")
    async def do(request: Request, name: str, feature: FeatureNumber, verb: str) -> Response:
        return await _do(site, request, name, feature, verb)

    return routes


def about(site: Site, name: str, feature: int) -> dict[str, Any]:
    """What the page of a session shows."""
    _check_name(name)
    run = next((one for one in site.journal.runs() if one.name == name), None)
    if run and run.config.get("explainer") != "session":
        raise SessionError(
            f"The run {name!r} is not of sessions: open one on feature {feature} under another name, "
            f"as {address('sessions', RUN, feature)}."
        )
    begun = run is not None and has_session(run, feature)
    writer = site.writer(name)
    found: dict[str, Any] = {
        "name": name,
        "feature": feature,
        "begun": begun,
        "writer": writer,
        "working": site.sessions.working(name, feature),
        "who": site.sessions.who,
        "kinds": KINDS,
        "story": None,
    }
    if begun and run is not None:
        story = story_of(run, feature)
        found |= {
            "run": run,
            "story": story,
            "transcript": story.transcript,
            "result": result_of(run, feature),
            "waiting": [one for one in story.transcript.trials if one.outcome is None],
            "looked": looked(run, story),
            "helped": helped(run, feature),
            "steps": steps(run, feature),
        }
    return found


def _check_name(name: str) -> None:
    """A run's name becomes part of a file's, so it is looked at before anything is done with it."""
    if not RUN_NAME.fullmatch(name):
        raise SessionError("A run's name has letters, digits, '.', '_' and '-' only.")


def looked(run: Run, story: Story) -> list[Context]:
    """Texts that were run for the looking, the youngest first."""
    feature = story.transcript.feature
    events = run.events(feature, ["looked", "measured"])
    with run.reading(feature):
        known = {e.payload["text"]: e.payload for e in events if e.kind == "measured"}
        texts = [text for e in events if e.kind == "looked" for text in e.payload["texts"]]
    found = []
    for text in [*dict.fromkeys(reversed(texts))][:LOOKED]:
        values = known[text]["activations"]
        shown = story.pieces_of(known[text]["tokens"], values)
        found.append(Context(max(values, default=0.0), shown))
    return found


def helped(run: Run, feature: int) -> dict[str, float]:
    """What the mind's turns took."""
    turns = [event.payload for event in run.events(feature, ["spent"])]
    return {
        name: sum(turn.get(name, 0) for turn in turns)
        for name in ("calls", "tokens", "cost", "seconds")
    }


def steps(run: Run, feature: int) -> list[Mapping[str, str]]:
    """What was done and stands, the youngest first."""
    events = run.in_force(feature, ["step", "undone"])
    return [event.payload for event in reversed(events) if event.kind == "step"]


# -------------------------------------------------------------------- verbs


def _number(form: Form_, name: str) -> int | None:
    given = form.get(name, "").strip().lstrip("Hh")
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 9):
        raise SessionError(f"“{given[:20]}” is no hypothesis: give its number.")
    return int(given)


def _needed(form: Form_) -> int:
    number = _number(form, "hypothesis")
    if number is None:
        raise SessionError("Which hypothesis? Give its number.")
    return number


async def _add(session: AsyncSession, form: Form_) -> View:
    """Add a hypothesis; one with a number takes the place of that one."""
    number, rule = _number(form, "hypothesis"), form.get("rule", "").strip() or None
    if number is None:
        return await session.add(form.get("text", "").strip(), rule)
    return await session.edit(number, form.get("text", "").strip(), rule)


async def _probe(session: AsyncSession, form: Form_) -> View:
    fires = form.get("prediction")
    if fires not in ("fires", "silent"):
        raise SessionError("A probe needs a prediction: fires, or silent.")
    text, number = form.get("text", ""), _number(form, "hypothesis")
    return await session.probe(text, fires == "fires", hypothesis=number)


async def _accept(session: AsyncSession, form: Form_) -> View:
    number, rule = _number(form, "hypothesis"), form.get("rule", "").strip() or None
    return await session.accept(form.get("text", "").strip(), hypothesis=number, rule=rule)


async def _finish(session: AsyncSession, form: Form_) -> View:
    rounds = form.get("rounds", "4")
    if not (rounds.isascii() and rounds.isdigit() and 0 < int(rounds) <= 50):
        raise SessionError("Give 1 to 50 rounds.")
    return await session.finish(int(rounds))


async def _begin(session: AsyncSession, form: Form_) -> View:
    return session.overview()


async def _compare(session: AsyncSession, form: Form_) -> View:
    left, right = form.get("left", ""), form.get("right", "")
    if not left.strip() or not right.strip():
        raise SessionError("Comparing needs two texts.")
    return await session.compare(left, right)


async def _try(session: AsyncSession, form: Form_) -> View:
    if not form.get("text", "").strip():
        raise SessionError("Type a text to try.")
    return await session.activations(form["text"])


async def _look(session: AsyncSession, form: Form_) -> View:
    kind = form.get("kind", "top")
    if kind not in KINDS:
        raise UnknownName("kind of contexts", kind, KINDS)
    return await session.exemplars(kind)


async def _steer(session: AsyncSession, form: Form_) -> View:
    """A strength below 0 takes the feature's direction away."""
    if not form.get("text", "").strip():
        raise SessionError("Type what the model is to go on from.")
    given = form.get("strength", "").strip() or "2"
    try:
        strength = float(given)
    except ValueError:
        raise SessionError(
            f"“{given[:20]}” is no strength: give typical maxima, such as 2 or -2."
        ) from None
    return await session.steer(form["text"], strength=abs(strength), remove=strength < 0)


VERBS: dict[str, Work] = {
    "begin": _begin,
    "look": _look,
    "try": _try,
    "compare": _compare,
    "steer": _steer,
    "add": _add,
    "drop": lambda session, form: session.drop(_needed(form)),
    "probe": _probe,
    "run": lambda session, form: session.run_probes(),
    "propose": lambda session, form: session.propose(),
    "design": lambda session, form: session.design(),
    "refine": lambda session, form: session.refine(),
    "step": lambda session, form: session.step(),
    "finish": _finish,
    "accept": _accept,
    "score": lambda session, form: session.score(),
    "undo": lambda session, form: session.undo(),
}


async def _do(site: Site, request: Request, name: str, feature: int, verb: str) -> Response:
    if verb not in VERBS:
        raise UnknownName("verb", verb, VERBS)
    _check_name(name)
    form = {key: str(value) for key, value in (await request.form()).items()}
    if any(len(value) > LONGEST for value in form.values()):
        raise SessionError(f"That text is too long: {LONGEST:,} characters at most.")
    found = await site.sessions.do(name, feature, verb, lambda one: VERBS[verb](one, form))
    if not asks_for_fragment(request):
        return RedirectResponse(address("sessions", name, feature), 303)
    return page(request, "session_answer", {"verb": verb, **answer(found)})


@singledispatch
def answer(view: View) -> dict[str, Any]:
    """What a verb returned, as its page shows it: a sentence, contexts, a comparison, or texts."""
    return {"sentence": ""}


@answer.register
def _(view: Readings) -> dict[str, Any]:
    shown = [context_of(one, view.scale) for one in view.readings]
    return {"sentence": "" if shown else "There are none.", "contexts": shown}


@answer.register
def _(view: Comparison) -> dict[str, Any]:
    sides = [_one_line(one) for one in (view.left, view.right)]
    return {"sentence": f"Highest: {sides[0]} and {sides[1]}.", "comparison": compared(view)}


@answer.register
def _(view: SteeredTexts) -> dict[str, Any]:
    shown = [
        (one, pieces(zip(one.tokens, one.activations, strict=True), view.scale))
        for one in view.texts
    ]
    sentence = f"Steered by {view.strength:+.4g} typical maxima. {view.gate_line} {view.note}"
    return {"sentence": sentence, "written": shown}


def _one_line(reading: Reading) -> str:
    return f"{reading.maximum:.4g} ({'fires' if reading.fired else 'silent'})"


@answer.register
def _(view: Hypotheses) -> dict[str, Any]:
    said = [f"H{one.hypothesis.id}" for one in view.hypotheses]
    given_up = any(one.verdict.dropped for one in view.hypotheses)
    what = "Given up" if given_up else "Added"
    return {"sentence": f"{what}: {', '.join(said)}." if said else "No new hypothesis."}


@answer.register
def _(view: Trials) -> dict[str, Any]:
    ran = [one.outcome for one in view.trials if one.outcome]
    if not ran:
        numbers = ", ".join(f"P{one.probe.id}" for one in view.trials)
        return {
            "sentence": f"Written down, not run yet: {numbers}." if numbers else "No new probe."
        }
    agreed = sum(one.agreed for one in ran)
    return {"sentence": f"{agreed} of {len(ran)} came out as predicted."}


@answer.register
def _(view: Round) -> dict[str, Any]:
    ran = [one.outcome for one in view.trials if one.outcome]
    agreed = sum(one.agreed for one in ran)
    more = "Another step may change something." if view.goes_on else "Another would change nothing."
    return {
        "sentence": f"{len(view.hypotheses)} new hypotheses; {agreed} of {len(ran)} probes came out as "
        f"predicted. {view.note or more}"
    }


@answer.register
def _(view: Undone) -> dict[str, Any]:
    return {"sentence": f"Taken back: “{view.verb}” by {view.by}."}


@answer.register
def _(view: Accepted) -> dict[str, Any]:
    why = view.why.get("explanation")
    scored = f"Not scored: {why}" if why else "It is scored, and on the leaderboard."
    return {"sentence": f"Accepted, by {view.explainer}. {scored}"}
