"""Who hands out the parts of a dense network: here each is cut anew, a cache keeps what it cut before."""

from collections.abc import Callable, Hashable, Mapping
from typing import Protocol, TypeVar

from torch import nn

from groundling.layers.sharing import share

M = TypeVar("M", bound=nn.Module)
Parts = Mapping[str, nn.Module | None]


class Cutter(Protocol):
    """What a layer's `extract` asks for its parts."""

    def part(self, key: Hashable, make: Callable[[], M]) -> M:
        """The part of this name and with what is kept of it; `make` cuts it."""

    def around(self, module: M, parts: Parts) -> M:
        """The module around such parts; its other children are over the same weights."""


class Anew:
    """Cuts each part when it is asked for: the parts are nobody else's, and can be exported."""

    def part(self, key: Hashable, make: Callable[[], M]) -> M:
        """A new part."""
        return make()

    def around(self, module: M, parts: Parts) -> M:
        """A twin of the module (`share`)."""
        return share(module, parts)


ANEW = Anew()
