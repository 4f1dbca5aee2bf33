"""Two guards around every test: no network but loopback, and no home directory but a made-up one.

Both stand before any test module is imported, and child processes inherit the second.
"""

import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest


class NetworkUsedInTest(RuntimeError):
    """A test reached for the network.

    Not an OSError on purpose: code that treats a failed connection as "offline" must not hide it.
    To test against a server, start one on 127.0.0.1; to test being offline, connect to a port of
    127.0.0.1 where nothing listens.
    """


# --- No network ----------------------------------------------------------------------------------

_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex
_sendto = socket.socket.sendto
_getaddrinfo = socket.getaddrinfo


def _is_loopback(host: str | bytes | None) -> bool:
    name = os.fsdecode(host or "localhost")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _refuse_remote(sock: socket.socket, address: Any) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
        raise NetworkUsedInTest(f"connection to {address[0]}:{address[1]}")


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: socket.socket, *args: Any) -> Any:
        _refuse_remote(self, args[-1])  # the address is the last argument of each of them
        return method(self, *args)

    return call


def _guarded_getaddrinfo(host: str | bytes | None, *args: Any, **kwargs: Any) -> Any:
    if not _is_loopback(host):
        raise NetworkUsedInTest(f"look-up of {os.fsdecode(host or '')}")
    return _getaddrinfo(host, *args, **kwargs)


def _turn_network_off() -> None:
    socket.socket.connect = _guarded(_connect)
    socket.socket.connect_ex = _guarded(_connect_ex)
    socket.socket.sendto = _guarded(_sendto)
    socket.getaddrinfo = _guarded_getaddrinfo
    # For libraries and child processes that ask before they try.
    os.environ.update(
        HF_HUB_OFFLINE="1",
        HF_DATASETS_OFFLINE="1",
        WANDB_MODE="disabled",
        PIP_NO_INDEX="1",
    )


# --- No home directory ---------------------------------------------------------------------------

_homes = pytest.StashKey[Path]()


def _move_home(home: Path) -> None:
    for name, folder in {
        "HOME": "",
        "XDG_CACHE_HOME": ".cache",
        "XDG_CONFIG_HOME": ".config",
        "XDG_DATA_HOME": ".local/share",
        "XDG_STATE_HOME": ".local/state",
        "SAGESCOPE_HOME": ".cache/sagescope",
    }.items():
        path = home / folder
        path.mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(path)
    # Where these point past HOME, they would lead out of it again.
    for name in ("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "TORCH_HOME", "WANDB_DIR"):
        os.environ.pop(name, None)


# How long a machine takes says nothing about the code.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    _turn_network_off()
    home = Path(tempfile.mkdtemp(prefix="sagescope-test-home-"))
    config.stash[_homes] = home
    _move_home(home)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_homes], ignore_errors=True)
