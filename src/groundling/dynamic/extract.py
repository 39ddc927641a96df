"""Cutting a dense subnet out of a supernet."""

from collections.abc import Iterator
from typing import Protocol, Self, TypeVar

from torch import nn

from groundling.layers.cutting import ANEW, Cutter
from groundling.selection import Selection, Unit, check


class Dense(Protocol):
    """A network that hands out its parts, as each part does."""

    def extract(self, selection: Selection, cutter: Cutter = ANEW) -> Self:
        """The part that a Selection keeps, out of parts that the cutter hands out."""

    def modules(self) -> Iterator[nn.Module]:
        """As `nn.Module.modules`."""


N = TypeVar("N", bound=Dense)
N_co = TypeVar("N_co", bound=Dense, covariant=True)


class Extractable(Protocol[N_co]):
    """A supernet as far as extraction knows it: its units, and the network they are parts of."""

    @property
    def net(self) -> N_co:
        """The network with everything on."""

    def units(self) -> tuple[Unit, ...]:
        """What can be left out of it."""


def extract(model: Extractable[N], selection: Selection) -> N:
    """The dense network of this Selection: no gates, no masks, BN folded, weights sliced.

    Its output equals the masked supernet's. ValueError if the Selection is of another supernet.
    """
    return model.net.extract(check(selection, model.units()))
