"""How an SAE's metadata says that its model was prepared: honoured, or refused with the reason."""

from __future__ import annotations

import logging

import torch

from .errors import SAEError
from .hook_points import HookPoint, has_module
from .loading import LoadedSAE
from .subject import SubjectModel
from .visible import visible

log = logging.getLogger(__name__)

#: Ways to load a model that change nothing but its speed or precision.
HARMLESS = {"dtype", "torch_dtype", "device", "n_devices", "trust_remote_code", "low_cpu_mem_usage"}

#: Folding LayerNorm and centring the unembedding change nothing that is written to, or read from,
#: the residual stream before the last norm.
_FOLDED = {"fold_ln", "center_unembed"}


def centres(subject: SubjectModel, sae: LoadedSAE, at: HookPoint) -> bool:
    """Whether the SAE had activations of the residual stream without their mean over d_model.

    SAELens writes how TransformerLens loaded the model. Centred writing weights of a LayerNorm
    model are the one preparation that changes the residual stream, and exactly by that mean.
    """
    asked = sae.metadata.model_from_pretrained_kwargs or {}
    wanted = {name for name, value in asked.items() if value not in (False, None)} - HARMLESS
    unknown = wanted - _FOLDED - {"center_writing_weights"}
    if unknown:
        raise SAEError(
            f"{sae.name} was trained on a model loaded with {', '.join(sorted(unknown))}, which "
            f"Sagescope cannot do: its activations would be others."
        )
    if wanted & _FOLDED and not at.in_residual_stream:
        raise SAEError(
            f"{sae.name} was trained on a model loaded with {', '.join(sorted(wanted & _FOLDED))}, "
            f"which changes {at.name}; only the residual stream is the same without it."
        )
    if "center_writing_weights" not in wanted:
        return False
    if not any(isinstance(module, torch.nn.LayerNorm) for module in subject.model.modules()):
        raise SAEError(
            f"{sae.name} asks for centred writing weights, which only a LayerNorm model can have; "
            f"{subject.id} is none. If it was trained without, say so in its cfg.json."
        )
    return True


def refuse_unknown_scale(sae: LoadedSAE) -> None:
    scale = sae.module.cfg.normalize_activations
    if scale in ("expected_average_only_in", "covariance_whitening"):
        raise SAEError(
            f"{sae.name} was trained on scaled activations ({scale}), and the scale was not folded "
            f"into its weights: save it with SAELens's save_inference_model."
        )


def hook_point_of(subject: SubjectModel, sae: LoadedSAE, key: str) -> HookPoint:
    """A hook point in the metadata: by the Hugging Face name where there is one, else by `key`."""
    name, exact = getattr(sae.metadata, key), getattr(sae.metadata, f"hf_{key}") or ""
    module, _, side = exact.rpartition(".")
    if side in ("input", "output") and has_module(subject, module):
        return HookPoint(exact, name or exact, module, "in" if side == "input" else "out", None)
    if not name:
        raise SAEError(f"{sae.name} does not say which hook point it reads ({key} in cfg.json).")
    return subject.hook_point(name)


def compare_names(trained_on: str, subject: str, sae: str) -> None:
    """Log that an SAE says it belongs to another model: names differ, so it is no proof."""
    ours, theirs = (_plain(name) for name in (subject, trained_on))
    if ours not in theirs and theirs not in ours:
        names = (visible(name) for name in (sae, trained_on, subject))
        log.warning("%s was trained on %s; the subject model is %s.", *names)


def _plain(name: str) -> str:
    """A model's name without its owner, as TransformerLens's short names leave out sizes."""
    return name.rpartition("/")[2].casefold().removesuffix("-small")
