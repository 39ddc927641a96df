"""One box of an answer under its words, and how boxes and texts are written."""

from typing import NamedTuple

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the upright original image

QUOTED = 60  # characters of a text that a repr shows


class Found(NamedTuple):
    """One box of an answer, under its words; the score is None where the model gives none."""

    label: str
    box: Box
    score: float | None


def quoted(text: str) -> str:
    """A text in one short line, in quotes."""
    return repr(text if len(text) <= QUOTED else f"{text[: QUOTED - 1]}…")


def rounded(box: Box) -> list[float]:
    """The box with two decimals."""
    return [round(value, 2) for value in box]


def corners(box: Box | None) -> dict[str, float | None]:
    """The box as four columns of a table."""
    return dict(zip(("x1", "y1", "x2", "y2"), rounded(box) if box else [None] * 4, strict=True))


def printed(box: Box) -> str:
    """The box with one decimal, for a repr."""
    return "(" + ", ".join(f"{value:.1f}" for value in box) + ")"


def check_inside(box: Box, width: int, height: int) -> None:
    """ValueError unless the box lies in an image of this size."""
    x1, y1, x2, y2 = box
    if not (0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height):
        raise ValueError(f"box {box} lies outside its image of {width}×{height}")
