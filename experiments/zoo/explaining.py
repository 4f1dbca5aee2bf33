"""Explaining a zoo's features: evidence of all SAEs, a matched draw, and a benchmark of each.

The SAEs are explained a round at a time (`at_once` features of each), so that whoever stops has
explained as many of one as of another, in the order of the draw.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ...sae.corpus import load_corpus
from ...sae.encoder import LatentReader
from ...sae.errors import SAEError
from ...sae.evidence import Evidence
from ...sae.lookup import stratum_of
from ...sae.model_source import ModelSource
from ...sae.on_demand import EvidenceOnDemand
from ..journal import Journal
from ..leaderboard.benchmark import BENCHMARK, run_benchmark, run_name
from ..leaderboard.manifest import Manifest, Opens, freeze, read_manifest, write_manifest
from ..leaderboard.saes import band_of
from ..scoring import chosen
from .draw import able, matched
from .place import Place
from .recipe import USUAL
from .workers import Watch, run_all

#: What the draw, and all that is known of each SAE's features for the table, is kept under.
DRAWN = "features"
#: How many of each SAE's features have all their scores.
DONE = "explained"
#: Who thinks.
MIND = "rules"


def draw_all(place: Place, watch: Watch) -> None:
    """Draw the features of each SAE, as far as that is not done.

    Collects the evidence of all SAEs, and freezes a benchmark of each. Raises FeatureError where
    too few features fire alike.
    """
    if not is_drawn(place):
        place.write(DRAWN, _drawn(place, watch))


def is_drawn(place: Place) -> bool:
    """Whether the features of these SAEs are drawn, and benchmarks frozen with the recipe's scorers."""
    kept = place.read(DRAWN)
    if kept is None or kept["digests"] != _digests(place):
        return False
    wanted = set(chosen(place.recipe.explaining.scorers))
    frozen = [read_manifest(place.manifest(name)).scorers for name in place.recipe.saes]
    return all({one.name for one in scorers} == wanted for scorers in frozen)


def drawn_of(place: Place) -> dict[str, list[int]]:
    """SAE → its features, in the order of the draw."""
    return (place.read(DRAWN) or {"drawn": {}})["drawn"]


def _digests(place: Place) -> dict[str, object]:
    """What the draw depends on."""
    from ...sae.loading import load_sae

    how = place.recipe.explaining
    saes = {name: load_sae(str(place.sae(name))).digest for name in place.recipe.saes}
    held_out = place.recipe.held_out.model_dump(mode="json", exclude={"measured", "loss_tokens"})
    return {"saes": saes, "held_out": held_out, "features": how.features, "seed": how.seed}


def _drawn(place: Place, watch: Watch) -> dict[str, object]:
    from ...sae.loading import load_sae
    from ...sae.subject import SubjectModel
    from ...sae.together import collect_together

    recipe, how = place.recipe, place.recipe.explaining
    subject = SubjectModel.load(recipe.subject)
    readers = [LatentReader(subject, load_sae(str(place.sae(name)))) for name in recipe.saes]
    corpus = load_corpus(recipe.held_out.corpus)
    done, total = 0, recipe.held_out.tokens * len(readers)

    def told(tokens: int) -> None:
        nonlocal done
        done += tokens
        watch("evidence", min(done, total), total)

    found = collect_together(readers, corpus, recipe.held_out.tokens, progress=False, told=told)
    evidence = dict(zip(recipe.saes, found, strict=True))
    densities = {name: able(one) for name, one in evidence.items()}
    drawn = matched(densities, how.features, how.seed)
    tokens = recipe.held_out.tokens
    for name, reader in zip(recipe.saes, readers, strict=True):
        there = EvidenceOnDemand(reader, corpus, tokens, progress=False)
        with ModelSource(reader, there) as source:
            write_manifest(_manifest(place, name, source, drawn[name]), place.manifest(name))
    return {
        "digests": _digests(place),
        "drawn": drawn,
        "known": {name: known_of(one) for name, one in evidence.items()},
    }


