"""Box losses: L1 on normalised cxcywh and generalised IoU (DETR, TransVG, LADS Eq. 9)."""

from torch import Tensor

from groundling.pictures.boxes import cxcywh_to_xyxy, giou


def box_losses(predicted_cxcywh01: Tensor, target_cxcywh01: Tensor) -> tuple[Tensor, Tensor]:
    """(L1 summed over the four coordinates, 1 − GIoU), each (...,) for boxes (..., 4) in [0, 1]."""
    l1 = (predicted_cxcywh01 - target_cxcywh01).abs().sum(-1)
    return l1, 1 - giou(cxcywh_to_xyxy(predicted_cxcywh01), cxcywh_to_xyxy(target_cxcywh01))
