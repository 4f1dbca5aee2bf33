"""The built-in SmolLM2-135M-Instruct behind OpenAI's protocol on loopback, a call at a time.

    python benchmarks/serve.py [--port 8017] [--max-output 256]

A real model with a real server, for trying the loop end to end without a key or a download. It says
its address, and serves until it is stopped (Ctrl-C). The model is far too small to explain anything,
but what it writes is held to the reply's JSON schema, token by token (llguidance), with lists and
texts that are bounded; it always takes the likeliest token, so the same question has the same answer.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import torch
import uvicorn
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sagescope.sae.subject import SubjectModel

MODEL = "smollm2-135m-instruct"
#: Most items of a list and characters of a text, where the schema does not say.
ITEMS, CHARACTERS = 3, 120
#: The largest whole number, likewise.
LARGEST = 99
#: So many tokens before the end of its room, a reply is steered to where it may end.
RESERVE = 96


def bounded(schema: Any) -> Any:
    """A JSON schema whose lists, texts and numbers end: a small model would go on for ever."""
    if isinstance(schema, list):
        return [bounded(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    form = {name: bounded(value) for name, value in schema.items()}
    if form.get("type") == "array":
        form.setdefault("maxItems", max(ITEMS, form.get("minItems", 0)))
    if form.get("type") == "string" and "enum" not in form:
        form.setdefault("maxLength", CHARACTERS)
    if form.get("type") == "integer":
        form = {"minimum": 0, "maximum": LARGEST, **form}
    return form


class Writer:
    """The model, writing. One reply at a time."""

    def __init__(self, subject: SubjectModel):
        self.subject = subject
        config = subject.model.config.get_text_config()
        self.tokens: LLTokenizer = from_tokenizer(subject.tokenizer, n_vocab=config.vocab_size)
        pieces = subject.tokenizer.convert_ids_to_tokens(list(range(len(subject.tokenizer))))
        ends = [n for n, piece in enumerate(pieces) if piece and set(piece) <= set('"]}')]
        self.closing = [
            torch.tensor([n for n in ends if (pieces[n][0] == '"') is of_text])
            for of_text in (True, False)
        ]

    def matcher(self, schema: dict[str, Any]) -> LLMatcher:
        """What holds a reply to a schema. Raises ValueError for one that it does not know."""
        form = json.dumps({**bounded(schema), "x-guidance": {"whitespace_flexible": False}})
        matcher = LLMatcher(self.tokens, LLMatcher.grammar_from_json_schema(form), log_level=0)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return matcher

    def write(self, prompt: torch.Tensor, room: int, matcher: LLMatcher | None) -> list[int]:
        """The reply's tokens, at most `room`. prompt: (1, n) token ids."""
        said: list[int] = []
        with self.subject.turn, torch.inference_mode():
            for scores in self._scores(prompt, said):
                said += self._next(scores, room - len(said), matcher)
                if len(said) >= room or said[-1] == self.tokens.eos_token:
                    break
                if matcher and matcher.is_stopped():
                    break
        return said[:room]

    def _scores(self, prompt: torch.Tensor, said: list[int]) -> Iterator[torch.Tensor]:
        """The scores of the next token, again and again, as `said` grows."""
        fed, known = prompt, None
        while True:
            seen = len(said)
            out = self.subject.model(
                input_ids=fed.to(self.subject.device), past_key_values=known, logits_to_keep=1
            )
            known = out.past_key_values
            yield out.logits[0, -1].float()
            fed = torch.tensor([said[seen:]])

    def _next(self, scores: torch.Tensor, left: int, matcher: LLMatcher | None) -> list[int]:
        """The likeliest token that may stand here, and those that must follow it."""
        if matcher is None:
            return [int(scores.argmax())]
        may = torch.frombuffer(bytearray(matcher.compute_logit_bias()), dtype=torch.uint8) > 0
        if left <= RESERVE:
            may = self._towards_the_end(may)
        token = int(scores.masked_fill(~may, -torch.inf).argmax())
        matcher.consume_token(token)
        forced = matcher.compute_ff_tokens()
        matcher.consume_tokens(forced)
        return [token, *forced]

    def _towards_the_end(self, may: torch.Tensor) -> torch.Tensor:
        """Of the tokens that may stand here, those that end a text, or else a list or object."""
        for closing in self.closing:
            ends = torch.zeros_like(may)
            ends[closing] = may[closing]
            if ends.any():
                return ends
        return may


def served(max_output: int) -> Starlette:
    """The server, with its model loaded. max_output: tokens of a reply, whatever is asked for."""
    subject = SubjectModel.load(MODEL)
    writer, tokenizer = Writer(subject), subject.tokenizer

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def complete(request: Request) -> Response:
        try:
            return JSONResponse(await run_in_threadpool(answer, await request.json()))
        except (ValueError, KeyError, TypeError) as error:
            said = {"message": f"The request cannot be read: {error!r}", "code": None}
            return JSONResponse({"error": said}, status_code=400)

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        form = (asked.get("response_format") or {}).get("json_schema")
        matcher = writer.matcher(form["schema"]) if form else None
        prompt: Any = tokenizer.apply_chat_template(
            asked["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        given = prompt["input_ids"].shape[1]
        room = min(max_output, int(asked.get("max_tokens") or max_output))
        if given + room > subject.max_context:
            raise ValueError(f"{given} tokens and {room} more do not fit into the context")
        said = writer.write(prompt["input_ids"], room, matcher)
        is_whole = said[-1] == tokenizer.eos_token_id or bool(matcher and matcher.is_accepting())
        text = tokenizer.decode(said, skip_special_tokens=True)
        return {
            "id": f"chatcmpl-{time.time_ns()}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop" if is_whole else "length",
                }
            ],
            "usage": {
                "prompt_tokens": given,
                "completion_tokens": len(said),
                "total_tokens": given + len(said),
            },
        }

    return Starlette(
        routes=[
            Route("/v1/models", models),
            Route("/v1/chat/completions", complete, methods=["POST"]),
        ]
    )


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--port", type=int, default=8017, help="0 takes a free one")
    options.add_argument("--max-output", type=int, default=256, help="tokens of a reply, at most")
    asked = options.parse_args()
    app = served(asked.max_output)
    with socket.create_server(("127.0.0.1", asked.port)) as place:
        print(f"http://127.0.0.1:{place.getsockname()[1]}/v1#{MODEL}", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[place])


if __name__ == "__main__":
    main()
