"""The guards of conftest.py hold."""

import asyncio
import os
import socket
import urllib.request
from pathlib import Path

import pytest

# 192.0.2.0/24 is set aside for examples: nothing is ever there.
NOWHERE = ("192.0.2.1", 80)


@pytest.mark.parametrize("call", ["connect", "connect_ex"])
def test_connections_out_are_refused(call):
    with socket.socket() as sock, pytest.raises(RuntimeError, match=r"192\.0\.2\.1:80"):
        getattr(sock, call)(NOWHERE)


def test_datagrams_out_are_refused():
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(RuntimeError):
        sock.sendto(b"", NOWHERE)


def test_looking_up_names_is_refused():
    with pytest.raises(RuntimeError, match=r"example\.org"):
        urllib.request.urlopen("http://example.org", timeout=5)


async def test_asyncio_is_refused():
    with pytest.raises(RuntimeError):
        await asyncio.open_connection(*NOWHERE)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_works(host):
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection((host, server.getsockname()[1]), timeout=5).close()


def test_home_is_made_up():
    home = Path.home()
    assert home.name.startswith("sagescope-test-home-")
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "SAGESCOPE_HOME"):
        assert Path(os.environ[name]).is_relative_to(home)


def test_model_hubs_are_offline():
    assert os.environ["HF_HUB_OFFLINE"] == "1"