def known_of(evidence: Evidence) -> dict[str, object]:
    """What the table says of all of an SAE's features, on `explain`.

    able, contextual: features that fired often enough to be explained, and how many of these a
    table of tokens does not foretell. firings: band of density → tokens of all features of that band
    together a token, those that fire too rarely to be explained included.
    """
    table = evidence.reader("explainer").table("explain")
    densities = able(evidence)
    lookups = table.loc[list(densities), "lookup_pearson"]
    firings: dict[str, float] = {}
    for density in table["density"]:
        if density > 0:
            band = str(band_of(density))
            firings[band] = firings.get(band, 0.0) + float(density)
    return {
        "able": len(densities),
        "contextual": sum(stratum_of(float(one)) == "contextual" for one in lookups),
        "firings": firings,
    }


def _source(place: Place, name: str) -> ModelSource:
    recipe = place.recipe
    held_out = recipe.held_out
    return ModelSource.load(
        recipe.subject, str(place.sae(name)), held_out.corpus, held_out.tokens, progress=False
    )


def _manifest(place: Place, name: str, source: ModelSource, drawn: list[int]) -> Manifest:
    recipe, how = place.recipe, place.recipe.explaining
    held_out = recipe.held_out
    return freeze(
        source,
        f"{recipe.name}-{name}",
        drawn,
        seeds=(how.seed,),
        scorers=how.scorers,
        drawn=(
            f"{len(drawn)} drawn with the seed {how.seed}, matched by how often they fire with those "
            f"of {', '.join(other for other in recipe.saes if other != name)}"
        ),
        opens=Opens(
            subject=recipe.subject,
            sae=str(place.sae(name)),
            corpus=held_out.corpus,
            tokens=held_out.tokens,
        ),
    )


def explain_all(
    place: Place, workers: int, watch: Watch, finished: Callable[[str, int], None]
) -> None:
    """Explain and score what is drawn (see `draw_all`), a round of all SAEs at a time.

    finished: told of each SAE with the number of its features that are done.
    """
    drawn = drawn_of(place)
    how = place.recipe.explaining
    for start in range(0, how.features, how.at_once):
        end = min(how.features, start + how.at_once)
        left = {
            name: partial(_explained, place, name, order[:end])
            for name, order in drawn.items()
            if explained(place, name) < end
        }
        run_all(left, workers, watch, partial(_finished, place, finished, end))


def explained(place: Place, name: str) -> int:
    """How many of an SAE's features, in the order of the draw, have all their scores."""
    there = (place.read(DONE) or {}).get(name)
    if there is None or there["benchmark"] != read_manifest(place.manifest(name)).digest:
        return 0
    if there.get("explainer", USUAL) != place.recipe.explaining.explainer:
        return 0
    return there["features"]


def _finished(place: Place, finished: Callable[[str, int], None], end: int, name: str) -> None:
    done = {
        "benchmark": read_manifest(place.manifest(name)).digest,
        "explainer": place.recipe.explaining.explainer,
        "features": end,
    }
    place.write(DONE, {**(place.read(DONE) or {}), name: done})
    finished(name, end)


def _refuse_other(place: Place, manifest: Manifest, journal: Journal) -> None:
    """Raise SAEError where the journal holds runs of another benchmark of that name."""
    explainer, seed = place.recipe.explaining.explainer, place.recipe.explaining.seed
    run = run_name(manifest, explainer, MIND, seed)
    begun = {one.name: one.config.get(BENCHMARK) for one in journal.runs()}
    if begun.get(run, manifest.decides) != manifest.decides:
        raise SAEError(
            f"{place.journal} holds explanations of other SAEs, features or scorers than the recipe "
            f"has now: delete it to explain all anew, give the recipe that it was begun with, or "
            f"give another folder."
        )


def _explained(place: Place, name: str, features: list[int], watch: Watch) -> None:
    manifest = read_manifest(place.manifest(name))
    with (
        _source(place, name) as source,
        Journal.open(place.journal, create=True) as journal,
    ):
        _refuse_other(place, manifest, journal)
        run_benchmark(
            source,
            manifest,
            journal,
            explainer=place.recipe.explaining.explainer,
            mind=MIND,
            features=features,
            random_weights=0,
            watch=lambda stage, done, total: watch(stage.lower(), done, total),
        )
