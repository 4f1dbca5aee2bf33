"""Planted in a model: latents of an SAE made by hand on a real model, each fitted to a program.

    programs = planted_source(seed=0, per_class=2)
    with planted_model(programs, SubjectModel.load("smollm2-135m-instruct"), "hook_embed") as source:
        source.features                      # those that have a direction at the hook point
        run_suite(source)

The first form's programs, corpora and contrast sets; only what is measured now goes from text through
tokenizer, model, SAE and host. What is fitted on is drawn anew, as is the text on which it shows
whether a direction realises its program: an explainer sees neither.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...sae.corpus import load_corpus
from ...sae.encoder import ALIGN, TOKENS_PER_PASS, LatentReader
from ...sae.loading import load_sae
from ...sae.model_source import ModelSource
from ...sae.on_demand import EvidenceOnDemand
from ...sae.paths import cache_root, new_folder
from ...sae.windows import batches, pad
from ..jobs import Watch
from .fitting import Direction, Latent, best_threshold, fitted, tried
from .frames import corpus_texts
from .pieces import Pieces
from .plans import Plan
from .programs import Reading
from .source import PLAIN_SENTENCES, PlantedFeature, PlantedSource

if TYPE_CHECKING:
    from ...sae.hook_points import HookPoint
    from ...sae.subject import SubjectModel

#: The longest text, in the model's tokens.
CONTEXT = 256
#: How often each snippet of a contrast set is in the text to fit and try on.
CONTRAST_COPIES = 2
#: What decides the numbers and is no setting; goes up when they change.
FORMAT = 1
#: The files beside cfg.json and the weights: what was fitted, and the text for explainers.
KEY, CORPUS = "planted.json", "corpus.jsonl"


class PlantedModel(ModelSource):
    """Latents with an answer key, of a real model.

    folder: the SAE's. programs: the first form of the same features. latents: of all programs.
    features: those that their latents realise; `index` is the latent's number.
    """

    def __init__(self, reader: LatentReader, folder: Path, programs: PlantedSource):
        corpus = load_corpus(str(folder / CORPUS))
        rows = reader.subject.tokenize([document.text for document in corpus])
        tokens = sum(len(row.ids) for row in rows)
        super().__init__(reader, EvidenceOnDemand(reader, corpus, tokens))
        self.folder, self.programs = folder, programs
        self.latents = [Latent(**one) for one in json.loads((folder / KEY).read_text())]
        self.features = tuple(
            programs.features[one.feature] for one in self.latents if one.realised
        )

    def planted(self, feature: int) -> PlantedFeature:
        """The program of a latent, realised or not."""
        return self.programs.planted(feature)

    def truth(self, feature: int, reading: Reading) -> np.ndarray:
        """float32 [n]: what the program says of each token (not piece)."""
        return self.programs.truth(feature, reading)

    def contrast(self, feature: int) -> list[tuple[str, str]]:
        """(kind, text): the first form's contrast set."""
        return self.programs.contrast(feature)


def planted_model(
    programs: PlantedSource,
    subject: SubjectModel,
    at: str,
    *,
    root: Path | None = None,
    watch: Watch = lambda stage, done, total: None,
) -> PlantedModel:
    """The programs planted at a hook point: found in the cache, or fitted.

    root: the folder of all planted SAEs, by default in the cache. watch: told of the progress.
    Raises HookPointError for a hook point that the model does not have.
    """
    point = subject.hook_point(at)
    marks = [FORMAT, programs.key, subject.digest, str(subject.dtype), point.canonical]
    name = hashlib.sha256(json.dumps(marks).encode()).hexdigest()[:12]
    folder = (root or cache_root() / "planted") / f"planted-{at}-{name}"
    if not folder.exists():
        with new_folder(folder) as draft:
            _plant(programs, subject, point, draft, watch)
    reader = LatentReader(subject, load_sae(str(folder)))
    return PlantedModel(reader, folder, programs)


