"""Options that several commands share, and their defaults."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

# The defaults of `sagescope.sae.model_source`, which takes seconds to import; a test compares.
SUBJECT = "smollm2-135m-instruct"
CORPUS = "builtin:english#held-out"
TOKENS = 500_000

Subject = Annotated[
    str, typer.Option("--subject", help="Subject model: a built-in, folder, .gguf file or hub id.")
]
Sae = Annotated[
    str | None,
    typer.Option(
        "--sae",
        help="SAE: a name, folder or RELEASE/ID. By default the one that comes with Sagescope.",
    ),
]
Corpus = Annotated[str, typer.Option("--corpus", help="Text: a built-in, file, folder or hf:NAME.")]
Tokens = Annotated[int, typer.Option("--tokens", min=1, help="Tokens of it to collect.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 …")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")]
Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="URL",
        help="A service (see `serve`) that runs subject and SAE; it has chosen corpus and tokens.",
    ),
]
JournalPath = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        envvar="SAGESCOPE_JOURNAL",
        help="The file that holds all runs.",
        show_default="sagescope.db",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Decides everything that is drawn.")]
RunToGoOn = Annotated[
    str, typer.Option("--run", help="The run's name; one that was begun is gone on with.")
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")]
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        min=1,
        help="Features at once.",
        show_default="8, with a language model 64",
    ),
]
ReportPath = Annotated[Path, typer.Option("--output", "-o", help="Where the report goes.")]


def features_option(text: str | None) -> str | None:
    """Check how the list is written before anything is loaded."""
    from ..features import FeatureList

    if text is not None:
        try:
            FeatureList.parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    return text


def features_of(help: str) -> Any:
    """The option that names features. help: what they are for."""
    return typer.Option("--features", "-f", callback=features_option, help=help)


Features = Annotated[str, features_of("Indices, as in 0-99,120.")]
SomeFeatures = Annotated[str | None, features_of("Only these, as in 0-99,120.")]
ShippedFeatures = Annotated[str | None, features_of("With --ship: which.")]


# -------------------------------------------------------------------- more than one machine

#: What `--ray` without an address means.
RAY_HERE = "here"
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="[ADDRESS]",
        help="Spread the work over workers of the Ray at ADDRESS (auto, HOST:PORT, ray://HOST:PORT); "
        "without an address, over this machine's.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="With --ray: how many.", show_default="one a GPU, or core"
    ),
]
WorkerCpus = Annotated[
    float, typer.Option("--worker-cpus", min=0, help="With --ray: cores of each worker.")
]
WorkerGpus = Annotated[
    float | None,
    typer.Option(
        "--worker-gpus",
        min=0,
        help="With --ray: GPUs of each worker, or a share of one.",
        show_default="1 where there are any",
    ),
]


class WithRay(TyperCommand):
    """A command whose `--ray` may stand without an address."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click.Command."""
        return super().parse_args(ctx, with_address(args))


def with_address(args: list[str]) -> list[str]:
    """Arguments in which every `--ray` is followed by an address."""
    filled: list[str] = []
    for one, next_one in itertools.zip_longest(args, args[1:], fillvalue="-"):
        filled.append(one)
        if one == "--ray" and next_one.startswith("-"):
            filled.append(RAY_HERE)
    return filled


# -------------------------------------------------------------------- explaining

# Those of `sagescope.agents.explainers`, which takes long to import, too.
EXPLAINERS = (
    "sage",
    "sage:no-probes",
    "sage:random-probes",
    "sage:one-hypothesis",
    "sage:no-refinement",
    "sage:no-negatives",
    "sage:model-verdicts",
    "output-side",
    "one-shot",
    "one-shot:contrastive",
    "one-shot:token-activation",
    "one-shot:max-activation",
    "one-shot:quantiles",
    "best-of-4",
    "best-of-8",
    "sage-paper",
    "sage-paper:released",
    "weightlens",
    "circuitlens",
    "attribution",
    "attention-rules",
)
#: Of these, those that may be hints.
HINTS = ("weightlens", "circuitlens", "attribution", "attention-rules")
Explainer = Annotated[
    str,
    typer.Option("--explainer", help=f"How explanations are made: {', '.join(EXPLAINERS)}."),
]
Hints = Annotated[
    str | None,
    typer.Option(
        "--hints",
        metavar="NAMES",
        help="Explainers whose answers the loop tests as hypotheses beside its own, comma-separated: "
        f"{', '.join(HINTS)}. The run's explainer is then called sage+NAME.",
    ),
]
Upstream = Annotated[
    str | None,
    typer.Option(
        "--upstream",
        metavar="SAES",
        help="Transcoders, or SAEs, of earlier layers, comma-separated, that features are traced to "
        "by weightlens and circuitlens.",
    ),
]
MindName = Annotated[
    str,
    typer.Option(
        "--mind",
        help="What thinks: rules, openai:MODEL, anthropic:MODEL or http://HOST:PORT/v1#MODEL.",
    ),
]
Prompts = Annotated[
    Path | None,
    typer.Option(
        "--prompts",
        exists=True,
        file_okay=False,
        help="A folder of edited prompts, which go before Sagescope's own.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what calls, tokens and dollars it would take.")
]


