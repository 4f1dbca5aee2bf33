"""SAELens knows our architectures after `import sagescope.sae`, in whatever order things happen."""

import subprocess
import sys

import pytest

from sagescope.sae.architectures import LOADED, TRAINED, register
from sagescope.sae.errors import SAEError

ASK = "from sae_lens.registry import SAE_TRAINING_CLASS_REGISTRY as known; print('aen' in known)"


@pytest.mark.parametrize("first", ["import sagescope.sae", "import sae_lens, sagescope.sae"])
def test_importing_the_package_is_enough(first: str):
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{first}; {ASK}"], capture_output=True, text=True
    )
    assert found.stdout.strip() == "True", found.stderr


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, sagescope.sae; print([m for m in ('torch', 'sae_lens') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr


def test_registering_again_changes_nothing():
    from sae_lens.registry import SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY

    before = dict(SAE_CLASS_REGISTRY), dict(SAE_TRAINING_CLASS_REGISTRY)
    register()
    assert before == (SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY)
    for sae, settings in TRAINED:
        assert SAE_TRAINING_CLASS_REGISTRY[settings.architecture()] == (sae, settings)
    for sae, settings in LOADED:
        assert SAE_CLASS_REGISTRY[settings.architecture()] == (sae, settings)


def test_a_name_that_another_package_took_is_an_error(monkeypatch: pytest.MonkeyPatch):
    from sae_lens.registry import SAE_TRAINING_CLASS_REGISTRY

    monkeypatch.setitem(SAE_TRAINING_CLASS_REGISTRY, "aen", (str, str))  # pyright: ignore
    with pytest.raises(SAEError, match="already has an architecture aen"):
        register()
