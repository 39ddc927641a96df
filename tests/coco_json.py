"""COCO's and LVIS' JSON as the values that their protocols take, for oracles that read the JSON themselves.

A second reader, without checks: the package's own is `groundling.data.coco`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from groundling.pictures.masks import Rle, encode, from_polygons, read_rle
from groundling.protocols.detections import Box, Detection, Id, Truth, Verified

Row = Mapping[str, Any]


def truths(content: Row, masks: bool = False) -> list[Truth]:
    """The objects of an annotation file; masks are made of polygons only where they are wanted."""
    sizes = {row["id"]: (row["height"], row["width"]) for row in content["images"]}
    return [
        Truth(
            row["image_id"],
            row["category_id"],
            _box(row["bbox"]),
            row.get("area"),
            bool(row.get("iscrowd", False)),
            _mask(row["segmentation"], sizes[row["image_id"]]) if masks else None,
        )
        for row in content["annotations"]
    ]


def detections(results: Iterable[Row], masks: bool = False) -> list[Detection]:
    """The detections of a results file; masks are run-length codes there."""
    return [
        Detection(
            row["image_id"],
            row["category_id"],
            float(row["score"]),
            _box(row["bbox"]) if "bbox" in row else None,
            read_rle(row["segmentation"]) if masks else None,
        )
        for row in results
    ]


def verified(content: Row) -> dict[Id, Verified]:
    """What LVIS knows of each image besides its objects."""
    names = ("neg_category_ids", "not_exhaustive_category_ids")
    return {row["id"]: Verified(*(frozenset(row[name]) for name in names)) for row in content["images"]}


def frequencies(content: Row) -> dict[Id, str]:
    """Each of LVIS' categories as "r", "c" or "f"."""
    return {row["id"]: row["frequency"] for row in content["categories"]}


def _box(bbox: Sequence[float]) -> Box:
    x, y, width, height = map(float, bbox)
    return x, y, x + width, y + height


def _mask(segmentation: Any, size: tuple[int, int]) -> Rle:
    return (
        read_rle(segmentation)
        if isinstance(segmentation, Mapping)
        else encode(from_polygons(segmentation, *size))
    )
