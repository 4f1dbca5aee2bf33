"""Text that means harm, and a run that is full of it."""

from sagescope.agents.records import (
    Conclusion,
    Context,
    Explanation,
    Hypothesis,
    Outcome,
    Probe,
    RuleCase,
    Verdict,
)
from sagescope.experiments import Journal
from sagescope.experiments.journal import Run

HOSTILE = [
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)" x="',
    "</title></style></span><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe\u2066",
    "nul\0 esc\x1b[2J",
    "lone \ud800 surrogate",
    "--><!--]]>&lt;&#x0;",
]


def hostile_run(journal: Journal, text: str) -> Run:
    """A run in which every string that can hold a stranger's text holds this one."""
    config = {"subject": text, "sae": text, "explainer": text, "mind": text, "seed": 0}
    outcome = Outcome(probe=0, tokens=(text, text), activations=(0.5, 0.0), maximum=0.5, fired=True, agreed=False)  # fmt: skip
    context = Context(tokens=(text, text), activations=(0.5, 0.0), at=0, why=text)
    case = RuleCase(
        kind=text, text=text, figures={text: 1.0}, matches=(context,), blocked=(context,)
    )
    explanation = Explanation(labels=(text,), description=text, notes=(text,), cases=(case,))
    stats = {"tokens": 9, "fired": 1, "density": 0.1, "maximum": 1.0, "mean": 1.0, "quantiles": [], "typical_max": 1.0, "fires_at": 0.2}  # fmt: skip
    exemplar = {"tokens": [text, text], "activations": [0.0, 1.0], "peak": 1}
    facts = {"stratum": "lexical", "lookup_pearson": 0.9, "stats": stats}
    verdict = Verdict(hypothesis=0, status="open", fires_as_predicted=(0, 1), silent_as_predicted=(0, 0), posterior=0.3)  # fmt: skip
    conclusion = Conclusion(status="failed", explanation=explanation, error=text)
    item = {"scorer": text, "text": text, "error": text}
    scored = {"of": "explanation", "scores": {"input": {"value": None, "reason": text or "?"}}, "details": {"items": [item]}}  # fmt: skip
    with journal.begin("x", {**config, "sagescope": text}) as run:
        run.write("session", {"features": [1, 0]})
        run.write("facts", facts, 0)
        run.write("exemplars", {"top": [exemplar], "spread": []}, 0)
        run.write("started", {}, 0)
        run.write("hypothesis", Hypothesis(id=0, kind=text, text=text).model_dump(), 0)
        for number in range(2):  # one of them was never run
            probe = Probe(id=number, hypothesis=0, purpose=text, text=text, fires=True, token=text)
            run.write("probe", probe.model_dump(), 0)
        run.write("outcome", outcome.model_dump(), 0)
        run.write("verdict", verdict.model_dump(), 0)
        run.write("note", text, 0)
        payload = {"conclusion": conclusion.model_dump(), "seconds": 1.0, "traceback": text}
        run.write("concluded", payload, 0)
        run.write("scored", scored, 0)
    return journal.run("x")
