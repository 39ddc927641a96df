"""COCO's results format: what its evaluation, and every tool that reads its results, takes."""

from collections.abc import Mapping, Sequence

from groundling.pictures.masks import Rle
from groundling.results.found import Found


def results(
    found: Sequence[Found], image_id: int, category_ids: Mapping[str, int] | int, mask: Rle | None = None
) -> list[dict[str, object]]:
    """An entry for each box: image_id, category_id, bbox [x, y, width, height], score.

    mask: of the only box, as COCO's compressed run lengths under `segmentation`. ValueError for ids that are
    no whole numbers, and for a label that has none.
    """
    whole = _whole(image_id, "image_id")
    return [
        {
            "image_id": whole,
            "category_id": _category(each.label, category_ids),
            **({} if mask is None else {"segmentation": mask.as_dict()}),
            "bbox": _xywh(each),
            "score": 1.0 if each.score is None else each.score,
        }
        for each in found
    ]


def _category(label: str, ids: Mapping[str, int] | int) -> int:
    if not isinstance(ids, Mapping):
        return _whole(ids, "category_ids")
    if label not in ids:
        known = ", ".join(map(repr, list(ids)[:10])) + (", …" if len(ids) > 10 else "")
        raise ValueError(f"category_ids has no id for {label!r}; it has {known or 'none at all'}")
    return _whole(ids[label], f"the id of {label!r}")


def _whole(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number, given {value!r}")
    return value


def _xywh(found: Found) -> list[float]:
    x1, y1, x2, y2 = found.box
    return [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)]
