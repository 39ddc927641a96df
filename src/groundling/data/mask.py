"""The mask of one object: polygons, or COCO's run lengths."""

import math
from collections.abc import Mapping
from typing import Any

from groundling.data.rejects import Rejects
from groundling.data.sample import DataError
from groundling.pictures.masks import Rle, read_rle

Polygon = tuple[float, ...]  # x, y, x, y, … in pixels of the upright image
CORNERS = 3  # a polygon has at least so many
FARTHEST = 2**19  # pixels: no picture has such a side, and on the largest canvas it can still be drawn

Mask = tuple[Polygon, ...] | Rle  # an object may lie in several pieces
LOST = "masks left out, their boxes kept"
PARTS = "masks without those of their polygons that cannot be used"


def mask_from(value: object) -> Mask:
    """COCO's segmentation, a list of polygons or an object of counts and size, as a mask."""
    if isinstance(value, list | tuple):
        polygons = tuple(_polygon(polygon) for polygon in value)
        check_mask(polygons)
        return polygons
    if not isinstance(value, Mapping) or not {"size", "counts"} <= value.keys():
        raise DataError("a mask is neither a list of polygons nor run lengths (size and counts)")
    try:
        return read_rle(value)
    except ValueError as error:
        raise DataError(str(error)) from error


def usable_mask(value: object, row: str, rejects: Rejects) -> Mask | None:
    """What can be used of a segmentation, None where nothing can: a bad mask costs neither row nor box.

    Empty lists are no mask. A polygon that cannot be used is left out of those that can; both is noted.
    """
    if isinstance(value, list | tuple):
        given = [polygon for polygon in value if polygon not in ([], ())]
        polygons, wrong = list[Polygon](), list[str]()
        for each in given:
            try:
                polygons.append(_checked(each))
            except DataError as error:
                wrong.append(str(error))
        if wrong:
            rejects.note(PARTS if polygons else LOST, row, wrong[0])
        return tuple(polygons) or None
    if value is None or value == {}:
        return None
    try:
        return mask_from(value)
    except DataError as error:
        rejects.note(LOST, row, str(error))
        return None


def of_size(mask: Mask | None, size: tuple[int, int] | None, row: str, rejects: Rejects) -> Mask | None:
    """The mask; None, and a note, for run lengths that are of an image of another (width, height)."""
    if isinstance(mask, Rle) and size is not None and (mask.width, mask.height) != size:
        detail = f"run lengths of {mask.width}x{mask.height} pixels in an image of {size[0]}x{size[1]}"
        rejects.note(LOST, row, detail)
        return None
    return mask


def as_segmentation(mask: Mask) -> Any:
    """A mask as COCO writes it; `mask_from` reads it."""
    return mask.as_dict(compressed=False) if isinstance(mask, Rle) else mask


def check_mask(mask: Mask) -> None:
    """DataError for polygons that enclose nothing; run lengths are looked at when they are made."""
    if isinstance(mask, Rle):
        return
    if not mask:
        raise DataError("a mask has no polygon")
    for polygon in mask:
        _check_polygon(polygon)


def _check_polygon(polygon: Polygon) -> None:
    if len(polygon) % 2 or len(polygon) < 2 * CORNERS:
        raise DataError(f"a polygon of {len(polygon)} numbers; it is x, y of {CORNERS} corners or more")
    if not all(map(math.isfinite, polygon)):
        raise DataError("a polygon has a corner that is not finite")
    if max(map(abs, polygon)) > FARTHEST:
        raise DataError(f"a polygon has a corner more than {FARTHEST} pixels from the image's")


def _checked(values: object) -> Polygon:
    polygon = _polygon(values)
    _check_polygon(polygon)
    return polygon


def _polygon(values: object) -> Polygon:
    numbers = values if isinstance(values, list | tuple) else []
    if not numbers or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise DataError("a polygon is not a list of numbers: x, y, x, y, …")
    try:
        return tuple(map(float, numbers))
    except OverflowError as error:
        raise DataError("a polygon has a number too large to be a coordinate") from error
