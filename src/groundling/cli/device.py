"""The check of a device, as verbs name it; `load` makes it too."""

from groundling.device import checked

__all__ = ["checked"]
