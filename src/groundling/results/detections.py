"""Detections: the objects of one image, the surest first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from groundling.results.cost import Cost, millions
from groundling.results.found import Box, Found, check_inside, corners, printed, quoted, rounded
from groundling.results.shown import Shown


@dataclass(frozen=True)
class Detection:
    """One object that was seen: its category, box as in a Grounding, and the model's confidence in [0, 1]."""

    label: str
    box: Box
    score: float

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"a score must be a number from 0 to 1, given {self.score}")

    def __repr__(self) -> str:
        return f"Detection({quoted(self.label)}, box={printed(self.box)}, score={self.score:.2f})"

    def as_dict(self) -> dict[str, object]:
        """What `groundling detect --json` prints of it."""
        return {"label": self.label, "box": rounded(self.box), "score": round(self.score, 4)}

    def as_row(self) -> dict[str, object]:
        """The same in single values: label, x1, y1, x2, y2, score."""
        return {"label": self.label, **corners(self.box), "score": round(self.score, 4)}


@dataclass(frozen=True)
class Detections(Shown):
    """The objects of one image, those that the model is surest of first; a sequence of Detection.

    `milliseconds` are those of this request: its first in a process takes many times as long as the next.
    """

    objects: tuple[Detection, ...]
    cost: Cost
    width: int
    height: int
    milliseconds: float
    image: str = field(default="")

    def __post_init__(self) -> None:
        for each in self.objects:
            check_inside(each.box, self.width, self.height)
        if list(self.objects) != sorted(self.objects, key=lambda each: -each.score):
            raise ValueError("detections must be sorted by score, the highest first")

    def __iter__(self) -> Iterator[Detection]:
        return iter(self.objects)

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index: int) -> Detection:
        return self.objects[index]

    def __repr__(self) -> str:
        return f"Detections({self._heading()}, {self._footing()})"

    def found(self) -> Sequence[Found]:
        """Every object, under its category or name."""
        return founds(self.objects)

    def as_dict(self) -> dict[str, object]:
        """What `groundling detect --json` prints."""
        return {
            "image": self.image,
            "width": self.width,
            "height": self.height,
            "objects": [each.as_dict() for each in self.objects],
            "macs": self.cost.macs,
            "full_macs": self.cost.full,
            "share": round(self.cost.share, 4),
            "milliseconds": round(self.milliseconds, 2),
        }

    def rows(self) -> list[dict[str, object]]:
        """A row for each object, of single values only: pandas.DataFrame(found.rows())."""
        picture = {"image": self.image, "width": self.width, "height": self.height}
        return [{**picture, **each.as_row()} for each in self.objects]

    def _heading(self) -> str:
        return summary(self.objects)

    def _footing(self) -> str:
        return f"{millions(self.cost.macs)} MACs, {self.milliseconds:.1f} ms"


def founds(objects: Sequence[Detection]) -> list[Found]:
    """Objects as what every answer has."""
    return [Found(each.label, each.box, each.score) for each in objects]


def summary(objects: Sequence[Detection], most: int = 5) -> str:
    """How many objects, and of what: "3 objects: 2 × 'woman', 'bench'"."""
    counts: dict[str, int] = {}
    for each in objects:
        counts[each.label] = counts.get(each.label, 0) + 1
    named = [f"{n} × {quoted(label)}" if n > 1 else quoted(label) for label, n in counts.items()]
    rest = [f"{len(named) - most} more labels"] if len(named) > most else []
    many = f"{len(objects)} object{'' if len(objects) == 1 else 's'}"
    return f"{many}: {', '.join([*named[:most], *rest])}" if objects else "no objects"
