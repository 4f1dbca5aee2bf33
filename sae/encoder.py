"""The SAE as Sagescope uses it: held to its subject model, read sparsely.

`LatentReader` joins an SAE (`loading`) with its subject model: token ids in, sparse latents out.
What the SAE's metadata says about how its model was prepared is honoured, or refused with the
reason (`preparation`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .errors import FeatureError, HookPointError, SAEError, first_line
from .hook_points import HookPoint
from .loading import LoadedSAE
from .preparation import centres, compare_names, hook_point_of, refuse_unknown_scale
from .source import check_feature
from .subject import SubjectModel
from .windows import batches, pad

if TYPE_CHECKING:
    from sae_lens import SAE

#: Rows are padded to a multiple of this. A row's numbers then do not depend on the rows that happen
#: to share its pass: matrix products over fewer rows, or over an odd number of them, take other
#: kernels, which round otherwise.
ALIGN = 16

#: Padded tokens in one forward pass: where throughput stops growing on a CPU.
TOKENS_PER_PASS = 1024

#: What one more pass costs on a CPU, in padded tokens: a row of 16 takes 58 ms alone and 16 ms more in
#: a pass with others (SmolLM2-135M, one thread).
PASS_OVERHEAD = 48

#: The most bytes that pre-activations of all latents may take at once.
DENSE_BYTES = 64 << 20

#: A context for SAEs that do not say theirs, in tokens.
DEFAULT_CONTEXT = 1024

#: Architectures whose latents do not depend on each other, so that some can be had without others.
SEPARABLE = {
    "standard",
    "gated",
    "jumprelu",
    "transcoder",
    "skip_transcoder",
    "jumprelu_transcoder",
    "jumprelu_skip_transcoder",
    "binary_dense",
}

#: Architectures that look at a whole text at once.
SEQUENTIAL = {"temporal"}


@dataclass(frozen=True)
class Latents:
    """Sparse activations of rows of tokens, in the SAE's own units.

    starts: int64 [rows + 1], where each row begins when all rows' tokens are counted through.
    tokens: int64 [nnz], the token of each entry, so counted, ascending. latents: int32 [nnz],
    ascending within a token. values: float32 [nnz], none of them zero.
    """

    starts: np.ndarray
    tokens: np.ndarray
    latents: np.ndarray
    values: np.ndarray

    def row(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions in the row, latents and values of one row's entries."""
        start, end = self.starts[number : number + 2]
        some = slice(*np.searchsorted(self.tokens, (start, end)))
        return self.tokens[some] - start, self.latents[some], self.values[some]


