"""The official JSON of COCO and LVIS, once parsed, as the values that their protocols take.

    content   {"images": […], "annotations": […], "categories": […]}
    results   [{"image_id", "category_id", "score", "bbox": [left, top, width, height], "segmentation"}, …]

Masks are read only where they are wanted: polygons have to be filled.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from groundling.masks import Rle, encode, from_polygons, read_rle
from groundling.protocols.detections import Box, Detection, Id, Truth, Verified

Row = Mapping[str, Any]
_BAD_ROW = (KeyError, TypeError, ValueError)  # what a row of the wrong form raises


def truths(content: Row, masks: bool = False) -> list[Truth]:
    """The objects of an annotation file. ValueError names the row that has another form."""
    sizes = {row["id"]: (row["height"], row["width"]) for row in content["images"]} if masks else {}
    found = []
    for index, row in enumerate(content["annotations"]):
        try:
            size = sizes[row["image_id"]] if masks else None
            mask = _mask(row["segmentation"], size) if masks else None
            box, crowd = _box(row["bbox"]), bool(row.get("iscrowd", False))
            found.append(Truth(row["image_id"], row["category_id"], box, row.get("area"), crowd, mask))
        except _BAD_ROW as error:
            raise ValueError(f"annotation {index} is not COCO's: {_said(error)}") from error
    return found


def detections(results: Iterable[Row], masks: bool = False) -> list[Detection]:
    """The detections of a results file; masks are run-length codes there."""
    found = []
    for index, row in enumerate(results):
        try:
            mask = _mask(row["segmentation"], None) if masks else None
            box = _box(row["bbox"]) if "bbox" in row or not masks else None
            found.append(Detection(row["image_id"], row["category_id"], float(row["score"]), box, mask))
        except _BAD_ROW as error:
            raise ValueError(f"result {index} is not COCO's: {_said(error)}") from error
    return found


def verified(content: Row) -> dict[Id, Verified]:
    """What LVIS knows of each image besides its objects."""
    try:
        return {
            row["id"]: Verified(
                frozenset(row["neg_category_ids"]), frozenset(row["not_exhaustive_category_ids"])
            )
            for row in content["images"]
        }
    except _BAD_ROW as error:
        raise ValueError(f"not the images of LVIS: {_said(error)}") from error


def frequencies(content: Row) -> dict[Id, str]:
    """Each of LVIS' categories as "r", "c" or "f"."""
    try:
        return {row["id"]: row["frequency"] for row in content["categories"]}
    except _BAD_ROW as error:
        raise ValueError(f"not the categories of LVIS: {_said(error)}") from error


def _box(bbox: Sequence[float]) -> Box:
    x, y, width, height = map(float, bbox)
    return x, y, x + width, y + height


def _mask(segmentation: object, size: tuple[int, int] | None) -> Rle:
    if isinstance(segmentation, Mapping):
        return read_rle(segmentation)
    if size is None or not isinstance(segmentation, Sequence):
        raise ValueError("the mask of a result is a run-length code")
    return encode(from_polygons(segmentation, *size))


def _said(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)
