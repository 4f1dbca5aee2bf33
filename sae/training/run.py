"""Train an SAE on hook points of a subject model, with SAELens's own trainer.

The trainer, its schedules, losses and file formats are SAELens's. This module feeds it activations
(`stream`, `windows`, `kept`), shows how far it is, keeps checkpoints it can continue from, and
saves the result as SAELens saves it (`sae_weights.safetensors` and `cfg.json`, with what prepares
the subject model in its metadata), with the settings and a card (`card`) beside it.
"""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer

from ..corpus import load_corpus
from ..errors import SAEError
from ..paths import new_file
from ..progress import Bar, bar
from ..subject import SubjectModel
from . import kept
from .card import write_card
from .settings import TrainSettings
from .stream import ActivationStream
from .unbroken import unbroken
from .windows import ModelWindows, Windows

#: The file that holds the settings of a training, and the one with all that follows from them.
RECORD, RESOLVED = "train.json", "resolved.json"

#: Steps between two looks at the figures behind the progress bar: reading them off costs a little.
SHOWN_EVERY = 20


def train(
    settings: TrainSettings,
    out: Path,
    *,
    keep: Path | None = None,
    keep_gb: float = kept.KEPT_GB,
    progress: bool = True,
    shown: Bar | None = None,
) -> Path:
    """Train an SAE into the folder `out` and return it; continues from a checkpoint in it.

    keep: a folder of activations, filled first where it is not, and read instead of running the
    subject model; at most keep_gb gigabytes of it. What lacks then is read several times. shown: what
    is told of the steps in place of a bar of its own.

    Raises UnknownName for an architecture SAELens does not train, CorpusError for a corpus that
    cannot be read or is too short, SAEError for settings that cannot be had and where `out` is no
    folder or holds another training's checkpoints.
    """
    _refuse_other(out, settings)
    settings.check()
    torch.manual_seed(settings.seed)
    subject = SubjectModel.load(settings.subject)
    windows = _windows(settings, subject, keep, keep_gb)
    with new_file(out / RECORD) as draft:
        draft.write_text(json.dumps(asdict(settings), indent=2) + "\n")
    checkpoint = _latest(out)
    position = json.loads((checkpoint / "position.json").read_text()) if checkpoint else {}
    stream = ActivationStream(windows, settings, skip=position.get("windows_read", 0))
    trainer = _Trainer(_new_sae(settings, subject), stream, settings, subject, out)
    _write_resolved(out, trainer)
    if checkpoint:
        trainer.sae.load_weights_from_checkpoint(checkpoint)
        trainer.load_trainer_state(checkpoint)
    with nullcontext(shown) if shown else bar("Training", settings.tokens, progress) as told:
        trained = trainer.run(told)
    metadata = trained.cfg.metadata
    metadata.training_tokens = settings.tokens
    metadata.corpus_passes = windows.passes
    metadata.unexplained_in_training = trainer.unexplained
    weights, _ = trained.save_inference_model(out)
    if settings.weights == "bfloat16":
        _halve(Path(weights))
    write_card(out, settings, trained.cfg)
    return out


