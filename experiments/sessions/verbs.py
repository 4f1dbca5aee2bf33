"""A session's verbs as lines that are typed: `probe fires The boat sank.`

A line is a verb, its numbers, and then text as it is, without quotes. A rule follows ` :: ` (its
forms: see `rule_text`), and ` | ` parts two texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ...sae.errors import SessionError, UnknownName
from ...sae.generation.texts import KINDS as KINDS_WRITTEN
from ...sae.progress import bar
from .live import Session
from .views import KINDS, Kind, Round, Trials, View

#: What `steer` adds where no strength is given, in typical maxima, and how many tokens it writes.
STRENGTH, TOKENS = 2.0, 40
#: Told of each round while several run.
Watch = Callable[[Round], None]


@dataclass(frozen=True)
class Verb:
    """What may be typed. usage: how. about: what it does. do: does it with the rest of the line.

    shows_progress: of itself.
    """

    usage: str
    about: str
    do: Callable[[Session, str, Watch], View]
    shows_progress: bool = False

    @property
    def name(self) -> str:
        """The verb itself."""
        return self.usage.partition(" ")[0]


def perform(session: Session, line: str, watch: Watch = lambda _: None) -> View:
    """Do what a line says.

    Raises SessionError, with the verb's usage, for a line that cannot be read, UnknownName for an
    unknown verb, and what the verb itself raises.
    """
    name, _, rest = line.strip().partition(" ")
    if name not in VERBS:
        raise UnknownName("verb", name, VERBS)
    return VERBS[name].do(session, rest.strip(), watch)


def _misread(name: str) -> SessionError:
    return SessionError(f"That cannot be read. Type it as: {VERBS[name].usage}")


# -------------------------------------------------------------------- parts of lines


def _number(text: str, name: str, default: int | None = None) -> int:
    """A lone number; H and P may stand before it."""
    found = re.fullmatch(r"[HPhp]?(\d{1,9})", text)
    if not found and (text or default is None):
        raise _misread(name)
    return int(found[1]) if found else int(default or 0)


def _numbered(rest: str, name: str) -> tuple[int, str]:
    number, _, text = rest.partition(" ")
    return _number(number, name), text.strip()


def _with_rule(text: str) -> tuple[str, str | None]:
    words, parted, rule = f" {text} ".partition(" :: ")
    return words.strip(), rule.strip() if parted else None


# -------------------------------------------------------------------- the verbs


def _contexts(kind: Kind) -> Callable[[Session, str, Watch], View]:
    return lambda session, rest, _: session.exemplars(kind, _number(rest, kind, default=6))


def _try(session: Session, rest: str, _: Watch) -> View:
    if not rest:
        raise _misread("try")
    return session.activations([rest])


def _compare(session: Session, rest: str, _: Watch) -> View:
    left, parted, right = rest.partition(" | ")
    if not parted:
        raise _misread("compare")
    return session.compare(left.strip(), right.strip())


def _steer(session: Session, rest: str, _: Watch) -> View:
    """The strength stands behind ` :: `, so that a prompt may begin with a number."""
    prompt, parted, written = f" {rest} ".rpartition(" :: ")
    number = re.fullmatch(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)", written.strip()) if parted else None
    prompt = prompt.strip() if number else rest
    if not prompt:
        raise _misread("steer")
    strength = float(number[0]) if number else STRENGTH
    with bar("Writing", len(KINDS_WRITTEN) * TOKENS) as shown:
        return session.steer(
            prompt,
            strength=abs(strength),
            remove=strength < 0,
            tokens=TOKENS,
            watch=shown.advance,
        )


def _add(session: Session, rest: str, _: Watch) -> View:
    words, rule = _with_rule(rest)
    return session.add(words, rule)


def _edit(session: Session, rest: str, _: Watch) -> View:
    number, text = _numbered(rest, "edit")
    words, rule = _with_rule(text)
    return session.edit(number, words, rule)


def _probe(session: Session, rest: str, _: Watch) -> View:
    found = re.fullmatch(r"(?:[Hh]?(\d{1,9})\s+)?(fires|silent)\s+(.+)", rest, re.DOTALL)
    if not found:
        raise _misread("probe")
    number, prediction, text = found.groups()
    return session.probe(
        text, prediction == "fires", hypothesis=None if number is None else int(number)
    )


def _probes(session: Session, rest: str, _: Watch) -> Trials:
    return session.trials(_number(rest, "probes") if rest else None)


def _finish(session: Session, rest: str, watch: Watch) -> View:
    return session.finish(_number(rest, "finish", default=4), watch)


def _accept(session: Session, rest: str, _: Watch) -> View:
    if re.fullmatch(r"[Hh]?\d{1,9}", rest):
        return session.accept(hypothesis=_number(rest, "accept"))
    words, rule = _with_rule(rest)
    return session.accept(words, rule=rule)


_CONTEXTS = {
    "top": "Contexts with the highest activations.",
    "spread": "Contexts over the whole range of activations.",
    "silent": "Contexts in which the feature is nowhere active.",
    "near": "Silent contexts that hold the tokens it fires on most.",
}

#: All verbs by name, in the order in which help lists them.
VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        *(Verb(f"{kind} [N]", _CONTEXTS[kind], _contexts(kind)) for kind in KINDS),
        Verb("try TEXT", "What the feature does on any text.", _try),
        Verb("compare TEXT | TEXT", "Two texts, token by token.", _compare),
        Verb(
            "steer PROMPT [:: STRENGTH]",
            "What the model writes with the feature added (2), or less of it (-2), and with controls.",
            _steer,
            shows_progress=True,
        ),
        Verb("add WORDS [:: RULE]", "Add a hypothesis of your own.", _add),
        Verb("edit N WORDS [:: RULE]", "Say hypothesis N better; the new one replaces it.", _edit),
        Verb("drop N", "Give hypothesis N up.", lambda s, rest, _: s.drop(_number(rest, "drop"))),
        Verb(
            "probe [N] fires|silent TEXT",
            "Predict what hypothesis N (the last) says of a text; run measures it.",
            _probe,
        ),
        Verb("run", "Run all probes that wait.", lambda s, rest, _: s.run_probes()),
        Verb("hypotheses", "All hypotheses with verdicts.", lambda s, rest, _: s.hypotheses()),
        Verb("probes [N]", "All probes, or those of hypothesis N.", _probes),
        Verb("propose", "Let the mind propose hypotheses.", lambda s, rest, _: s.propose()),
        Verb("design", "Let the mind write down probes.", lambda s, rest, _: s.design()),
        Verb("refine", "Let the mind better its hypotheses.", lambda s, rest, _: s.refine()),
        Verb("step", "One round of the loop.", lambda s, rest, _: s.step()),
        Verb("finish [ROUNDS]", "Let the loop run, at most 4 rounds.", _finish),
        Verb(
            "accept [N | WORDS [:: RULE]]",
            "Accept what the mind concludes, hypothesis N, or your own words; and score it.",
            _accept,
        ),
        Verb(
            "score", "Score what was accepted, if that was broken off.", lambda s, r, _: s.score()
        ),
        Verb("undo", "Take back the last step.", lambda s, rest, _: s.undo()),
        Verb("status", "Where the session stands.", lambda s, rest, _: s.overview()),
    )
}
