"""What a model is that finds all objects of a text, for those who ask and train one."""

from abc import abstractmethod
from typing import Any

from groundling.dynamic.blocks import BlockCache
from groundling.models.supernet import Supernet
from groundling.selection import Selection


class ObjectFinder(Supernet):
    """A Supernet that, beside the one box of an expression, finds the objects of every phrase of a text.

    `net` sees the image (`see`), reads the text with it (`join`), asks for objects (`decode`) and says which
    (`objects`); with the heads for it, it answers (`answer`) and segments (`masks`). `kept` is the cache of
    subnets of whoever runs the model, None where there is none.
    """

    net: Any
    config: Any
    kept: BlockCache[Any] | None

    def costs(self, height: int, width: int) -> Any:
        """As those of every Supernet, and with `asked`: what one text of an image costs."""
        return super().costs(height, width)

    @property
    def cost_model(self) -> Any:
        """The same for the input that its configuration names."""
        return super().cost_model

    @abstractmethod
    def cut(self, selection: Selection) -> Any:
        """The subnet of a Selection, out of the cache where there is one."""
