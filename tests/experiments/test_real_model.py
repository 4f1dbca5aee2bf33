"""A real language model over HTTP goes through the whole loop: benchmarks/serve.py, and its SmolLM2."""

import subprocess
import sys
from pathlib import Path

import planted
import pytest

from sagescope.agents.budget import Budget
from sagescope.experiments import Journal, explain

SERVER = Path(__file__).parents[2] / "benchmarks" / "serve.py"


@pytest.fixture(scope="module")
def address():
    """Where SmolLM2 is served."""
    pytest.importorskip("llguidance", reason="the server's constrained decoding is not installed")
    command = [sys.executable, SERVER, "--port", "0", "--max-output", "200"]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **quiet) as server:
        try:
            assert server.stdout
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


@pytest.mark.slow
def test_the_whole_loop_with_a_real_model(address, tmp_path: Path):
    """It is far too small to explain anything, and yet every reply fits its form."""
    budget = Budget.for_mind(True)
    with Journal.open(tmp_path / "j.db") as journal:
        [result] = explain(
            planted.PlantedSource(), [0], mind=address, budget=budget, journal=journal, run="x"
        )
        events = journal.run("x").events()
    assert result.status in {"concluded", "out_of_budget"}
    assert result.explanation
    assert not [note for note in result.explanation.notes if "does not fit" in note]
    asked = [
        event.payload["request"]["reply_schema"]["name"] for event in events if event.kind == "call"
    ]
    assert {"Proposals", "Trials", "Revisions", "Summary"} >= set(asked)
    assert asked[0] == "Proposals"
    assert asked[-1] == "Summary"
    assert len(asked) == result.cost.calls <= budget.calls
    assert {"hypothesis", "probe", "outcome", "verdict", "concluded"} <= {e.kind for e in events}


@pytest.mark.slow
@pytest.mark.parametrize("room", [1, 20, 120])
def test_a_reply_that_is_cut_says_so(address, room):
    import openai
    from pydantic import BaseModel

    class Boats(BaseModel):
        names: list[str]
        length: int

    form = {"name": "Boats", "schema": Boats.model_json_schema(), "strict": True}
    url, _, model = address.partition("#")
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        answer = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Name boats, as many as you can."}],
            response_format={"type": "json_schema", "json_schema": form},  # pyright: ignore
            max_tokens=room,
        )
    [choice] = answer.choices
    assert answer.usage
    assert answer.usage.completion_tokens <= room
    is_whole = choice.finish_reason == "stop"
    assert is_whole == (room > 1)
    if is_whole:
        Boats.model_validate_json(choice.message.content or "")
