"""A scripted language model for benchmarks: it answers from what the prompts show, at the length at
which a good model does. In a process of its own, so that its work is not taken for ours.

    with Scripted(delay=2.0) as url: ...
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

_ROW = re.compile(r'^("(?:[^"\\]|\\.)*"): [\d.]+ %', re.MULTILINE)
_HYPOTHESIS = re.compile(r"^H(\d+) \([^)]*\): (.*)$", re.MULTILINE)
_NAMED = re.compile(r"“([^”]+)”")
BEFORE = "When the others had long gone home, somebody wrote that"
AFTER = "would be discussed at the meeting of the council next week"


def answer(prompt: str, step: str) -> dict[str, Any]:
    """The reply to a prompt of `sage`. step: the name of the reply's form."""
    standing = {int(n): _NAMED.findall(text) for n, text in _HYPOTHESIS.findall(prompt)}
    if step == "Proposals":
        words = [json.loads(row).strip() for row in _ROW.findall(prompt)]
        parts = {"lexical": words[:12], "semantic": words[:4], "syntactic": words[4:16]}
        claims = [_claim(kind, part or words) for kind, part in parts.items()]
        return {"hypotheses": [*claims, _claim("positional", words[:2], after=words[2:6])]}
    if step == "Trials":
        return {"probes": [_trial(n, list(standing.items()), len(prompt)) for n in range(20)]}
    if step == "Revisions":
        number, words = next(iter(standing.items()))
        missed = prompt.partition("is not foreseen")[2].partition("Foreseen, but")[0]
        more = [json.loads(row).strip() for row in _ROW.findall(missed)][:8]
        return {"hypotheses": [{**_claim("lexical", [*words, *more]), "replaces": number}]}
    number, words = next(iter(standing.items()))
    about = _claim("lexical", words)["statement"]
    return {"hypothesis": number, "labels": words[:2] or ["it"], "description": f"{about} {about}"}


def _claim(kind: str, words: list[str], after: Sequence[str] = ()) -> dict[str, Any]:
    named = ", ".join(f"“{word}”" for word in words)
    return {
        "kind": kind,
        "statement": f"It fires on {named} where they name what the sentence is about, strongest "
        f"on the first of them and weaker further down, and stays silent on words that only "
        f"look like them or stand in another sense.",
        "groups": [
            {"label": "named", "level": level, "words": words[at::2], "after": list(after)}
            for at, level in enumerate(("strong", "medium"))
            if words[at::2]
        ],
    }


def _trial(place: int, standing: list[tuple[int, list[str]]], days: int) -> dict[str, Any]:
    number, words = standing[place % len(standing)]
    word = words[place % len(words)] if words else "nothing"
    fires = place % 2 == 0
    shown = word if fires else f"un{word}ness"
    return {
        "hypothesis": number,
        "role": "positive" if fires else "near miss",
        "text": f"{BEFORE} {shown} {AFTER}, {place + days} days later.",
        "fires": fires,
        "token": word if fires else "",
        "pair": None,
    }


class Scripted:
    """The scripted model's server, from `with` on. delay: seconds that each call takes."""

    def __init__(self, delay: float = 0.0):
        self.delay = delay

    def __enter__(self) -> str:
        command = [sys.executable, __file__, str(self.delay)]
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.communicate()  # which ends its input, and so the server


def _serve(delay: float) -> None:
    from sagescope.experiments.loopback import Call, LoopbackProvider, Text

    def script(call: Call) -> Text:
        step = call.body["response_format"]["json_schema"]["name"]
        return Text(json.dumps(answer(call.messages[1].text, step)), delay=delay)

    with LoopbackProvider(script) as server:
        print(f"{server.url}/v1#scripted", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _serve(float(sys.argv[1]))
