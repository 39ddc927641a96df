"""The mask of one object: polygons, or COCO's run lengths."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from groundling.data.sample import DataError

Polygon = tuple[float, ...]  # x, y, x, y, … in pixels of the upright image
CORNERS = 3  # a polygon has at least so many


@dataclass(frozen=True)
class Rle:
    """Run lengths: zeros and ones in turn, zeros first, one column after the other."""

    size: tuple[int, int]  # height, width: COCO's order
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        height, width = self.size
        if height < 1 or width < 1 or min(self.counts, default=0) < 0:
            raise DataError(f"a mask of {height}x{width} pixels cannot be, nor a run of negative length")
        if sum(self.counts) != height * width:
            raise DataError(f"the runs of a mask cover {sum(self.counts)} pixels of {height}x{width}")


Mask = tuple[Polygon, ...] | Rle  # an object may lie in several pieces


def mask_from(value: object) -> Mask:
    """COCO's segmentation, a list of polygons or an object of counts and size, as a mask."""
    if isinstance(value, list | tuple):
        polygons = tuple(_polygon(polygon) for polygon in value)
        check_mask(polygons)
        return polygons
    if not isinstance(value, Mapping) or not {"size", "counts"} <= value.keys():
        raise DataError("a mask is neither a list of polygons nor run lengths (size and counts)")
    size, counts = value["size"], value["counts"]
    runs = _decoded(counts) if isinstance(counts, str) else counts
    for numbers, name in ((size, "size"), (runs, "counts")):
        if not isinstance(numbers, list | tuple) or not all(type(number) is int for number in numbers):
            raise DataError(f"the {name} of a mask is not a list of whole numbers")
    if len(size) != 2:
        raise DataError("the size of a mask is height, width")
    return Rle((size[0], size[1]), tuple(runs))


def as_segmentation(mask: Mask) -> Any:
    """A mask as COCO writes it; `mask_from` reads it."""
    return {"size": mask.size, "counts": mask.counts} if isinstance(mask, Rle) else mask


def check_mask(mask: Mask) -> None:
    """DataError for polygons that enclose nothing; run lengths are looked at when they are made."""
    if isinstance(mask, Rle):
        return
    if not mask:
        raise DataError("a mask has no polygon")
    for polygon in mask:
        if len(polygon) % 2 or len(polygon) < 2 * CORNERS:
            raise DataError(f"a polygon of {len(polygon)} numbers; it is x, y of {CORNERS} corners or more")
        if not all(map(math.isfinite, polygon)):
            raise DataError("a polygon has a corner that is not finite")


def _polygon(values: object) -> Polygon:
    numbers = values if isinstance(values, list | tuple) else []
    if not numbers or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise DataError("a polygon is not a list of numbers: x, y, x, y, …")
    try:
        return tuple(map(float, numbers))
    except OverflowError as error:
        raise DataError("a polygon has a number too large to be a coordinate") from error


def _decoded(text: str) -> list[int]:
    """The runs of COCO's compressed counts: six bits a letter, from the fourth on less the run two before."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise DataError("the counts of a mask are not COCO's compressed run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:  # more letters follow
            continue
        signed = value - (1 << shift) if bits & 16 else value
        runs.append(signed + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise DataError("the counts of a mask end in the middle of a run")
    return runs
