"""The built-in SmolLM2-135M-Instruct behind OpenAI's protocol on loopback, a call at a time.

    python benchmarks/serve.py [--port 8017] [--max-output 256]

A real model with a real server, for trying the loop end to end without a key or a download; where
transformers has its serving extra, `transformers serve` does the same for any model. The model is far
too small to explain anything. It knows no schemas, as many servers do not, and says so.
"""

from __future__ import annotations

import argparse
import threading
import time
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from sagescope.sae.subject import SubjectModel

MODEL = "smollm2-135m-instruct"


def served(max_output: int) -> FastAPI:
    """The server, with its model loaded. max_output: tokens of a reply, whatever is asked for."""
    subject = SubjectModel.load(MODEL)
    tokenizer, turn, app = subject.tokenizer, threading.Lock(), FastAPI()

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": MODEL, "object": "model"}]}

    @app.post("/v1/chat/completions")
    def complete(asked: dict[str, Any]) -> Any:
        if "response_format" in asked:
            error = {"message": "response_format is not known here", "code": None}
            return JSONResponse({"error": error}, status_code=400)
        prompt: Any = tokenizer.apply_chat_template(
            asked["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        room = min(max_output, asked.get("max_tokens") or max_output)
        with turn, torch.inference_mode():
            ids = subject.model.generate(**prompt, max_new_tokens=room, do_sample=False)
        given = prompt["input_ids"].shape[1]
        said = ids[0, given:]
        message = {
            "role": "assistant",
            "content": tokenizer.decode(said, skip_special_tokens=True),
        }
        return {
            "id": f"chatcmpl-{time.time_ns()}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "finish_reason": "length" if len(said) >= room else "stop",
                }
            ],
            "usage": {
                "prompt_tokens": given,
                "completion_tokens": len(said),
                "total_tokens": given + len(said),
            },
        }

    return app


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--port", type=int, default=8017)
    options.add_argument("--max-output", type=int, default=256)
    asked = options.parse_args()
    uvicorn.run(served(asked.max_output), host="127.0.0.1", port=asked.port, log_level="warning")


if __name__ == "__main__":
    main()
