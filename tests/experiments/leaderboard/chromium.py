"""A real Chromium to look at pages with, asked over its own pipe (the DevTools protocol)."""

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest


class Chromium:
    """One page in a headless Chromium. Use as a context manager."""

    def __init__(self, profile: Path, width: int = 1280, height: int = 900):
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        if program is None:
            pytest.skip("there is no chromium here")
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        options = (
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--hide-scrollbars", f"--window-size={width},{height}",
            f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank",
        )  # fmt: skip
        # Chromium reads commands from 3 and answers on 4.
        shell = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, program, *options],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._numbers = itertools.count(1)
        self._left = b""
        self._session: str | None = None
        self.said: list[dict[str, Any]] = []
        targets = self.ask("Target.getTargets")["targetInfos"]
        (page,) = (one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)  # Chromium ends when its pipe does
        os.close(self._in)
        self._process.terminate()
        self._process.wait()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events on the way are kept in `said`."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == number:
                assert "error" not in found, found
                return found["result"]
            self.said.append(found)

    def open(self, page: Path) -> None:
        """Go to a page and wait until it is there."""
        self.said.clear()
        self.ask("Page.navigate", url=page.as_uri())
        while not any(one.get("method") == "Page.loadEventFired" for one in self.said):
            self.said.append(self._next())

    def run(self, script: str) -> Any:
        """What an expression of JavaScript gives in the page, as JSON values."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def complaints(self) -> list[str]:
        """Errors that the page caused: exceptions, and what its content policy forbade."""
        exceptions = [one for one in self.said if one.get("method") == "Runtime.exceptionThrown"]
        entries = [
            one["params"]["entry"]["text"] for one in self.said if one["method"] == "Log.entryAdded"
        ]
        return [*map(str, exceptions), *entries]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            chunk = os.read(self._in, 1 << 16)
            assert chunk, "Chromium is gone"
            self._left += chunk
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)
