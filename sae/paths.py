"""Where Sagescope keeps what it can make again (converted weights, evidence) and what it cannot.

One root, `$SAGESCOPE_HOME`, by default `~/.cache/sagescope`. Everything below it may be deleted:
the next run makes it again.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import SagescopeError


def cache_root() -> Path:
    """The root folder of everything that can be made again. Raises SagescopeError as user_path."""
    home = os.environ.get("SAGESCOPE_HOME")
    if home:
        return user_path(home, SagescopeError)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sagescope"


def user_path(text: str, error: type[SagescopeError]) -> Path:
    """A path as it was typed, "~" filled in; nothing need stand there.

    Raises `error` for what the system can have no file of: a name too long, a home of nobody.
    """
    path = Path(text)
    try:
        path = path.expanduser()
        path.lstat()
    except RuntimeError as caught:  # an unknown user, or no home at all
        raise error(f"{text!r} cannot be a path: it names the home of nobody here.") from caught
    except ValueError as caught:
        raise error(f"{text!r} cannot be a path ({caught}).") from caught
    except OSError as caught:
        if caught.errno not in (errno.ENOENT, errno.ENOTDIR):
            shown = text if len(text) < 80 else f"{text[:60]}…"
            raise error(f"{shown!r} cannot be a path ({caught.strerror}).") from caught
    return path


#: No room: on the disk, under a quota, for a file of that size.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """What keeps a folder from being made or written to, as one sentence: a SagescopeError.

    A full disk stays the OSError that it is: it may pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise SagescopeError(
            f"{folder} could not be written to ({error.strerror}): give another place "
            f"($SAGESCOPE_HOME names that of the cache)."
        ) from error


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `target` when the block ends without an error.

    Whoever reads `target` sees all of it or nothing. If another process made `target` meanwhile,
    that one stays. Raises SagescopeError where nothing can be made there.
    """
    with writable(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield draft
        try:
            draft.rename(target)
        except OSError:
            if not target.exists():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `target` when the block ends without an error.

    Raises SagescopeError where nothing can be made there.
    """
    with writable(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
