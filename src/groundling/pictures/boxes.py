"""Boxes are xyxy in absolute pixels; every other convention has its name in the function.

All functions take and return float tensors of shape (..., 4) and keep dtype, device and gradient.
"""

import torch
from torch import Tensor


def xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(left, top, width, height) -> (left, top, right, bottom)."""
    x, y, w, h = boxes.unbind(-1)
    return torch.stack((x, y, x + w, y + h), dim=-1)


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """(left, top, right, bottom) -> (left, top, width, height)."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack((x1, y1, x2 - x1, y2 - y1), dim=-1)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(centre x, centre y, width, height) -> (left, top, right, bottom)."""
    cx, cy, w, h = boxes.unbind(-1)
    return torch.stack((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), dim=-1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """(left, top, right, bottom) -> (centre x, centre y, width, height)."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), dim=-1)


def area(boxes: Tensor) -> Tensor:
    """Area (...) of xyxy boxes; an empty or inverted box has area 0."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (...) of xyxy boxes `a` and `b` (..., 4), one with one; 0 to 1."""
    overlap = area(_intersection(a, b))
    return _ratio(overlap, area(a) + area(b) - overlap)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU (N, M) of every box of `a` (N, 4) with every box of `b` (M, 4)."""
    return iou(a[:, None], b[None, :])


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU (...) of xyxy boxes, one with one; -1 to 1 (Rezatofighi et al. 2019).

    IoU, less the share of the smallest enclosing box that neither covers.
    """
    overlap = area(_intersection(a, b))
    union = area(a) + area(b) - overlap
    corners = torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])
    hull = area(torch.cat(corners, dim=-1))
    return _ratio(overlap, union) - _ratio(hull - union, hull)


def clip(boxes: Tensor, width: float, height: float) -> Tensor:
    """The part of each xyxy box that lies inside an image of this width and height."""
    limit = boxes.new_tensor((width, height, width, height))
    return torch.minimum(boxes.clamp(min=0), limit)


def _intersection(a: Tensor, b: Tensor) -> Tensor:
    return torch.cat((torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])), dim=-1)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    # Two empty boxes give 0/0; the clamp makes that 0 with a finite gradient.
    return part / whole.clamp(min=torch.finfo(whole.dtype).tiny)
