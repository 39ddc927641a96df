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
    cost_model: Any
    kept: BlockCache[Any] | None

    @abstractmethod
    def cut(self, selection: Selection) -> Any:
        """The subnet of a Selection, out of the cache where there is one."""