class _Trainer(SAETrainer[Any, Any]):
    """SAELens's trainer, on a stream: its loop with our progress, its rows counted as tokens."""

    def __init__(
        self,
        sae: Any,
        stream: ActivationStream,
        settings: TrainSettings,
        subject: SubjectModel,
        out: Path,
    ):
        self.settings, self.stream = settings, stream
        self.unexplained: float | None = None
        self._out = out
        #: Steps without firing that make a latent dead.
        self._silent = max(10, 200_000 // settings.batch)
        steps = settings.tokens // settings.batch
        super().__init__(
            SAETrainerConfig(
                total_training_samples=settings.tokens,
                train_batch_size_samples=settings.batch,
                lr=settings.learning_rate,
                lr_end=settings.learning_rate / 10,
                lr_warm_up_steps=steps // 20,
                lr_decay_steps=steps * 3 // 10,
                dead_feature_window=self._silent,
                # The L0 that is kept is of the steps since this was full last.
                feature_sampling_window=max(1, min(1000, steps // 10)),
                n_batches_for_norm_estimate=max(1, min(64, steps // 10)),
                autocast=settings.in_bfloat16 and subject.dtype == torch.bfloat16,
                device=str(subject.device),
                n_checkpoints=settings.checkpoints,
                checkpoint_path=str(out / "checkpoints"),
            ),
            sae,
            iter(stream),
            save_checkpoint_fn=self._keep_only,
        )

    def run(self, shown: Bar) -> Any:
        """Train to the end and return the SAE, the scale of its input folded into its weights."""
        shown.skip(self.n_training_samples)
        if self.activation_scaler.scaling_factor is None:
            self.activation_scaler.scaling_factor = self._scale()
        revived_until = round(self.settings.aux_until * self.cfg.total_training_steps)
        output, whole = None, False
        try:
            while self.n_training_samples < self.cfg.total_training_samples:
                if self.n_training_steps >= revived_until:  # from here on, none counts as dead
                    self.cfg.dead_feature_window = self.cfg.total_training_steps
                self.maybe_reset_sparsity()
                batch = next(self.data_provider)
                with unbroken():
                    whole = (
                        False  # a second signal does not wait, and what is half done is not kept
                    )
                    output = self.step(batch)
                    self.n_training_steps += 1
                    whole = True
                    self._checkpoint_if_needed()
                shown.advance(self.settings.batch)
                if self.n_training_steps % SHOWN_EVERY == 0:
                    shown.tell(**self._figures(output))
        except BaseException as stopped:
            if whole and not isinstance(stopped, Exception):
                with unbroken():
                    self.save_checkpoint(str(self.n_training_samples))
            raise
        if output is not None:  # none where the last checkpoint was the end
            self.unexplained = _unexplained(output)
        self.sae.fold_activation_norm_scaling_factor(self.activation_scaler.scaling_factor)
        self.activation_scaler.scaling_factor = None
        self.cfg.dead_feature_window = self._silent  # dead is again what did not fire for so long
        self.set_final_sae_metadata()
        return self.sae

    def step(self, batch: torch.Tensor) -> Any:
        """One step; a pair of tokens counts as one."""
        output = super().step(batch)
        self.n_training_samples -= len(batch) - self.settings.batch
        return output

    def _scale(self) -> float:
        """What makes the mean norm of what is read √d_in."""
        d_in, count = self.sae.cfg.d_in, self.cfg.n_batches_for_norm_estimate
        norms = [next(self.data_provider)[:, :d_in].norm(dim=-1).mean() for _ in range(count)]
        return float(d_in**0.5 / torch.stack(norms).mean())

    def _figures(self, output: Any) -> dict[str, str]:
        return {
            "loss": f"{output.loss.item():.3g}",
            "L0": f"{output.feature_acts.bool().float().sum(-1).mean().item():.1f}",
            "dead": f"{(self.n_forward_passes_since_fired > self._silent).float().mean().item():.1%}",
        }

    def _keep_only(self, checkpoint_path: Path | None) -> None:
        assert checkpoint_path is not None
        with new_file(checkpoint_path / "position.json") as draft:
            draft.write_text(json.dumps({"windows_read": self.stream.windows_read}))
        for other in self._out.glob("checkpoints/*"):
            if other != checkpoint_path:
                shutil.rmtree(other)


@torch.no_grad()
def _unexplained(output: Any) -> float:
    """Fraction of variance unexplained of one batch, of what the SAE was to make."""
    made = output.sae_out.float()
    target = output.sae_in.float()[: len(made), -made.shape[-1] :]
    error = (made - target).square().sum()
    return float(error / (target - target.mean(0)).square().sum())


def keep_activations(settings: TrainSettings, keep: Path, keep_gb: float = kept.KEPT_GB) -> int:
    """Keep what a training reads, so that several can begin at once; tokens that are kept.

    Goes on where it was stopped. Raises as `train` does.
    """
    settings.check()
    return _filled(settings, SubjectModel.load(settings.subject), keep, keep_gb).tokens


def _windows(
    settings: TrainSettings, subject: SubjectModel, keep: Path | None, keep_gb: float
) -> Windows:
    if keep is None:
        return ModelWindows(subject, settings)
    filled = _filled(settings, subject, keep, keep_gb)
    return kept.KeptWindows(keep, filled, settings.seed)


def _filled(
    settings: TrainSettings, subject: SubjectModel, keep: Path, keep_gb: float
) -> kept.Kept:
    key = kept.key_of(subject.digest, settings, load_corpus(settings.corpus).digest())
    return kept.fill(keep, ModelWindows(subject, settings), key, settings.tokens, keep_gb)


def _halve(weights: Path) -> None:
    """Store weights in bfloat16: half the size. They are read back in the dtype of `cfg.json`."""
    from safetensors.torch import load_file, save_file

    halved = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(weights).items()}
    with new_file(weights) as draft:
        save_file(halved, draft)


def _new_sae(settings: TrainSettings, subject: SubjectModel) -> Any:
    from sae_lens.saes.sae import SAEMetadata

    sae_class, config_class = settings.architecture
    widths = [_width(settings, subject, name) for name in _hook_points(settings)]
    sizes: dict[str, Any] = {"k": settings.k} if settings.uses_k else {}
    if settings.rows == "in and out":
        sizes["d_out"] = widths[1]
    return sae_class(
        config_class(
            d_in=widths[0],
            d_sae=settings.width,
            dtype="float32",
            device=str(subject.device),
            normalize_activations="expected_average_only_in",
            metadata=SAEMetadata(
                model_name=subject.id,
                hook_name=settings.hook_point,
                hook_name_out=settings.hook_point_out,
                hook_head_index=settings.head,
                context_size=settings.context,
                prepend_bos=True,
                exclude_special_tokens=True,
                dataset_path=settings.corpus,
            ),
            **sizes,
            **(_by_steps(settings) | settings.checked_options()),
        )
    )


def _by_steps(settings: TrainSettings) -> dict[str, int]:
    """What an architecture's settings are in a training so long, where they hang on that."""
    by_steps = getattr(settings.config_class, "by_steps", None)
    return by_steps(settings.tokens // settings.batch) if by_steps else {}


def _hook_points(settings: TrainSettings) -> list[str]:
    return [name for name in (settings.hook_point, settings.hook_point_out) if name is not None]


def _width(settings: TrainSettings, subject: SubjectModel, hook_point: str) -> int:
    """How many numbers a token has at a hook point."""
    alone = replace(settings, hook_point=hook_point, hook_point_out=None)
    return ModelWindows(subject, alone).activations(torch.tensor([[subject.bos_id]])).shape[-1]


def _write_resolved(out: Path, trainer: _Trainer) -> None:
    resolved = {
        "settings": asdict(trainer.settings),
        "sae": trainer.sae.cfg.to_dict(),
        "trainer": asdict(trainer.cfg),
    }
    with new_file(out / RESOLVED) as draft:
        draft.write_text(json.dumps(resolved, indent=2, default=str) + "\n")


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
