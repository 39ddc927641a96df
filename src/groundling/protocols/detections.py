"""Objects and detections as values, and the curves that faster-coco-eval makes of them."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundling.pictures.masks import Rle

Id = int | str
Box = tuple[float, float, float, float]  # xyxy in pixels
Row = dict[str, Any]

COMPARED = ("boxes", "masks")
AREAS = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}  # pixels


@dataclass(frozen=True)
class Truth:
    """An object of an image.

    area: its pixels, which say whether it is small, medium or large; None takes those of its mask where masks
        are compared, else of its box. The annotations of COCO and LVIS give the mask's for both.
    crowd: many objects in one region; a detection inside counts neither for nor against.
    """

    image: Id
    category: Id
    box: Box | None = None
    area: float | None = None
    crowd: bool = False
    mask: Rle | None = None


@dataclass(frozen=True)
class Detection:
    """What was found in an image. Scores order the detections of a category over all images."""

    image: Id
    category: Id
    score: float
    box: Box | None = None
    mask: Rle | None = None


@dataclass(frozen=True)
class Verified:
    """What LVIS knows of an image besides its objects: categories that are absent, or not marked in full."""

    negative: frozenset[Id] = frozenset()
    not_exhaustive: frozenset[Id] = frozenset()


@dataclass(frozen=True)
class Curves:
    """Precision and recall by IoU threshold, category, area and limit of detections.

    precision: (thresholds, recalls, categories, areas, limits); recall: (thresholds, categories, areas,
    limits); −1 where there is no such object. A mean of none is None.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    thresholds: tuple[float, ...]
    categories: tuple[Id, ...]
    limits: tuple[int, ...]

    def ap(
        self, threshold: float | None = None, area: str = "all", categories: Collection[Id] | None = None
    ) -> float | None:
        """Average precision, over all thresholds or at one, of one area, of all or some categories."""
        chosen = [i for i, name in enumerate(self.categories) if categories is None or name in categories]
        rows = slice(None) if threshold is None else [self.thresholds.index(threshold)]
        return _mean(self.precision[rows][:, :, chosen, list(AREAS).index(area), -1])

    def ar(self, limit: int, area: str = "all") -> float | None:
        """Average recall over all thresholds, of so many detections an image and category."""
        return _mean(self.recall[:, :, list(AREAS).index(area), self.limits.index(limit)])


def curves(
    truths: Sequence[Truth],
    detections: Sequence[Detection],
    *,
    of: str,
    images: Collection[Id] | None,
    frequencies: Mapping[Id, str] | None = None,
    limits: tuple[int, ...] = (1, 10, 100),
) -> Curves:
    """What the protocols of COCO and LVIS average.

    images: ids, or in LVIS' protocol a mapping of them to Verified; None takes those of truths and
    detections. frequencies: of every category "r", "c" or "f"; giving them chooses LVIS' protocol.
    """
    if of not in COMPARED:
        raise ValueError(f"no comparison of {of!r}; there are {', '.join(COMPARED)}")
    if not truths:
        raise ValueError("no objects to score")
    every: list[Truth | Detection] = [*truths, *detections]
    ids = _Ids(
        _numbers({one.image for one in every} if images is None else images),
        _numbers({one.category for one in every} if frequencies is None else frequencies),
    )
    for index, one in enumerate(every):
        name = f"object {index}" if index < len(truths) else f"detection {index - len(truths)}"
        _check(one, name, of, ids)
    content = {
        "images": _images(every, ids, images if isinstance(images, Mapping) else {}),
        # A number from 1: the matching takes an object 0 for no object.
        "annotations": [_truth(one, of, ids) | {"id": number} for number, one in enumerate(truths, start=1)],
        "categories": [
            {"id": number, "frequency": frequencies and frequencies[name]}
            for name, number in ids.categories.items()
        ],
    }
    found = [_row(one, of, ids) | {"score": float(one.score)} for one in detections]
    return _evaluate(content, found, of, tuple(ids.categories), frequencies is not None, limits)


def require_evaluator() -> None:
    """ValueError, saying where it comes from, unless faster-coco-eval is installed."""
    try:
        import faster_coco_eval  # noqa: F401
    except ImportError as error:
        raise ValueError(
            "COCO's and LVIS' AP need faster-coco-eval; pip install 'groundling[eval]' brings it"
        ) from error


