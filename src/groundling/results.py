"""What comes back: a Cost beside every answer, and a Grounding."""

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
        x1, y1, x2, y2 = self.box
        if not (0 <= x1 <= x2 <= self.width and 0 <= y1 <= y2 <= self.height):
            raise ValueError(f"box {self.box} does not lie in an image of {self.width}×{self.height}")

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
