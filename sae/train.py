"""Train an SAE on a hook point of a subject model, with SAELens's own trainer.

The trainer, its schedules, losses and file formats are SAELens's; this module feeds it activations
from a corpus, keeps checkpoints it can continue from, and saves the result as SAELens saves it
(`sae_weights.safetensors`, here in bfloat16, and `cfg.json`), with what prepares the subject model
in its metadata.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from .corpus import load_corpus
from .errors import CorpusError, SAEError, UnknownName
from .hook_points import HookPoint
from .paths import new_file
from .splits import PARTS, part
from .subject import SubjectModel
from .windows import batches, cut, pad, tokenized

#: The file that holds the settings of a training.
RECORD = "train.json"

#: Shorter windows, in tokens, are left out: the end of a document is hardly a context.
SHORTEST = 8


@dataclass(frozen=True)
class TrainSettings:
    """What to train. tokens, batch and buffer count activation vectors; context counts tokens.

    checkpoints: how many times to save on the way. lr is Adam's; it warms up over the first 5 % of
    the steps and falls linearly to a tenth over the last 30 %. aux_until: share of the training
    after which dead latents are no longer revived; the auxiliary loss that does it costs as much as
    the rest of a step, and nothing is gained by it once hardly a latent is dead.
    """

    subject: str = "smollm2-135m-instruct"
    hook_point: str = "blocks.19.hook_resid_post"
    corpus: str = "builtin:english"
    arch: str = "topk"
    width: int = 4608
    k: int = 32
    tokens: int = 4_000_000
    context: int = 128
    batch: int = 2048
    buffer: int = 131_072
    lr: float = 8e-4
    aux_until: float = 0.43
    checkpoints: int = 20
    seed: int = 0

    def check(self) -> None:
        """Raise UnknownName, CorpusError or SAEError for what cannot be trained, before it costs."""
        from sae_lens.registry import SAE_TRAINING_CLASS_REGISTRY as KNOWN

        if self.arch not in KNOWN:
            raise UnknownName("SAE architecture", self.arch, KNOWN)
        load_corpus(self.corpus)
        rules = {
            "width must be at least 1": self.width >= 1,
            "k must be from 1 to the width": not self.uses_k or 1 <= self.k <= self.width,
            "context must be at least 2, as one token is BOS": self.context >= 2,
            "batch must be at least 1": self.batch >= 1,
            "buffer must hold at least one batch": self.buffer >= self.batch,
            "tokens must make at least one batch": self.tokens >= self.batch,
            "lr must be above 0": 0 < self.lr < math.inf,
            "aux_until must be from 0 to 1": 0 <= self.aux_until <= 1,
        }
        if broken := [rule for rule, kept in rules.items() if not kept]:
            raise SAEError(f"No SAE can be trained so: {'; '.join(broken)}.")

    @property
    def uses_k(self) -> bool:
        """Whether the architecture is told how many latents fire."""
        from sae_lens.registry import SAE_TRAINING_CLASS_REGISTRY as KNOWN

        return "k" in {field.name for field in dataclasses.fields(KNOWN[self.arch][1])}


class ActivationStream:
    """An endless iterator of shuffled activations [batch, d] in float32, which can be resumed.

    `windows_read` says how many windows of the corpus have gone through the model; a stream that
    starts with `skip` leaves out that many, and so reads none of them again. Windows of fewer than
    SHORTEST tokens are never read, nor counted. The BOS position is not among the activations.

    Raises CorpusError where no window is long enough.
    """

    def __init__(
        self, subject: SubjectModel, at: HookPoint, settings: TrainSettings, skip: int = 0
    ):
        self.subject, self.at, self.settings = subject, at, settings
        self.windows_read = skip
        self.passes = 0
        self._skip = skip

    def __iter__(self) -> Iterator[torch.Tensor]:
        from sae_lens.training.mixing_buffer import mixing_buffer

        mixed = mixing_buffer(self.settings.buffer, self.settings.batch, self._activations())
        return (batch.float() for batch in mixed)

    def _activations(self) -> Iterator[torch.Tensor]:
        room = self.settings.context - 1
        bos, filler = self.subject.bos_id, self.subject.bos_id
        for rows in self._window_groups(room):
            # The mixing buffer is copied at each yield, so what it gets is large.
            kept: list[torch.Tensor] = []
            for group in batches([len(row) for row in rows], budget=8 * self.settings.context):
                chosen = [[bos, *rows[place]] for place in group]
                found = self.subject.activations(pad(chosen, filler), self.at)
                kept.extend(found[i, 1 : len(row)] for i, row in enumerate(chosen))
            self.windows_read += len(rows)
            yield torch.cat(kept)

    def _window_groups(self, room: int, at_once: int = 256) -> Iterator[list[tuple[int, ...]]]:
        corpus = part(load_corpus(self.settings.corpus), "train", PARTS)
        shortest = min(SHORTEST, room)
        number, group = 0, []
        while True:
            before = number
            for _, tokens in tokenized(corpus, self.subject):
                for window in cut(tokens.ids, 0, room):
                    if len(window.ids) < shortest:
                        continue
                    number += 1
                    if number <= self._skip:
                        continue
                    group.append(window.ids)
                    if len(group) == at_once:
                        yield group
                        group = []
            if number == before:
                raise CorpusError(
                    f"{self.settings.corpus} gives no text to train on: none of its documents has "
                    f"{shortest} tokens or more. Give a corpus of longer documents."
                )
            self.passes += 1


def train(settings: TrainSettings, out: Path) -> Path:
    """Train an SAE into the folder `out` and return it; continues from a checkpoint in it.

    Raises UnknownName for an architecture SAELens does not train, CorpusError for a corpus that
    cannot be read or is too short, SAEError for settings that cannot be had and where `out` is no
    folder or holds another training's checkpoints.
    """
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    _refuse_other(out, settings)
    settings.check()
    torch.manual_seed(settings.seed)
    subject = SubjectModel.load(settings.subject)
    at = subject.hook_point(settings.hook_point)
    with new_file(out / RECORD) as draft:
        draft.write_text(json.dumps(asdict(settings), indent=2) + "\n")
    steps = settings.tokens // settings.batch
    checkpoint = _latest(out)
    position = json.loads((checkpoint / "position.json").read_text()) if checkpoint else {}
    stream = ActivationStream(subject, at, settings, skip=position.get("windows_read", 0))
    sae = _new_sae(settings, subject)

    def keep_only(checkpoint_path: Path | None) -> None:
        assert checkpoint_path is not None
        with new_file(checkpoint_path / "position.json") as draft:
            draft.write_text(json.dumps({"windows_read": stream.windows_read}))
        for other in out.glob("checkpoints/*"):
            if other != checkpoint_path:
                shutil.rmtree(other)

    trainer = SAETrainer(
        SAETrainerConfig(
            total_training_samples=settings.tokens,
            train_batch_size_samples=settings.batch,
            lr=settings.lr,
            lr_end=settings.lr / 10,
            lr_warm_up_steps=steps // 20,
            lr_decay_steps=steps * 3 // 10,
            dead_feature_window=max(10, 200_000 // settings.batch),
            n_batches_for_norm_estimate=max(1, min(64, steps // 10)),
            autocast=subject.dtype == torch.bfloat16,
            device=str(subject.device),
            n_checkpoints=settings.checkpoints,
            checkpoint_path=str(out / "checkpoints"),
        ),
        sae,
        iter(()),  # given below: what feeds the trainer looks at its steps
        save_checkpoint_fn=keep_only,
    )
    trainer.data_provider = _until_revived(stream, trainer, round(steps * settings.aux_until))
    if checkpoint:
        sae.load_weights_from_checkpoint(checkpoint)
        trainer.load_trainer_state(checkpoint)
    trained = trainer.fit()
    trained.cfg.metadata.training_tokens = settings.tokens
    trained.cfg.metadata.corpus_passes = stream.passes
    weights, _ = trained.save_inference_model(out)
    _halve(Path(weights))
    return out


def _halve(weights: Path) -> None:
    """Store weights in bfloat16: half the size. They are read back in the dtype of `cfg.json`."""
    from safetensors.torch import load_file, save_file

    halved = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(weights).items()}
    with new_file(weights) as draft:
        save_file(halved, draft)


def _until_revived(stream: ActivationStream, trainer: Any, last: int) -> Iterator[torch.Tensor]:
    """The stream; from step `last` on, no latent counts as dead for the trainer."""
    for batch in stream:
        if trainer.n_training_steps >= last:
            trainer.cfg.dead_feature_window = trainer.cfg.total_training_steps
        yield batch


def _new_sae(settings: TrainSettings, subject: SubjectModel) -> Any:
    from sae_lens.registry import SAE_TRAINING_CLASS_REGISTRY as KNOWN
    from sae_lens.saes.sae import SAEMetadata

    sae_class, config_class = KNOWN[settings.arch]
    sparsity: dict[str, Any] = {"k": settings.k} if settings.uses_k else {}
    at = subject.hook_point(settings.hook_point)
    width_in = subject.activations(torch.tensor([[subject.bos_id]]), at).shape[-1]
    return sae_class(
        config_class(
            d_in=width_in,
            d_sae=settings.width,
            dtype="float32",
            device=str(subject.device),
            normalize_activations="expected_average_only_in",
            metadata=SAEMetadata(
                model_name=subject.id,
                hook_name=settings.hook_point,
                context_size=settings.context,
                prepend_bos=True,
                exclude_special_tokens=True,
                dataset_path=settings.corpus,
            ),
            **sparsity,
        )
    )


def _refuse_other(out: Path, settings: TrainSettings) -> None:
    """Refuse what is no folder, or one that belongs to other settings."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        there = json.loads((out / RECORD).read_text())
    except FileNotFoundError:
        return
    except OSError as error:
        raise SAEError(
            f"{out} cannot be the folder of an SAE ({error.strerror}): give another."
        ) from error
    except ValueError:
        there = {}
    wanted = asdict(settings)
    held = there if isinstance(there, dict) else {}
    differing = [name for name in wanted if held.get(name) != wanted[name]]
    if differing:
        raise SAEError(
            f"{out} holds a training with other settings ({', '.join(differing)}): give another "
            f"folder, or delete that one."
        )


def _latest(out: Path) -> Path | None:
    """The newest whole checkpoint: the position is written last."""
    whole = [file.parent for file in out.glob("checkpoints/*/position.json")]
    return max(whole, key=lambda folder: folder.stat().st_mtime, default=None)
