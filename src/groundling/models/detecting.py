"""What a model is that detects objects of categories of its own, for those who run and train one.

Shapes: B images, Q queries, C categories.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from groundling.dynamic.cost import CostModel
from groundling.layers.resnet import Gates
from groundling.selection import Unit


@dataclass(frozen=True)
class SetPrediction:
    """What each query says: `logits` (B, Q, C+1), whose last is "nothing", and boxes (B, Q, 4) cxcywh.

    Boxes are shares of the image each belongs to, padding left aside. `layers` holds both for every decoder
    layer, the last one last; in evaluation only for the last.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]

    @property
    def logits(self) -> Tensor:
        """Of the last layer: the answer."""
        return self.layers[-1][0]

    @property
    def boxes_cxcywh01(self) -> Tensor:
        """Of the last layer: the answer."""
        return self.layers[-1][1]


class CategoryDetector(nn.Module, ABC):
    """A network that says of every query which category it is of, and where; its units can be left out.

    The configuration has `categories`, `short_side` and `long_side`.
    """

    config: Any
    net: Any

    @abstractmethod
    def units(self) -> tuple[Unit, ...]:
        """Everything that can be left out, in network order."""

    @abstractmethod
    def cost_model(self, height: int, width: int) -> CostModel:
        """What each part of this network costs for one image of these sides, as the network is given it."""

    @abstractmethod
    def forward(
        self, images_B3HW: Tensor, shown_BHW: Tensor | None = None, gates: Gates | None = None
    ) -> SetPrediction:
        """The whole network, masked where gates are given."""
