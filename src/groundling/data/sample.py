"""What every dataset format becomes: samples of one image, one expression and one box."""

import math
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from groundling.words.text import is_unicode, normalised

T = TypeVar("T")
Box = tuple[float, float, float, float]  # xyxy, pixels of the image


class DataError(ValueError):
    """An annotation file or a row of it that cannot be used; the message says which and why."""


class BoxError(DataError):
    """A box with no part in its picture; the other boxes of its row may be sound."""


class DataWarning(UserWarning):
    """Rows of an annotation file were left out, or changed."""


@dataclass(frozen=True)
class Thing:
    """One annotated object of an image."""

    category: str
    box: Box
    attributes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_unicode(self.category, "category")
        check_box(self.box)


@dataclass(frozen=True)
class Sample:
    """One expression and the box it refers to: xyxy in pixels of the upright image."""

    id: str
    image: Path
    expression: str
    box: Box
    category: str | None = None

    def __post_init__(self) -> None:
        check_words(self.expression, "expression")
        check_unicode(self.id, "id")
        check_unicode(self.category, "category")
        check_box(self.box)


@dataclass(frozen=True)
class Dataset:
    """The samples of one split, and all annotated objects of their images where the format has them.

    `left_out` counts the rows of its files that could not be used.
    """

    name: str
    split: str
    samples: tuple[Sample, ...]
    things: Mapping[Path, tuple[Thing, ...]] = field(default_factory=dict)
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.samples)

    def told(self) -> "Dataset":
        """The same; DataError if it has no expression."""
        if not self.samples:
            raise DataError(f"no phrase of {self.name} {self.split} means exactly one box: no expression")
        return self

    def limited(self, limit: int | None) -> "Dataset":
        """At most `limit` samples, evenly spread over all: neighbours are often of one image."""
        return replace(self, samples=spread(self.samples, limit, "expressions"))


def spread(items: tuple[T, ...], limit: int | None, noun: str) -> tuple[T, ...]:
    """At most `limit` items, evenly spread over all; ValueError for a limit that leaves none."""
    if limit is None:
        return items
    if limit < 1:
        raise ValueError(f"a limit of {limit} {noun} leaves none; give 1 or more")
    count = min(limit, len(items))
    return tuple(items[i * len(items) // count] for i in range(count))


def check_split(root: Path, split: str, splits: Callable[[Path], Iterable[str]], nothing: str) -> None:
    """FileNotFoundError for a folder that is not there, ValueError for a split that it does not have.

    `nothing` is what a folder without any split lacks.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"dataset folder not found: {root}")
    there = list(splits(root))
    if split not in there:
        raise ValueError(f"{root} has no split {split!r}; it has {', '.join(there) or nothing}")


def check_words(text: str, what: str) -> None:
    """DataError for a text in which no model could read a word; `what` names it.

    The text itself is kept as it stands in its file, where spans count its characters: whoever reads it for
    a model normalises it (`words.text`).
    """
    check_unicode(text, what)
    if not normalised(text).has_words:
        raise DataError(f"the {what} has no words: {reprlib.repr(text)}")


def check_unicode(text: str | None, what: str) -> None:
    """DataError for half of a surrogate pair, which JSON can write and no file can hold as text."""
    if text is not None and not is_unicode(text):
        raise DataError(f"the {what} is not valid Unicode: {reprlib.repr(text)}")


def box_from_xyxy(values: Sequence[float]) -> Box:
    """Four numbers as a box; DataError for anything else. Its area is looked at by check_box."""
    numbers = list(values) if isinstance(values, Iterable) and not isinstance(values, str | bytes) else []
    if len(numbers) != 4 or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise DataError(f"box {reprlib.repr(values)} is not four numbers")
    try:
        x1, y1, x2, y2 = map(float, numbers)
    except OverflowError as error:
        raise DataError(f"box {reprlib.repr(values)} has a number too large to be a coordinate") from error
    return x1, y1, x2, y2


def box_from_xywh(values: Sequence[float]) -> Box:
    """Left, top, width, height as a box."""
    x, y, w, h = box_from_xyxy(values)
    return x, y, x + w, y + h


def check_box(box: Box, size: tuple[int, int] | None = None) -> None:
    """BoxError unless the xyxy box is finite, has an area and touches its image of (width, height)."""
    x1, y1, x2, y2 = box
    if not all(map(math.isfinite, box)):
        raise BoxError(f"box {box} is not finite")
    if x2 <= x1 or y2 <= y1:
        raise BoxError(f"box {box} has no area; a box is (left, top, right, bottom)")
    if size is not None and (x2 <= 0 or y2 <= 0 or x1 >= size[0] or y1 >= size[1]):
        raise BoxError(f"box {box} lies outside its image of {size[0]}x{size[1]} pixels")