def _evaluate(
    content: Row, found: list[Row], of: str, categories: tuple[Id, ...], lvis: bool, limits: tuple[int, ...]
) -> Curves:
    require_evaluator()
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(content)
    ranges = {name: list(span) for name, span in AREAS.items() if name != "all"}
    kind = "bbox" if of == "boxes" else "segm"
    evaluator = COCOeval_faster(truth, truth.loadRes(found), kind, ranges=ranges, lvis_style=lvis)
    evaluator.params.maxDets = list(limits)
    evaluator.evaluate()
    evaluator.accumulate()
    thresholds = tuple(round(float(value), 2) for value in evaluator.params.iouThrs)
    precision, recall = (np.asarray(evaluator.eval[name]) for name in ("precision", "recall"))
    return Curves(precision, recall, thresholds, categories, limits)


def _mean(values: NDArray[np.float64]) -> float | None:
    there = values[values > -1]
    return float(there.mean()) if there.size else None


@dataclass(frozen=True)
class _Ids:
    """The numbers by which faster-coco-eval knows images and categories."""

    images: dict[Id, int]
    categories: dict[Id, int]


def _numbers(names: Iterable[Id]) -> dict[Id, int]:
    """From 1, in the order of the ids, in which equal scores are ranked."""
    ordered = sorted(set(names), key=lambda name: (isinstance(name, str), name))
    return {name: number for number, name in enumerate(ordered, start=1)}


def _check(one: Truth | Detection, name: str, of: str, ids: _Ids) -> None:
    if one.image not in ids.images:
        raise ValueError(f"{name} lies in image {one.image!r}, which is none of {len(ids.images)} images")
    if one.category not in ids.categories:
        raise ValueError(
            f"{name} is of category {one.category!r}, which is none of {len(ids.categories)} categories"
        )
    if (one.box if of == "boxes" else one.mask) is None:
        raise ValueError(f"{name} has none of the {of} that are compared")
    if one.box is not None:
        _check_box(one.box, name)
    number = one.score if isinstance(one, Detection) else one.area
    if number is not None and not math.isfinite(number):
        raise ValueError(f"{name} has a score or an area that is no number: {number}")


def _check_box(box: Box, name: str) -> None:
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise ValueError(f"{name}: a box is four finite numbers, given {box}")
    if box[2] < box[0] or box[3] < box[1]:
        raise ValueError(f"{name}: a box is (left, top, right, bottom), given {box}")


def _row(one: Truth | Detection, of: str, ids: _Ids) -> Row:
    row: Row = {"image_id": ids.images[one.image], "category_id": ids.categories[one.category]}
    if of == "masks":
        assert one.mask is not None  # _check
        return row | {"segmentation": one.mask.as_dict()}
    assert one.box is not None
    x1, y1, x2, y2 = map(float, one.box)
    return row | {"bbox": [x1, y1, x2 - x1, y2 - y1]}


def _truth(one: Truth, of: str, ids: _Ids) -> Row:
    row = _row(one, of, ids)
    if one.area is not None:
        area = float(one.area)
    elif of == "masks":
        assert one.mask is not None
        area = float(one.mask.area)
    else:
        area = row["bbox"][2] * row["bbox"][3]
    return row | {"area": area, "iscrowd": int(one.crowd)}


def _images(every: Sequence[Truth | Detection], ids: _Ids, verified: Mapping[Id, Verified]) -> list[Row]:
    sizes: dict[Id, tuple[int, int]] = {}
    for one in every:
        if one.mask is not None:
            size = (one.mask.height, one.mask.width)
            if sizes.setdefault(one.image, size) != size:
                raise ValueError(f"image {one.image!r} has masks of {sizes[one.image]} and of {size}")
    return [
        {"id": number, "height": sizes.get(name, (0, 0))[0], "width": sizes.get(name, (0, 0))[1]}
        | _lists(verified.get(name, Verified()), ids)
        for name, number in ids.images.items()
    ]


def _lists(image: Verified, ids: _Ids) -> Row:
    lists = {
        "neg_category_ids": image.negative,
        "not_exhaustive_category_ids": image.not_exhaustive,
    }
    for name in image.negative | image.not_exhaustive:
        if name not in ids.categories:
            raise ValueError(f"an image is verified for {name!r}, none of {len(ids.categories)} categories")
    return {key: [ids.categories[name] for name in names] for key, names in lists.items()}
