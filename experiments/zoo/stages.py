"""A zoo from beginning to end; what is done is not done again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .explaining import draw_all, explain_all, is_drawn
from .output import write_all
from .place import Place
from .table import EVALUATION, Table, table_of
from .training import train_all
from .workers import Watch, run_all

#: Told, in a sentence, of what was done.
Say = Callable[[str], None]


def run(
    place: Place, workers: int = 1, watch: Watch | None = None, say: Say | None = None
) -> Table:
    """Train, measure, explain and compare; the table, which is also written after each round.

    workers: processes that train or explain at a time. Raises SagescopeError for a recipe that
    cannot be had, and for a folder that holds another zoo.
    """
    watch, say = watch or (lambda stage, done, total: None), say or (lambda sentence: None)
    place.recipe.check()
    place.claim()
    train_all(place, workers, watch, lambda name: say(f"Trained {name}."))
    held_out = {
        name: partial(task, place)
        for name, (is_done, task) in HELD_OUT.items()
        if not is_done(place)
    }
    run_all(held_out, workers, watch, lambda name: say(f"Done with {name}."))
    last = list(place.recipe.saes)[-1]

    def explained(name: str, features: int) -> None:
        say(f"Explained {features} features of {name}.")
        if name == last:
            write_all(place, table_of(place))

    explain_all(place, workers, watch, explained)
    table = table_of(place)
    for path in write_all(place, table):
        say(f"Wrote {path}.")
    return table


def is_measured(place: Place) -> bool:
    """Whether these SAEs are measured."""
    kept = place.read(EVALUATION)
    return kept is not None and kept["digests"] == _digests(place)


def _digests(place: Place) -> dict[str, object]:
    """What the figures depend on."""
    from ...sae.loading import load_sae

    saes = {name: load_sae(str(place.sae(name))).digest for name in place.recipe.saes}
    return {"saes": saes, "held_out": place.recipe.held_out.model_dump(mode="json")}


def measure_all(place: Place, watch: Watch) -> None:
    """Measure all SAEs on held-out text, as `sagescope sae-eval`."""
    from ...sae.corpus import load_corpus
    from ...sae.encoder import LatentReader
    from ...sae.evaluation.run import evaluate
    from ...sae.loading import load_sae
    from ...sae.subject import SubjectModel

    recipe = place.recipe
    loaded = {name: load_sae(str(place.sae(name))) for name in recipe.saes}
    watch("measuring", 0, 1)
    subject = SubjectModel.load(recipe.subject)
    readers = [LatentReader(subject, one) for one in loaded.values()]
    how = recipe.held_out
    found = evaluate(readers, load_corpus(how.corpus), how.measured, how.loss_tokens)
    rows = {
        name: {**_about(place, name, reader), **one.as_json()}
        for name, reader, one in zip(loaded, readers, found, strict=True)
    }
    place.write(EVALUATION, {"digests": _digests(place), "rows": rows})
    watch("measuring", 1, 1)


def _about(place: Place, name: str, reader: Any) -> dict[str, Any]:
    """What `sagescope sae-eval` says beside its figures."""
    return {
        "subject": reader.subject.id,
        "sae": reader.sae.name,
        "path": name,
        "architecture": reader.sae.architecture,
        "latents": reader.sae.n_features,
        "hook_point": reader.at.name,
        "corpus": place.recipe.held_out.corpus,
    }


#: What held-out text is needed for: whether it is done, and the task. They do not need each other.
HELD_OUT = {
    "measuring": (is_measured, measure_all),
    "the draw": (is_drawn, draw_all),
}
