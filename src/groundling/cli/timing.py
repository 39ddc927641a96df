"""Times as tables show them: those of a first use beside those of the same request once more."""

import warnings
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

COLUMNS = ("ms, first use", "ms, again")
NOTE = (
    "ms: from words to box. A first use sets PyTorch up and cuts the network to the words; again is the same "
    "request once more."
)


def again(ask: Callable[[], T]) -> T:
    """The same request once more, whose warnings have been heard."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ask()


def both(first: float, repeated: float) -> str:
    """The milliseconds of a first use and of the same request again."""
    return f"{first:.1f} ms at first use, {repeated:.1f} ms again"