def _plant(
    programs: PlantedSource,
    subject: SubjectModel,
    at: HookPoint,
    folder: Path,
    watch: Watch,
) -> None:
    pieces, x = _read(programs, subject, at, "fit", watch)
    fits = [
        fitted(x, *pieces.labels(programs.truth(one.index, pieces.reading) / one.scale))
        for one in programs.features
    ]
    fresh, drawn = _read(programs, subject, at, "try", watch)
    tries = [
        _finished(fit, fresh, drawn, programs.truth(one.index, fresh.reading), one)
        for fit, one in zip(fits, programs.features, strict=True)
    ]
    directions = [direction for direction, _ in tries]
    _save_sae(directions, x, subject, at, folder)
    (folder / KEY).write_text(json.dumps([latent.model_dump() for _, latent in tries], indent=1))
    lines = [json.dumps({"text": text}) for text in programs.corpus]
    (folder / CORPUS).write_text("\n".join(lines) + "\n")


def _finished(
    fit: Direction, pieces: Pieces, x: np.ndarray, y: np.ndarray, planted: PlantedFeature
) -> tuple[Direction, Latent]:
    """A direction with threshold and height, by every other text; and how it does on the rest."""
    score, fires = pieces.on_tokens(fit.on(x)), y > 0
    known = pieces.reading.table.window_of % 2 == 0
    threshold = best_threshold(score[known], fires[known])
    seen = np.where(score > threshold, score, 0.0)[known]
    square = float(seen @ seen)
    height = float(seen @ y[known]) / square if square else planted.scale
    direction = Direction(fit.weights, fit.bias, threshold).scaled(height)
    return direction, tried(planted.index, score[~known], threshold, fires[~known])


def _read(
    programs: PlantedSource,
    subject: SubjectModel,
    at: HookPoint,
    what_for: str,
    watch: Watch,
) -> tuple[Pieces, np.ndarray]:
    """A corpus of the same plans, drawn anew: its pieces, and the model's activations on them.

    What contrast sets try is in it, in the corpus's sentences and not in theirs. The second is
    float32 [pieces, d].
    """
    plans = [_with_near_misses(feature.plan) for feature in programs.features]
    texts = corpus_texts(
        plans, f"{programs.sae} to {what_for}", PLAIN_SENTENCES * max(60, len(plans))
    )
    rows = subject.tokenize(texts)
    pieces = Pieces(texts, [row.pieces for row in rows])
    found: list[np.ndarray] = [np.empty(0)] * len(rows)
    done = 0
    for group in batches([len(row.ids) + 1 for row in rows], TOKENS_PER_PASS):
        ids = pad([[subject.bos_id, *rows[place].ids] for place in group], subject.bos_id, ALIGN)
        activations = subject.activations(ids, at).float().cpu().numpy()
        for place, one in zip(group, activations, strict=True):
            found[place] = one[1 : len(rows[place].ids) + 1]
        done += len(group)
        watch(f"Text to {what_for} on", done, len(rows))
    return pieces, np.concatenate(found)


def _with_near_misses(plan: Plan) -> Plan:
    """The plan with what its contrast set tries in its corpus too: a latent must tell it apart."""
    tries = [replace(one, copies=CONTRAST_COPIES) for one in plan.contrast if not one.whole]
    return replace(plan, corpus=(*plan.corpus, *tries))


def _save_sae(
    directions: Sequence[Direction],
    x: np.ndarray,
    subject: SubjectModel,
    at: HookPoint,
    folder: Path,
) -> None:
    """A JumpReLU SAE as SAELens saves it; its decoder is the least-squares one on activations x."""
    import torch
    from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    latents = np.stack([direction.on(x) for direction in directions], 1)
    centre = x.mean(0)
    decoder = np.linalg.lstsq(latents, x - centre, rcond=1e-5)[0]
    sae = JumpReLUSAE(
        JumpReLUSAEConfig(
            d_in=x.shape[1],
            d_sae=len(directions),
            apply_b_dec_to_input=False,
            metadata=SAEMetadata(
                model_name=subject.id, hook_name=at.name, context_size=CONTEXT, prepend_bos=True
            ),
        )
    )
    tensors = {
        "W_enc": np.stack([direction.weights for direction in directions], 1),
        "b_enc": [direction.bias for direction in directions],
        "threshold": [direction.threshold for direction in directions],
        "W_dec": decoder,
        "b_dec": centre,
    }
    sae.load_state_dict({k: torch.as_tensor(np.asarray(v, np.float32)) for k, v in tensors.items()})
    sae.save_model(folder)
