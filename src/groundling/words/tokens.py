"""Words as a network takes them, and what is said of words that it does not take.

Shapes: E expressions, L tokens, D channels; padding (E, L) is True where there is no token.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor


class TruncationWarning(UserWarning):
    """An expression was longer than the model reads."""


class UnknownWordWarning(UserWarning):
    """An expression has words that the model was never taught."""


@dataclass(frozen=True)
class Tokens:
    """Token ids (E, L) int64 and padding (E, L) bool, True = no token."""

    ids: Tensor
    padding: Tensor

    @property
    def padded(self) -> bool:
        """Whether any row is; a network that is being exported reads one expression, looks at no values."""
        return not exporting() and bool(self.padding.any())

    def to(self, device: torch.device | str) -> "Tokens":
        """The same tokens on another device."""
        return Tokens(self.ids.to(device), self.padding.to(device))


_EXPORTING: ContextVar[bool] = ContextVar("exporting", default=False)


def exporting() -> bool:
    """Whether this thread writes a network down for another runtime (torch's own flag is all threads')."""
    return _EXPORTING.get()


@contextmanager
def as_exported() -> Iterator[None]:
    """Networks that run in here are being written down: they may not look at values."""
    before = _EXPORTING.set(True)
    try:
        yield
    finally:
        _EXPORTING.reset(before)
