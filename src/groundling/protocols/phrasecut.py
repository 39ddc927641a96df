"""PhraseCut: how well the pixels of a phrase are found, all its instances together.

Mean IoU is over phrases; cumulative IoU is all intersections over all unions, so that large objects weigh
more; Pr@t is the share of phrases with an IoU above t (strictly, as the published evaluator counts).

Worked by hand: of a phrase of 4 pixels, 3 are found and no other: IoU 3/4. Of a phrase of 16, 4 are found
and 4 others: 4/20. Mean IoU is (0.75 + 0.2) / 2 = 0.475, cumulative IoU (3 + 4) / (4 + 20) = 7/24.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from groundling.pictures.masks import Mask, MaskLike, Rle, as_mask
from groundling.protocols.printing import printed
from groundling.protocols.ranking import BoxesLike, as_boxes, same_length

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)

Masks = MaskLike | Sequence[MaskLike]


@dataclass(frozen=True)
class Overlap:
    """Means over phrases, in [0, 1]; `empty_truths` had no pixel and count as IoU 0."""

    phrases: int
    empty_truths: int
    mean_iou: float
    cumulative_iou: float
    pr_at_05: float
    pr_at_06: float
    pr_at_07: float
    pr_at_08: float
    pr_at_09: float


@dataclass(frozen=True)
class PhraseCut:
    """Overlap of all phrases and of each subset; `of` says whether masks or boxes were compared."""

    of: str
    all: Overlap
    subsets: Mapping[str, Overlap]

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return printed(self, {f"pr_at_0{t * 10:.0f}": f"pr@{t}" for t in THRESHOLDS})


def mask_overlap(
    answers: Sequence[Masks], truths: Sequence[Masks], subsets: Sequence[Collection[str]] | None = None
) -> PhraseCut:
    """Overlap of union masks.

    answers, truths: for each phrase its mask, or the masks of its instances, of one size (height, width):
        bool arrays or run-length codes. No answer at all is an empty mask; each phrase has a true one.
    subsets: for each phrase the names of the subsets that it is in ("stuff", "attributes").
    """
    same_length("phrases", len(answers), truths=len(truths))
    areas = []
    for index, (found, true) in enumerate(zip(answers, truths, strict=True)):
        if not (wanted := _several(true)):
            raise ValueError(f"phrase {index} has no true mask")
        target = union(wanted, f"phrase {index}")
        answer = union((np.zeros_like(target), *_several(found)), f"phrase {index}")
        areas.append(_Areas(int((answer & target).sum()), int((answer | target).sum()), int(target.sum())))
    return _result("masks", areas, subsets)


def box_overlap(
    answers: Sequence[BoxesLike],
    truths: Sequence[BoxesLike],
    subsets: Sequence[Collection[str]] | None = None,
    *,
    drawn: bool = False,
) -> PhraseCut:
    """The same of the regions that boxes (K, 4) and true boxes (M, 4) cover together, by exact areas.

    drawn: as the published evaluator draws boxes, on whole pixels and one pixel smaller, which moves an IoU
    a little.
    """
    same_length("phrases", len(answers), truths=len(truths))
    areas = []
    for index, (found, true) in enumerate(zip(answers, truths, strict=True)):
        answer, target = as_boxes(found, f"answer {index}"), as_boxes(true, f"truth {index}")
        if len(target) == 0:
            raise ValueError(f"phrase {index} has no true box")
        if drawn:
            answer, target = on_pixels(answer), on_pixels(target)
        whole = covered(torch.cat((answer, target)))
        shared = max(0.0, covered(answer) + covered(target) - whole)
        areas.append(_Areas(shared, whole, covered(target)))
    return _result("drawn boxes" if drawn else "boxes", areas, subsets)


def union(masks: Sequence[MaskLike], what: str) -> Mask:
    """One mask of several, at least one. ValueError, naming `what`, if their sizes differ."""
    first, *others = map(as_mask, masks)
    whole = first.copy()
    for mask in others:
        if mask.shape != first.shape:
            sizes = [f"{height}×{width}" for height, width in (first.shape, mask.shape)]
            raise ValueError(f"{what}: masks of {sizes[0]} and of {sizes[1]} do not lie on one image")
        whole |= mask
    return whole


def drawn(polygons: Sequence[Sequence[Sequence[float]]], height: int, width: int) -> Mask:
    """Polygons [[x, y], …] as PhraseCut's evaluator fills them: corners cut to whole pixels, outline within.

    `masks.from_polygons` follows COCO, which fills only what lies inside; a thin object differs most.
    """
    from PIL import Image, ImageDraw

    if height < 1 or width < 1:
        raise ValueError(f"a mask has at least one pixel, given a size of {height}×{width}")
    canvas = Image.new("1", (width, height))
    for polygon in polygons:
        corners = [(int(x), int(y)) for x, y in polygon]
        if len(corners) > 1:  # a single point covers nothing
            ImageDraw.Draw(canvas).polygon(corners, outline=1, fill=1)
    return np.array(canvas, dtype=np.bool_)


def on_pixels(boxes: Tensor) -> Tensor:
    """What PhraseCut's evaluator fills of boxes (N, 4): from int(left) up to, without, int(right - 1)."""
    first = boxes[:, :2].trunc()
    return torch.cat((first, torch.maximum(first, (boxes[:, 2:] - 1).trunc())), dim=1)


def covered(boxes: Tensor) -> float:
    """The area that boxes (N, 4) cover together: what several cover counts once."""
    if len(boxes) == 0:
        return 0.0
    left, top, right, bottom = boxes.numpy().T[:, :, None]
    x, y = np.unique([left, right]), np.unique([top, bottom])  # the lines of a grid that no box cuts
    rows = (top <= y[:-1]) & (y[1:] <= bottom)  # (N, rows)
    columns = (left <= x[:-1]) & (x[1:] <= right)  # (N, columns)
    cells = (rows[:, :, None] & columns[:, None, :]).any(axis=0)
    return float(np.diff(y) @ cells @ np.diff(x))


@dataclass(frozen=True)
class _Areas:
    shared: float
    union: float
    true: float

    @property
    def iou(self) -> float:
        return self.shared / self.union if self.shared else 0.0


def _several(masks: Masks) -> Sequence[MaskLike]:
    if isinstance(masks, Rle | Mapping) or (isinstance(masks, np.ndarray) and masks.ndim == 2):
        return [masks]
    return list(masks)


def _result(of: str, areas: Sequence[_Areas], subsets: Sequence[Collection[str]] | None) -> PhraseCut:
    by_subset: dict[str, list[_Areas]] = {}
    if subsets is not None:
        same_length("phrases", len(areas), subsets=len(subsets))
        for index, (names, one) in enumerate(zip(subsets, areas, strict=True)):
            if isinstance(names, str):
                raise ValueError(f"a phrase has a list of subsets, given {names!r} for phrase {index}")
            for name in dict.fromkeys(names):
                by_subset.setdefault(name, []).append(one)
    return PhraseCut(of, _overlap(areas), {name: _overlap(by_subset[name]) for name in sorted(by_subset)})


def _overlap(areas: Sequence[_Areas]) -> Overlap:
    ious = [one.iou for one in areas]
    union = sum(one.union for one in areas)
    return Overlap(
        len(areas),
        sum(one.true == 0 for one in areas),
        sum(ious) / len(ious),
        sum(one.shared for one in areas) / union if union else 0.0,
        *(sum(iou > threshold for iou in ious) / len(ious) for threshold in THRESHOLDS),
    )