class LatentReader:
    """An SAE on its subject model: rows of token ids in, sparse latents out.

    subject, sae: what was joined. at: the hook point it reads. context: the longest row that the
    SAE was made for, in tokens, the BOS token included; room: without it. features: the latents it
    computes, None for all. centres: whether it reads the residual stream without its mean over d_model.

    Raises SAEError for an SAE that does not fit the subject model or that asks for a preparation
    of it which cannot be had, FeatureError for latents that the SAE does not have.
    """

    def __init__(
        self, subject: SubjectModel, sae: LoadedSAE, features: Sequence[int] | None = None
    ):
        self.subject, self.sae = subject, sae
        self.metadata = sae.metadata
        self.prepend_bos = self.metadata.prepend_bos is not False
        self.at = hook_point_of(subject, sae, "hook_name")
        self.context = min(self.metadata.context_size or DEFAULT_CONTEXT, subject.max_context)
        self.room = self.context - self.prepend_bos
        refuse_unknown_scale(sae)
        self.centres = centres(subject, sae, self.at)
        self._head = self.metadata.hook_head_index
        self._module = sae.module.to(subject.device).eval()
        # Inputs and outputs of modules are flat where TransformerLens has [heads, d_head].
        self._module.turn_off_forward_pass_hook_z_reshaping()
        tried = self._check_width()
        self.features = None if features is None else _checked(features, sae.n_features)
        self._columns = self.features if sae.architecture in SEPARABLE else None
        self._encoder = (
            self._module if self._columns is None else narrowed(self._module, self._columns)
        ).eval()
        self._check_encoder(tried)
        if name := self.metadata.model_name:
            compare_names(name, subject.id, sae.name)

    # ---------------------------------------------------------------- reading

    def check(self, feature: int) -> None:
        """Raise FeatureError for a feature that the SAE does not have, or that is not computed."""
        check_feature(feature, self.sae.n_features)
        if self.features is not None and feature not in self.features:
            raise FeatureError(f"This host reads only some features, and not {feature}.")

    def run(self, rows: Sequence[Sequence[int]]) -> Latents:
        """The latents of rows of token ids (without BOS), each at most `room` long.

        A row's numbers do not depend on the other rows. Raises SAEError where they are not finite.
        """
        return run_together([self], rows)[0]

    def gathered(
        self, starts: np.ndarray, found: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
    ) -> Latents:
        """The latents of rows that were read in several passes. Raises as `run` does."""
        tokens, latents, values = (
            (np.concatenate(kind) for kind in zip(*found, strict=True))
            if found
            else (np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
        )
        order = np.argsort(tokens, kind="stable")
        if not np.isfinite(values).all():
            raise SAEError(
                f"{self.sae.name} gave activations that are not finite on {self.subject.id} in "
                f"{self.subject.dtype}: load the subject model with dtype float32."
            )
        return Latents(starts, tokens[order], latents[order], values[order])

    def at_hook(self, ids: torch.Tensor) -> torch.Tensor:
        """What the SAE reads: [batch, seq, d_in], prepared as the SAE was trained.

        ids: [batch, seq], padded on the right, the BOS token included where there is one.
        """
        return self.prepared(self.subject.activations(ids, self.at), self.at)

    def prepared(self, found: torch.Tensor, at: HookPoint) -> torch.Tensor:
        """Activations at a hook point as the SAE has them: one head's, or centred."""
        if self._head is not None:
            found = self._by_head(found)[..., self._head, :]
        if self.centres and at.in_residual_stream:
            found = found.float() - found.float().mean(-1, keepdim=True)
        return found

    def restored(self, made: torch.Tensor, whole: torch.Tensor, at: HookPoint) -> torch.Tensor:
        """What the SAE made, [n, d], as activations of the model; `whole` is what was there."""
        if self._head is not None:
            heads = self._by_head(whole).clone()
            heads[..., self._head, :] = made.to(heads.dtype)
            return heads.flatten(-2)
        if self.centres and at.in_residual_stream:
            made = made + whole.float().mean(-1, keepdim=True)
        return made

    @cached_property
    def written(self) -> HookPoint:
        """The hook point whose activations the SAE makes: for a transcoder, not where it reads."""
        other = self.metadata.hook_name_out or self.metadata.hf_hook_name_out
        return hook_point_of(self.subject, self.sae, "hook_name_out") if other else self.at

    def _by_head(self, found: torch.Tensor) -> torch.Tensor:
        return found.unflatten(-1, (-1, self._module.cfg.d_in))

    def padded_length(self, tokens: int) -> int:
        """How long a row of so many tokens is in a pass: with its BOS token, aligned."""
        return max(ALIGN, -(-(tokens + self.prepend_bos) // ALIGN) * ALIGN)

    def padded(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Rows of ids with their BOS token, as one tensor that is aligned (see ALIGN)."""
        bos = [self.subject.bos_id] if self.prepend_bos else []
        filler = self.subject.bos_id if self.prepend_bos else 0
        return pad([[*bos, *row] for row in rows], filler, ALIGN)

    def encoded(
        self, at_hook: torch.Tensor, rows: Sequence[Sequence[int]], starts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Token, latent and value of what is not zero in the rows of one pass.

        at_hook: [rows, seq, d] what the model has at `at`. starts: the first token of each row.
        """
        skip = int(self.prepend_bos)
        found = self.prepared(at_hook, self.at)
        ends = [skip + len(row) for row in rows]
        if self.sae.architecture in SEQUENTIAL:
            encoded = [
                self._encoder.encode(found[i : i + 1, :end])[0, skip:] for i, end in enumerate(ends)
            ]
            token, latent, value = _entries(torch.cat(encoded))
        else:
            token, latent, value = self._encode(
                torch.cat([found[i, skip:end] for i, end in enumerate(ends)])
            )
        place = np.concatenate(
            [start + np.arange(len(row)) for start, row in zip(starts, rows, strict=True)]
        )
        if self._columns is not None:
            latent = self._columns[latent]
        elif self.features is not None:
            wanted = np.isin(latent, self.features)
            token, latent, value = token[wanted], latent[wanted], value[wanted]
        return place[token], latent.astype(np.int32), value

    def latent(self, found: torch.Tensor, feature: int) -> torch.Tensor:
        """One feature where the model has `found` [..., width] at the hook point: [...].

        Not for SEQUENTIAL architectures, which look at a whole text.
        """
        read = self.prepared(found, self.at)
        return self._module.encode(read)[..., feature].float()

    def _encode(self, flat: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Entries of flat rows [n, d_in]: token, latent, value; a slice at a time."""
        width = self._encoder.cfg.d_sae
        at_once = max(ALIGN, DENSE_BYTES // (4 * width) // ALIGN * ALIGN)
        missing = -len(flat) % ALIGN
        full = torch.nn.functional.pad(flat, (0, 0, 0, missing))
        parts = []
        for start in range(0, len(full), at_once):
            dense = self._encoder.encode(full[start : start + at_once])
            token, latent, value = _entries(dense[: len(flat) - start])
            parts.append((token + start, latent, value))
        if not parts:
            return _entries(torch.zeros(0, width))
        token, latent, value = (np.concatenate(kind) for kind in zip(*parts, strict=True))
        return token, latent, value

    # ---------------------------------------------------------------- checking

    def _check_width(self) -> torch.Tensor:
        """What a trial pass found at the hook point: [1, seq, width]."""
        ids = torch.zeros(2, 2, dtype=torch.long)
        found = self.subject.activations(ids, self.at)
        if found.shape[:2] != ids.shape:
            raise HookPointError(
                f"{self.at.name} of {self.subject.id} has no activation for each token."
            )
        d_in, width = self._module.cfg.d_in, found.shape[-1]
        heads = width // d_in if self._head is not None and width % d_in == 0 else 1
        if width != d_in * heads or (self._head or 0) >= heads:
            raise SAEError(
                f"{self.sae.name} takes {d_in} numbers a token, but {self.at.name} of "
                f"{self.subject.id} has {width}: it was made for another model"
                f"{f' ({self.metadata.model_name})' if self.metadata.model_name else ''}."
            )
        return found[:1]

    @torch.inference_mode()
    def _check_encoder(self, tried: torch.Tensor) -> None:
        """Settings that no table of ours knows show themselves when they are used."""
        found = self.prepared(tried, self.at)
        try:
            self._encoder.encode(found if self.sae.architecture in SEQUENTIAL else found[0])
        except Exception as error:
            raise SAEError(
                f"{self.sae.name} cannot encode anything ({first_line(error)}): check the settings "
                f"in its cfg.json."
            ) from error


@torch.inference_mode()
def run_together(readers: Sequence[LatentReader], rows: Sequence[Sequence[int]]) -> list[Latents]:
    """The latents of several readers, one after another, from the same passes.

    The readers share a subject model and agree on whether a BOS token is put first; a pass stops
    where the last of them has what it reads. Each gives what it gives alone.
    """
    first = readers[0]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    filled = [place for place, row in enumerate(rows) if len(row)]
    lengths = [first.padded_length(len(rows[place])) for place in filled]
    found = [[] for _ in readers]
    overhead = PASS_OVERHEAD if first.subject.device.type == "cpu" else None
    for group in batches(lengths, TOKENS_PER_PASS, overhead):
        places = [filled[number] for number in group]
        some = [rows[place] for place in places]
        # An SAE that scales activations keeps the scale of those it read last.
        with first.subject.turn:
            at_hooks = first.subject.activations_at(
                first.padded(some), [reader.at for reader in readers]
            )
            for reader, at_hook, parts in zip(readers, at_hooks, found, strict=True):
                parts.append(reader.encoded(at_hook, some, starts[places]))
    return [reader.gathered(starts, parts) for reader, parts in zip(readers, found, strict=True)]


def _entries(dense: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and value of everything in [n, columns] that is not zero, row by row."""
    row, column = dense.nonzero(as_tuple=True)
    return row.cpu().numpy(), column.cpu().numpy(), dense[row, column].float().cpu().numpy()


def _checked(features: Sequence[int], n_features: int) -> np.ndarray:
    wanted = np.unique(np.asarray(features, dtype=np.int64))
    outside = wanted[(wanted < 0) | (wanted >= n_features)]
    if len(outside) or not len(wanted):
        what = f"no feature {outside[0]}" if len(outside) else "nothing asked for"
        raise FeatureError(f"There is {what}: the SAE has {n_features}, numbered from 0.")
    return wanted


def narrowed(module: SAE[Any], features: np.ndarray) -> SAE[Any]:
    """The same SAE with only some of its latents; for the architectures in SEPARABLE."""
    columns = torch.as_tensor(features, device=module.W_enc.device)
    narrow = copy.copy(module)
    narrow._parameters = dict(module._parameters)
    narrow.cfg = copy.copy(module.cfg)
    narrow.cfg.d_sae = len(columns)
    for name, tensor in module._parameters.items():
        if tensor is not None and name in (
            "W_enc",
            "b_enc",
            "threshold",
            "b_gate",
            "b_mag",
            "r_mag",
        ):
            narrow._parameters[name] = torch.nn.Parameter(tensor[..., columns])
    return narrow
