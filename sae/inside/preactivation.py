"""What a latent reads: its pre-activation, and its encoder row where that looks at the residual stream."""

from __future__ import annotations

from typing import Any

import torch

from ..block_places import layout_of, place_of
from ..encoder import LatentReader
from ..errors import SAEError
from ..hook_points import HookPoint
from ..norms import LinearNorm
from ..source import check_feature

#: Architectures whose pre-activations are linear in what they read.
LINEAR = {
    "standard",
    "topk",
    "abstopk",
    "jumprelu",
    "gated",
    "transcoder",
    "skip_transcoder",
    "jumprelu_transcoder",
    "jumprelu_skip_transcoder",
    "binary_dense",
    "binary_topk",
    "binary_transcoder",
}
#: The residual stream itself, outside of blocks.
_STREAM = {"embed.hook_out", "ln_final.hook_in"}


def check_linear(reader: LatentReader) -> None:
    """Raise SAEError for an SAE whose pre-activations are not linear in what it reads."""
    if reader.sae.architecture not in LINEAR:
        raise SAEError(
            f"A latent of {reader.sae.name} ({reader.sae.architecture}) does not weigh what it reads "
            f"by itself: it depends on the other latents, or on other tokens. Explain it with `sage`."
        )


def pre_activations(reader: LatentReader, found: torch.Tensor, feature: int) -> torch.Tensor:
    """The latent before its non-linearity, in its own units, where the hook point has `found`.

    found: [..., width], gradients flow. [...] is returned, float32: the activation wherever the
    latent fires; for a gated SAE its magnitude, for a binary one how far it is above its threshold.
    Raises SAEError as `check_linear`, FeatureError for a latent that the SAE does not have.
    """
    check_feature(feature, reader.sae.n_features)
    check_linear(reader)
    module: Any = reader.sae.module
    read = module.process_sae_in(reader.prepared(found, reader.at)).float()
    value = read @ module.W_enc[:, feature].float()
    return value * _scale(reader, feature) + _bias(reader, feature)


def encoder_row(reader: LatentReader, feature: int) -> torch.Tensor:
    """The weights of the pre-activation on what the SAE reads: float32 [d_in].

    Less its mean where the SAE takes the mean of what it reads away. Scales that depend on the token
    alone (`layer_norm`, `constant_norm_rescale`) are left out. Raises as `pre_activations`.
    """
    check_feature(feature, reader.sae.n_features)
    check_linear(reader)
    row = (reader.sae.module.W_enc[:, feature].float() * _scale(reader, feature)).detach()
    centred = reader.centres or reader.sae.module.cfg.normalize_activations == "layer_norm"
    return row - row.mean() if centred else row


def stream_norm(reader: LatentReader) -> LinearNorm | None:
    """The norm through which the SAE reads the residual stream; None where it reads the stream itself.

    Hold the subject's `turn`. Raises SAEError for an SAE that reads something else: what attention
    or an MLP computes, before it is added to the stream.
    """
    at, subject = reader.at, reader.subject
    found = None
    if reader.metadata.hook_head_index is None:
        found = place_of(at, layout_of(subject))
    layer, place = found or (0, None)
    stream = place if place is not None and place.holds == "stream" else None
    if at.canonical in _STREAM or (stream is not None and not stream.norm):
        return None
    if stream is not None:
        name = f"blocks.{layer}.{stream.norm}"
        try:
            path = subject.bridge.adapter.translate_transformer_lens_path(name)
            norm = subject.model.get_submodule(path)
        except (ValueError, AttributeError):
            path, norm = "", None
        if norm is not None and _same(reader, HookPoint(name, name, path, "out", at.layer)):
            return LinearNorm.of(norm, subject)
    raise SAEError(
        f"{reader.sae.name} reads {at.name} of {subject.id}, which the embeddings are not added to: "
        f"its weights do not speak of tokens. Take `attribution` or `circuitlens`, for an SAE on "
        f"attention outputs also `attention-rules`; or an SAE that reads the residual stream, or a "
        f"transcoder."
    )


def _same(reader: LatentReader, norm: HookPoint) -> bool:
    """Whether what the SAE reads is what the norm makes: some families put the norm elsewhere."""
    ids = torch.zeros(1, 2, dtype=torch.long)
    made, read = reader.subject.activations_at(ids, [norm, reader.at])
    return torch.equal(made, read)


def _scale(reader: LatentReader, feature: int) -> torch.Tensor | float:
    module: Any = reader.sae.module
    if reader.sae.architecture == "gated":
        return module.r_mag[feature].exp().float()
    if getattr(module.cfg, "rescale_acts_by_decoder_norm", False):
        return module.W_dec[feature].float().norm()
    return 1.0


def _bias(reader: LatentReader, feature: int) -> torch.Tensor:
    module: Any = reader.sae.module
    if reader.sae.architecture == "gated":
        return module.b_mag[feature].float()
    if reader.sae.architecture.startswith("binary"):
        return -module.thresholds()[feature].float()
    return module.b_enc[feature].float() * _scale(reader, feature)