#: What caps count.
_CAPPED = {
    "probes": "Texts run",
    "rounds": "Turns of the loop",
    "calls": "Calls of a language model",
    "tokens": "Its tokens",
    "cost": "US dollars",
    "seconds": "Seconds",
}


def _cap(name: str, default: str | bool = False) -> Any:
    """A cap for each feature. default: as the help shows it."""
    help = f"{_CAPPED[name]}, for each feature."
    return typer.Option(f"--max-{name}", min=0, help=help, show_default=default)


def _run_cap(name: str, help: str) -> Any:
    return typer.Option(f"--run-max-{name}", min=0, help=help, show_default=False)


MaxProbes = Annotated[int | None, _cap("probes", "160")]
MaxRounds = Annotated[int | None, _cap("rounds", "4, with a language model 3")]
MaxCalls = Annotated[int | None, _cap("calls", "8")]
MaxTokens = Annotated[int | None, _cap("tokens", "40000")]
MaxCost = Annotated[float | None, _cap("cost")]
MaxSeconds = Annotated[float | None, _cap("seconds")]
RunMaxCalls = Annotated[int | None, _run_cap("calls", "Calls, for the whole run.")]
RunMaxTokens = Annotated[int | None, _run_cap("tokens", "Tokens, for the whole run.")]
RunMaxCost = Annotated[float | None, _run_cap("cost", "US dollars, for the whole run.")]
RunMaxSeconds = Annotated[
    float | None, _run_cap("seconds", "Seconds, for all features, from now on.")
]
Scorers = Annotated[
    str | None,
    typer.Option(
        "--scorers",
        help="Scorers by name, comma-separated, or `all`; else those that run by default.",
    ),
]
Controls = Annotated[
    bool,
    typer.Option(
        "--controls/--no-controls", help="Score controls too; without, results are uncontrolled."
    ),
]
RandomWeights = Annotated[
    int | None,
    typer.Option(
        "--random-weights",
        min=0,
        help="Features of the model with random weights that are explained as a control.",
        show_default="8, with a language model 0",
    ),
]
SimulatorKind = Annotated[
    str,
    typer.Option(
        "--simulator",
        help="What answers for an explanation when it is scored: auto (its rule; else a judge, if one "
        "is named; else embeddings, if installed), rule, judge or embedding.",
    ),
]
ScorerMind = Annotated[
    str | None,
    typer.Option(
        "--scorer-mind",
        help="The language model that judges explanations in words, named as for --mind.",
    ),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")]


# -------------------------------------------------------------------- benchmarks

ManifestPath = Annotated[Path, typer.Argument(metavar="MANIFEST", help="A frozen benchmark.")]
ManifestOption = Annotated[Path, typer.Option("--manifest", "-m", help="The frozen benchmark.")]
Manifests = Annotated[
    list[Path] | None,
    typer.Option("--manifest", "-m", help="A frozen benchmark; give several for several tables."),
]
Page = Annotated[
    Path, typer.Option("--output", "-o", help="Where the page goes; .json and .md beside it.")
]
WideMarkdown = Annotated[
    bool, typer.Option("--wide", help="Every column in the Markdown, as in page and JSON.")
]
# Without a value, as the benchmark was frozen.
FrozenSae = Annotated[
    str | None, typer.Option("--sae", help="Where the SAE is here, if elsewhere than when frozen.")
]
FrozenSubject = Annotated[str | None, typer.Option("--subject", help="Likewise the subject model.")]
FrozenCorpus = Annotated[str | None, typer.Option("--corpus", help="Likewise the text.")]
FrozenSimulator = Annotated[
    str | None,
    typer.Option(
        "--simulator",
        help="What answers for explanations: that of the benchmark, else it is refused.",
        show_default="the benchmark's",
    ),
]
FrozenScorerMind = Annotated[
    str | None,
    typer.Option(
        "--scorer-mind",
        help="The language model that judges: likewise.",
        show_default="the benchmark's",
    ),
]


# -------------------------------------------------------------------- sessions

# Without a value, a run that was begun keeps its own; a new one has the rule miner and no caps.
Helper = Annotated[
    str | None,
    typer.Option("--mind", help="What helps.", show_default="rules, or as the run was begun"),
]
SessionSeed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Decides everything that is drawn.")
]
SessionMaxProbes = Annotated[int | None, _cap("probes")]
SessionMaxRounds = Annotated[int | None, _cap("rounds")]
SessionMaxCalls = Annotated[int | None, _cap("calls")]
SessionMaxTokens = Annotated[int | None, _cap("tokens")]
SessionMaxCost = Annotated[float | None, _cap("cost")]
SessionMaxSeconds = Annotated[float | None, _cap("seconds")]
