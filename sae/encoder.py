"""The SAE as Sagescope uses it: loaded with SAELens, held to its subject model, read sparsely.

`load_sae(spec)` takes

    NAME                  an SAE that comes with Sagescope (a folder of sae/pretrained)
    path/to/folder        a folder with cfg.json and sae_weights.safetensors
    RELEASE/ID            of SAELens's registry: gpt2-small-res-jb/blocks.8.hook_resid_pre
    OWNER/REPO/PATH       a folder of a repository of the Hugging Face hub

`LatentReader` joins an SAE with its subject model: token ids in, sparse latents out. What the SAE's
metadata says about how its model was prepared is honoured, or refused with the reason.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .errors import FeatureError, HookPointError, SAEError, UnknownName, did_you_mean
from .hook_points import HookPoint
from .subject import SubjectModel, tensor_digest
from .windows import batches, pad

if TYPE_CHECKING:
    from sae_lens import SAE

log = logging.getLogger(__name__)

#: The SAEs that come with Sagescope, a folder each.
PRETRAINED = Path(__file__).parent / "pretrained"

#: Rows are padded to a multiple of this. A row's numbers then do not depend on the rows that happen
#: to share its pass: matrix products over fewer rows, or over an odd number of them, take other
#: kernels, which round otherwise.
ALIGN = 16

#: Padded tokens in one forward pass: where throughput stops growing on a CPU.
TOKENS_PER_PASS = 1024

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
}

#: Architectures that look at a whole text at once.
SEQUENTIAL = {"temporal"}


# -------------------------------------------------------------------- loading


@dataclass(frozen=True)
class LoadedSAE:
    """An SAE of any architecture in SAELens's registry, in float32.

    name: what it goes by in feature ids. module: SAELens's own object.
    """

    name: str
    module: SAE[Any]

    @property
    def n_features(self) -> int:
        """How many latents it has."""
        return int(self.module.cfg.d_sae)

    @property
    def architecture(self) -> str:
        """Its name in SAELens's registry."""
        return self.module.cfg.architecture()

    @property
    def metadata(self) -> Any:
        """SAELens's SAEMetadata: an attribute that nobody set reads as None."""
        return self.module.cfg.metadata

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the weights and of all settings but the device."""
        settings = {k: v for k, v in self.module.cfg.to_dict().items() if k != "device"}
        found = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        found.update(tensor_digest(self.module.state_dict()).encode())
        return found.hexdigest()


def load_sae(spec: str) -> LoadedSAE:
    """Load the SAE that `spec` names (forms: see the module's docstring).

    Raises UnknownName for what is in no list, SAEError for what cannot be read or reached.
    """
    named = PRETRAINED / spec.removeprefix("pretrained:")
    if spec and "/" not in spec and (named / "cfg.json").is_file():
        return LoadedSAE(named.name, _from_folder(named))
    folder = Path(spec).expanduser()
    if folder.is_dir():
        return LoadedSAE(folder.resolve().name, _from_folder(folder))
    if folder.exists() or spec.startswith((".", "/", "~")):
        raise SAEError(f"{spec} is not a folder with cfg.json and sae_weights.safetensors.")
    return LoadedSAE(spec, _from_release(spec))


def pretrained_names() -> list[str]:
    """The SAEs that come with Sagescope."""
    return sorted(file.parent.name for file in PRETRAINED.glob("*/cfg.json"))


def _from_folder(folder: Path) -> SAE[Any]:
    if not (folder / "cfg.json").is_file():
        raise SAEError(f"{folder} is not an SAE that SAELens saved: it has no cfg.json.")
    from sae_lens import SAE
    from sae_lens.registry import SAE_CLASS_REGISTRY as KNOWN

    try:
        with _without_advice():
            return SAE.load_from_disk(folder, device="cpu", dtype="float32")
    except KeyError as error:
        if str(_architecture(folder)) not in KNOWN:
            raise UnknownName("SAE architecture", str(_architecture(folder)), KNOWN) from error
        raise SAEError(f"The SAE in {folder} lacks {error}.") from error
    except Exception as error:
        raise SAEError(f"The SAE in {folder} cannot be read: {_first_line(error)}") from error


def _architecture(folder: Path) -> str | None:
    return json.loads((folder / "cfg.json").read_text()).get("architecture")


def _from_release(spec: str) -> SAE[Any]:
    from sae_lens import SAE
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    directory = get_pretrained_saes_directory()
    release, _, sae_id = spec.partition("/")
    if release not in directory and spec.count("/") < 2:
        raise UnknownName("SAE", spec, [*pretrained_names(), *(f"{name}/…" for name in directory)])
    if release not in directory:
        owner, name, sae_id = spec.split("/", 2)
        release = f"{owner}/{name}"
    elif sae_id not in directory[release].saes_map:
        raise UnknownName(f"SAE of the release {release}", sae_id, directory[release].saes_map)
    try:
        with _without_advice():
            return SAE.from_pretrained(release, sae_id, device="cpu", dtype="float32")
    except Exception as error:
        near = "" if release in directory else " " + did_you_mean(release.split("/")[0], directory)
        raise SAEError(
            f"The SAE {spec} could not be fetched from the Hugging Face hub "
            f"({_first_line(error)}). Check the network, or give a folder on disk.{near}"
        ) from error


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """SAELens advises how to load the model; `LatentReader` does what it advises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


# -------------------------------------------------------------------- subject model and SAE


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
    computes, None for all.

    Raises SAEError for an SAE that does not fit the subject model or that asks for a preparation
    of it which cannot be had, FeatureError for latents that the SAE does not have.
    """

    def __init__(
        self, subject: SubjectModel, sae: LoadedSAE, features: Sequence[int] | None = None
    ):
        self.subject, self.sae = subject, sae
        self.metadata = sae.metadata
        self.prepend_bos = self.metadata.prepend_bos is not False
        self.at = _hook_point(subject, sae, "hook_name")
        self.context = min(self.metadata.context_size or DEFAULT_CONTEXT, subject.max_context)
        self.room = self.context - self.prepend_bos
        _refuse_unknown_scale(sae)
        self._centres = _centres(subject, sae, self.at)
        self._head = self.metadata.hook_head_index
        self._module = sae.module.to(subject.device).eval()
        # Inputs and outputs of modules are flat where TransformerLens has [heads, d_head].
        self._module.turn_off_forward_pass_hook_z_reshaping()
        self._check_width()
        self.features = None if features is None else _checked(features, sae.n_features)
        self._columns = self.features if sae.architecture in SEPARABLE else None
        self._encoder = (
            self._module if self._columns is None else narrowed(self._module, self._columns)
        ).eval()
        if name := self.metadata.model_name:
            _compare_names(name, subject.id, sae.name)

    # ---------------------------------------------------------------- reading

    def run(self, rows: Sequence[Sequence[int]]) -> Latents:
        """The latents of rows of token ids (without BOS), each at most `room` long.

        A row's numbers do not depend on the other rows. Raises SAEError where they are not finite.
        """
        starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        lengths = [_aligned(len(row) + self.prepend_bos) for row in rows]
        found = [
            self._run_batch([rows[place] for place in group], starts[group])
            for group in batches(lengths, TOKENS_PER_PASS)
        ]
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
        if self._centres and at.in_residual_stream:
            found = found.float() - found.float().mean(-1, keepdim=True)
        return found

    def restored(self, made: torch.Tensor, whole: torch.Tensor, at: HookPoint) -> torch.Tensor:
        """What the SAE made, [n, d], as activations of the model; `whole` is what was there."""
        if self._head is not None:
            heads = self._by_head(whole).clone()
            heads[..., self._head, :] = made.to(heads.dtype)
            return heads.flatten(-2)
        if self._centres and at.in_residual_stream:
            made = made + whole.float().mean(-1, keepdim=True)
        return made

    @cached_property
    def written(self) -> HookPoint:
        """The hook point whose activations the SAE makes: for a transcoder, not where it reads."""
        other = self.metadata.hook_name_out or self.metadata.hf_hook_name_out
        return _hook_point(self.subject, self.sae, "hook_name_out") if other else self.at

    def _by_head(self, found: torch.Tensor) -> torch.Tensor:
        return found.unflatten(-1, (-1, self._module.cfg.d_in))

    def padded(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Rows of ids with their BOS token, as one tensor that is aligned (see ALIGN)."""
        bos = [self.subject.bos_id] if self.prepend_bos else []
        filler = self.subject.bos_id if self.prepend_bos else 0
        return pad([[*bos, *row] for row in rows], filler, ALIGN)

    @torch.inference_mode()
    def _run_batch(
        self, rows: Sequence[Sequence[int]], starts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        skip = int(self.prepend_bos)
        found = self.at_hook(self.padded(rows))
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

    def _check_width(self) -> None:
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


def _aligned(length: int) -> int:
    return -(-length // ALIGN) * ALIGN


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


# -------------------------------------------------------------------- preparation of the model


#: Ways to load a model that change nothing but its speed or precision.
HARMLESS = {"dtype", "torch_dtype", "device", "n_devices", "trust_remote_code", "low_cpu_mem_usage"}

#: Folding LayerNorm and centring the unembedding change nothing that is written to, or read from,
#: the residual stream before the last norm.
_FOLDED = {"fold_ln", "center_unembed"}


def _centres(subject: SubjectModel, sae: LoadedSAE, at: HookPoint) -> bool:
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


def _refuse_unknown_scale(sae: LoadedSAE) -> None:
    scale = sae.module.cfg.normalize_activations
    if scale in ("expected_average_only_in", "covariance_whitening"):
        raise SAEError(
            f"{sae.name} was trained on scaled activations ({scale}), and the scale was not folded "
            f"into its weights: save it with SAELens's save_inference_model."
        )


def _hook_point(subject: SubjectModel, sae: LoadedSAE, key: str) -> HookPoint:
    """A hook point in the metadata: by the Hugging Face name where there is one, else by `key`."""
    name, exact = sae.metadata[key], sae.metadata[f"hf_{key}"] or ""
    module, _, side = exact.rpartition(".")
    if side in ("input", "output") and _has_module(subject, module):
        return HookPoint(exact, name or exact, module, "in" if side == "input" else "out", None)
    if not name:
        raise SAEError(f"{sae.name} does not say which hook point it reads ({key} in cfg.json).")
    return subject.hook_point(name)


def _has_module(subject: SubjectModel, path: str) -> bool:
    return path in dict(subject.model.named_modules())


def _compare_names(trained_on: str, subject: str, sae: str) -> None:
    """Log that an SAE says it belongs to another model: names differ, so it is no proof."""
    ours, theirs = (_plain(name) for name in (subject, trained_on))
    if ours not in theirs and theirs not in ours:
        log.warning("%s was trained on %s; the subject model is %s.", sae, trained_on, subject)


def _plain(name: str) -> str:
    """A model's name without its owner, as TransformerLens's short names leave out sizes."""
    return name.rpartition("/")[2].casefold().removesuffix("-small")
