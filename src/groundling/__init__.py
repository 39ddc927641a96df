"""Visual grounding that runs only the part of the network your words need."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "CaptionGrounding",
    "Cost",
    "Detection",
    "Detections",
    "Detector",
    "Grounder",
    "Grounding",
    "Segmentation",
    "Selection",
    "load",
]

if TYPE_CHECKING:
    from groundling.ask.detector import Detector
    from groundling.ask.grounder import Grounder, load
    from groundling.results import (
        Answer,
        CaptionGrounding,
        Cost,
        Detection,
        Detections,
        Grounding,
        Segmentation,
    )
    from groundling.selection import Selection

_ROOMS = {
    "Answer": "results",
    "CaptionGrounding": "results",
    "Cost": "results",
    "Detection": "results",
    "Detections": "results",
    "Detector": "ask.detector",
    "Grounder": "ask.grounder",
    "Grounding": "results",
    "Segmentation": "results",
    "Selection": "selection",
    "load": "ask.grounder",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: `groundling --help` must not wait for torch."""
    from importlib import import_module

    if name not in _ROOMS:
        raise AttributeError(f"module 'groundling' has no attribute {name!r}")
    return getattr(import_module(f"groundling.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    """What one completes with the tab key: all public names, imported or not."""
    return sorted({*globals(), *__all__})
