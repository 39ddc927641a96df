"""Warnings point at the line that asked: the first caller who is neither in this package nor in torch."""

import sys
import warnings


def warn(message: str, category: type[Warning]) -> None:
    """As `warnings.warn`, with the line of our caller's caller outside this package, however deep we are."""
    frame, depth = sys._getframe(1), 2
    while frame.f_back is not None and _inside(frame.f_globals.get("__name__", "")):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth)


def _inside(module: str) -> bool:
    """Whether a module is of this package, or of torch, whose decorators stand between."""
    return module.split(".")[0] in ("groundling", "torch")
