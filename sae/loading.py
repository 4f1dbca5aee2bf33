"""SAEs of every architecture in SAELens's registry, loaded with SAELens.

`load_sae(spec)` takes

    NAME                  an SAE that comes with Sagescope (a folder of sae/pretrained)
    path/to/folder        a folder with cfg.json and sae_weights.safetensors
    RELEASE/ID            of SAELens's registry: gpt2-small-res-jb/blocks.8.hook_resid_pre
    OWNER/REPO/PATH       a folder of a repository of the Hugging Face hub

Weights are safetensors. Some releases have pickles: these must be such that torch's `weights_only`
loader takes them, which runs nothing that they hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import SAEError, UnknownName, did_you_mean, first_line
from .metadata import Metadata
from .paths import user_path
from .subject import tensor_digest
from .weights import weights_only

if TYPE_CHECKING:
    from sae_lens import SAE

#: The SAEs that come with Sagescope, a folder each.
PRETRAINED = Path(__file__).parent / "pretrained"


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

    @cached_property
    def metadata(self) -> Metadata:
        """What it says about itself and its model. Raises SAEError where that makes no sense."""
        return Metadata.of(self.name, self.module.cfg.metadata.to_dict())

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
    folder = user_path(spec, SAEError)
    named = PRETRAINED / spec.removeprefix("pretrained:")
    if spec and "/" not in spec and (named / "cfg.json").is_file():
        return LoadedSAE(named.name, _from_folder(named))
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
        raise SAEError(f"The SAE in {folder} cannot be read: {first_line(error)}") from error


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
        with _without_advice(), weights_only():
            return SAE.from_pretrained(release, sae_id, device="cpu", dtype="float32")
    except Exception as error:
        near = "" if release in directory else " " + did_you_mean(release.split("/")[0], directory)
        raise SAEError(
            f"The SAE {spec} could not be fetched from the Hugging Face hub "
            f"({first_line(error)}). Check the network, or give a folder on disk.{near}"
        ) from error


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """SAELens advises how to load the model; `LatentReader` does what it advises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
