"""What comes back: a Cost beside every answer, and a Grounding, or the Detections of an image."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from groundling.selection import Selection


@dataclass(frozen=True)
class Cost:
    """MACs (multiply-accumulates) per part of what ran, and of the supernet for the same words."""

    parts: Mapping[str, int]
    full: int

    def __post_init__(self) -> None:
        if min(self.parts.values(), default=0) < 0 or not 0 < self.macs <= self.full:
            raise ValueError(f"a cost of {self.macs} MACs does not fit a supernet of {self.full}")
        object.__setattr__(self, "parts", MappingProxyType(dict(self.parts)))

    @property
    def macs(self) -> int:
        """MACs of all parts."""
        return sum(self.parts.values())

    @property
    def share(self) -> float:
        """What ran, as a share of the supernet, in (0, 1]."""
        return self.macs / self.full


@dataclass(frozen=True)
class Grounding:
    """The answer to one expression.

    `box` is (x1, y1, x2, y2) in pixels of the original image as people see it (EXIF applied), clipped to
    it. `score` is the model's confidence in [0, 1], None for a model that regresses one box without any.
    """

    expression: str
    box: tuple[float, float, float, float]
    score: float | None
    cost: Cost
    selection: Selection
    width: int
    height: int
    milliseconds: float
    image: str = field(default="")

    def __post_init__(self) -> None:
        _check_inside(self.box, self.width, self.height)

    def __iter__(self) -> Iterator[float]:
        return iter(self.box)

    def as_dict(self) -> dict[str, object]:
        """What `groundling ground --json` prints."""
        return {
            "image": self.image,
            "expression": self.expression,
            "box": [round(value, 2) for value in self.box],
            "score": None if self.score is None else round(self.score, 4),
            "macs": self.cost.macs,
            "full_macs": self.cost.full,
            "share": round(self.cost.share, 4),
            "layers_on": self.selection.layers_on,
            "layers": self.selection.layers,
            "filters_on": self.selection.filters_on,
            "filters": self.selection.filters,
            "milliseconds": round(self.milliseconds, 2),
        }


@dataclass(frozen=True)
class Detection:
    """One object that was seen: its category, box as in a Grounding, and the model's confidence in [0, 1]."""

    label: str
    box: tuple[float, float, float, float]
    score: float

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"a score of {self.score} is not in [0, 1]")

    def as_dict(self) -> dict[str, object]:
        """What `groundling detect --json` prints of it."""
        box = [round(value, 2) for value in self.box]
        return {"label": self.label, "box": box, "score": round(self.score, 4)}


@dataclass(frozen=True)
class Detections:
    """The objects of one image, those that the model is surest of first; a sequence of Detection."""

    objects: tuple[Detection, ...]
    cost: Cost
    width: int
    height: int
    milliseconds: float
    image: str = field(default="")

    def __post_init__(self) -> None:
        for found in self.objects:
            _check_inside(found.box, self.width, self.height)
        if list(self.objects) != sorted(self.objects, key=lambda found: -found.score):
            raise ValueError("detections are given with the highest score first")

    def __iter__(self) -> Iterator[Detection]:
        return iter(self.objects)

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index: int) -> Detection:
        return self.objects[index]

    def as_dict(self) -> dict[str, object]:
        """What `groundling detect --json` prints."""
        return {
            "image": self.image,
            "width": self.width,
            "height": self.height,
            "objects": [found.as_dict() for found in self.objects],
            "macs": self.cost.macs,
            "full_macs": self.cost.full,
            "share": round(self.cost.share, 4),
            "milliseconds": round(self.milliseconds, 2),
        }


def _check_inside(box: tuple[float, float, float, float], width: int, height: int) -> None:
    x1, y1, x2, y2 = box
    if not (0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height):
        raise ValueError(f"box {box} does not lie in an image of {width}×{height}")
