"""Passes that differ only from a block on: what comes before it runs once.

Steering many features adds each direction at the same place after the same prompts. What the blocks
up to there made is kept from one plain pass, and each steered pass goes on from it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from .hook_points import HookPoint
from .subject import SubjectModel


class Beginning:
    """What the blocks up to a hook point made of some rows of tokens.

    at: the hook point. Use `watched` around the plain pass; `there` says whether that could be kept,
    which it can where the hook point is what a block returns. Hold the subject's `turn`.
    """

    def __init__(self, subject: SubjectModel, at: HookPoint):
        folder, _, number = at.module.rpartition(".")
        blocks = subject.model.get_submodule(folder)
        self._made: list[Any] = []
        self._blocks: tuple[torch.nn.Module, ...] = ()
        if at.side == "out" and isinstance(blocks, torch.nn.ModuleList):
            self._blocks = tuple(blocks[: int(number) + 1])

    @property
    def there(self) -> bool:
        """Whether a pass can go on from here."""
        return bool(self._made)

    def forget(self) -> None:
        """Passes are to run as a whole, after all."""
        self._made.clear()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """The pass in this block is the plain one."""
        if not self._blocks:
            yield
            return
        keep = self._blocks[-1].register_forward_hook(lambda _, __, made: self._made.append(made))
        try:
            yield
        finally:
            keep.remove()

    @contextlib.contextmanager
    def resumed(self, times: int = 1) -> Iterator[None]:
        """Passes in this block go on from here, with all rows `times` times one after another.

        Hooks on the last block still run, so that an edit there is made.
        """
        blocks = self._blocks if self.there else ()
        try:
            # All blocks of a model return the same kind of thing, and only the last one's counts.
            made = _repeated(self._made[-1], times) if blocks else None
            for block in blocks:
                block.forward = lambda *_, **__: made
            yield
        finally:
            for block in blocks:
                del block.forward


def _repeated(made: Any, times: int) -> Any:
    """What a block made, a tensor or a tuple that begins with one, with its rows repeated."""
    if isinstance(made, tuple):
        return (_repeated(made[0], times), *made[1:])
    return made.repeat(times, *[1] * (made.dim() - 1))
