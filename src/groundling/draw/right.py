"""Which of the found boxes are right: those that lie on a true one."""

from collections.abc import Sequence

import numpy as np
import torch

from groundling.data.sample import Box
from groundling.pictures.boxes import pairwise_iou

ENOUGH = 0.5  # IoU of a box or mask that counts as found


def on_one(found: Sequence[Box], truth: Sequence[Box]) -> list[bool]:
    """Of each found box, whether its IoU with a true one is 0.5 or more."""
    if not truth:
        return [False] * len(found)
    return [bool(row.max() >= ENOUGH) for row in _iou(found, truth)]


def matched(found: Sequence[Box], truth: Sequence[Box]) -> list[bool]:
    """As `on_one`, but a true box counts once: the surest box on it, which comes first, has it."""
    if not truth:
        return [False] * len(found)
    right, free = [], np.ones(len(truth), bool)
    for row in _iou(found, truth):
        best = int(np.where(free, row, -1.0).argmax())
        right.append(bool(free[best] and row[best] >= ENOUGH))
        free[best] &= not right[-1]
    return right


def _iou(found: Sequence[Box], truth: Sequence[Box]) -> np.ndarray:
    """IoU of each found box with each true one (found, truth)."""
    boxes, true = (torch.tensor(each, dtype=torch.float64).reshape(-1, 4) for each in (found, truth))
    values: np.ndarray = pairwise_iou(boxes, true).numpy()
    return values
