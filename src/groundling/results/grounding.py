"""A Grounding: the box of one expression."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from groundling.results.cost import Cost
from groundling.results.found import Box, Found, check_inside, corners, printed, quoted, rounded
from groundling.results.shown import Shown
from groundling.selection import Selection


@dataclass(frozen=True)
class Grounding(Shown):
    """The answer to one expression.

    `box` is (x1, y1, x2, y2) in pixels of the original image as people see it (EXIF applied), clipped to
    it. `score` is the model's confidence in [0, 1], None for a model that regresses one box without any.
    `present` is how sure the model is, in [0, 1], that there is such a thing in the picture at all; None for
    a model that cannot tell. Where that is less than what was asked for (`absent`), `box` is None.
    `milliseconds` are those of this request: its first in a process takes many times as long as the next.
    """

    expression: str
    box: Box | None
    score: float | None
    cost: Cost
    selection: Selection
    width: int
    height: int
    milliseconds: float
    image: str = field(default="")
    present: float | None = None

    def __post_init__(self) -> None:
        if self.box is not None:
            check_inside(self.box, self.width, self.height)

    def __iter__(self) -> Iterator[float]:
        if self.box is None:
            raise ValueError(f"{quoted(self.expression)} is not in the picture: there is no box")
        return iter(self.box)

    def __repr__(self) -> str:
        score = "" if self.score is None else f", score={self.score:.2f}"
        box = "box=None" if self.box is None else f"box={printed(self.box)}"
        return f"Grounding({quoted(self.expression)}, {box}{score}, {self._footing()})"

    def found(self) -> Sequence[Found]:
        """The box, under the expression; nothing where there is none."""
        return [] if self.box is None else [Found(self.expression, self.box, self.score)]

    def as_dict(self) -> dict[str, object]:
        """What `groundling ground --json` prints."""
        return {
            "image": self.image,
            "expression": self.expression,
            "box": None if self.box is None else rounded(self.box),
            "score": None if self.score is None else round(self.score, 4),
            "present": None if self.present is None else round(self.present, 4),
            "macs": self.cost.macs,
            "full_macs": self.cost.full,
            "share": round(self.cost.share, 4),
            "layers_on": self.selection.layers_on,
            "layers": self.selection.layers,
            "filters_on": self.selection.filters_on,
            "filters": self.selection.filters,
            "milliseconds": round(self.milliseconds, 2),
        }

    def as_row(self) -> dict[str, object]:
        """A row of a table, of single values only: pandas.DataFrame(each.as_row() for each in groundings)."""
        values = self.as_dict()
        del values["box"]
        first = {"image": values.pop("image"), "width": self.width, "height": self.height}
        return {**first, "expression": values.pop("expression"), **corners(self.box), **values}

    def _heading(self) -> str:
        return self.expression

    def _footing(self) -> str:
        return f"{self.cost.share:.1%} of the network, {self.milliseconds:.1f} ms"
