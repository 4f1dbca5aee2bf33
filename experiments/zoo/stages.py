"""A zoo from beginning to end; what is done is not done again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .explaining import explain_all
from .output import write_all
from .place import Place
from .table import EVALUATION, Table, table_of
from .training import train_all
from .workers import Watch

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
    if measure_all(place):
        say("Measured all SAEs.")
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


def measure_all(place: Place) -> bool:
    """Measure all SAEs on held-out text, as `sagescope sae-eval`; False where that is done."""
    from ...sae.corpus import load_corpus
    from ...sae.encoder import LatentReader
    from ...sae.evaluation.run import evaluate
    from ...sae.loading import load_sae
    from ...sae.subject import SubjectModel

    recipe = place.recipe
    loaded = {name: load_sae(str(place.sae(name))) for name in recipe.saes}
    digests = {name: one.digest for name, one in loaded.items()}
    kept = place.read(EVALUATION)
    if kept and kept["digests"] == digests:
        return False
    subject = SubjectModel.load(recipe.subject)
    readers = [LatentReader(subject, one) for one in loaded.values()]
    how = recipe.held_out
    found = evaluate(readers, load_corpus(how.corpus), how.tokens, how.loss_tokens)
    rows = {
        name: {**_about(place, name, reader), **one.as_json()}
        for name, reader, one in zip(loaded, readers, found, strict=True)
    }
    place.write(EVALUATION, {"digests": digests, "rows": rows})
    return True


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
