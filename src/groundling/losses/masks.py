"""Losses of masks: sigmoid focal (Lin et al. 2017) and dice (Milletari et al. 2016), as DETR and MDETR.

Shapes: M matched pairs, H × W pixels of the targets, which predictions are scaled up to.
"""

import torch.nn.functional as F
from torch import Tensor


def mask_losses(logits_Mhw: Tensor, targets_MHW: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """(focal, dice), each summed over the pairs and divided by `number_of_boxes`."""
    logits = F.interpolate(logits_Mhw[:, None].float(), size=targets_MHW.shape[-2:], mode="bilinear")
    logits, targets = logits.flatten(1), targets_MHW.flatten(1).to(logits.dtype)
    return focal_loss(logits, targets).mean(1).sum() / boxes, dice_loss(logits, targets).sum() / boxes


def focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Cross-entropy of each element times (1 − p)ᵞ of what is true there, and α for ones, 1 − α for zeros."""
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p = logits.sigmoid()
    wrong = p + targets - 2 * p * targets
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    return weight * wrong**gamma * entropy


def dice_loss(logits_MP: Tensor, targets_MP: Tensor) -> Tensor:
    """(M,): 1 − (2·overlap + 1) / (both areas + 1); 0 where both are empty."""
    p = logits_MP.sigmoid()
    overlap = (p * targets_MP).sum(1)
    return 1 - (2 * overlap + 1) / (p.sum(1) + targets_MP.sum(1) + 1)
