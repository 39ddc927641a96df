"""Boxes best first, and the place of the first that is right: what Prec@k and Recall@k count."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from groundling.pictures.boxes import giou, iou

BoxesLike = Tensor | Sequence[Sequence[float]]

OVERLAPS = {"iou": iou, "giou": giou}


@dataclass(frozen=True)
class Rule:
    """When a box is right: its IoU (or GIoU) with a true box reaches a threshold, or lies strictly above."""

    overlap: str = "iou"
    threshold: float = 0.5
    strict: bool = False

    def __post_init__(self) -> None:
        if self.overlap not in OVERLAPS:
            raise ValueError(f"no overlap {self.overlap!r}; there are {', '.join(OVERLAPS)}")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"a threshold of overlap lies above 0 and at most at 1, given {self.threshold}")

    def __str__(self) -> str:
        """As it stands beside a number: "iou ≥ 0.5"."""
        return f"{self.overlap} {'>' if self.strict else '≥'} {self.threshold:g}"

    def place(self, answers: Tensor, truths: Tensor) -> int | None:
        """The place, from 1, of the first of `answers` (N, 4) that is right about any of `truths` (M, 4)."""
        overlaps = OVERLAPS[self.overlap](answers[:, None], truths[None, :])
        right = overlaps > self.threshold if self.strict else overlaps >= self.threshold
        places = right.any(dim=1).nonzero()
        return int(places[0]) + 1 if len(places) else None


def by_score(boxes: BoxesLike, scores: Tensor | Sequence[float], *, larger_first: bool = False) -> Tensor:
    """Boxes (N, 4) in the order of their scores (N,), best first; equal scores stay in their order.

    larger_first: of equal scores the box with the larger left comes first, then top, right and bottom, as
    MDETR's evaluator sorts pairs of score and box.
    """
    found = as_boxes(boxes, "boxes")
    values = torch.as_tensor(scores).detach().to("cpu", torch.float64)
    if values.shape != found.shape[:1] or values.isnan().any():
        raise ValueError(
            f"{len(found)} boxes need {len(found)} scores, given {_shape(values)}, none of them NaN"
        )
    if larger_first:
        pairs = zip(values.tolist(), found.tolist(), strict=True)
        return as_boxes([box for _, box in sorted(pairs, reverse=True)], "boxes")
    return found[torch.argsort(values, descending=True, stable=True)]


def as_boxes(boxes: BoxesLike, what: str) -> Tensor:
    """Boxes (N, 4), N may be 0, in float64. ValueError, naming `what`, unless they are finite xyxy boxes."""
    try:
        found = torch.as_tensor(boxes).detach().to("cpu", torch.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: boxes have the shape (N, 4); {error}") from error
    if found.numel() == 0 and found.shape[0] == 0:
        return found.reshape(0, 4)
    if found.ndim != 2 or found.shape[1] != 4:
        raise ValueError(f"{what}: boxes have the shape (N, 4), given {_shape(found)}")
    if not found.isfinite().all():
        raise ValueError(
            f"{what}: a box has finite corners, given {found[~found.isfinite().all(1)][0].tolist()}"
        )
    inverted = (found[:, 2:] < found[:, :2]).any(dim=1)
    if inverted.any():
        raise ValueError(
            f"{what}: a box is (left, top, right, bottom), given {found[inverted][0].tolist()}; "
            "is it (left, top, width, height)?"
        )
    return found


def same_length(first: str, count: int, **others: int) -> None:
    """ValueError unless there is something, and as much of each; the names are the parameters'."""
    if count == 0:
        raise ValueError(f"no {first} to score")
    for name, length in others.items():
        if length != count:
            raise ValueError(f"{count} {first} need {count} {name}, given {length}")


def _shape(values: Tensor) -> str:
    return str(tuple(values.shape))
