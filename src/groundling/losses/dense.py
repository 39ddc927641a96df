"""Dense losses on visual tokens: which cell holds the object, and its box from there.

Shapes: E expressions, V = grid² cells (rows first), I images, N objects.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from groundling.losses.box import box_losses


def cells_of(boxes_cxcywh01: Tensor, grid: int) -> Tensor:
    """The cell that holds each box's centre: (...,) int64 in [0, grid²)."""
    place = (boxes_cxcywh01[..., :2] * grid).long().clamp(0, grid - 1)
    return place[..., 1] * grid + place[..., 0]


def positive_cells(boxes_cxcywh01: Tensor, grid: int) -> Tensor:
    """(E, V) of 0/1: cells whose centre lies in the middle half of the box, and the one with its centre."""
    centres = (torch.arange(grid, device=boxes_cxcywh01.device) + 0.5) / grid
    dx = (centres - boxes_cxcywh01[:, 0:1]).abs() <= boxes_cxcywh01[:, 2:3] / 4
    dy = (centres - boxes_cxcywh01[:, 1:2]).abs() <= boxes_cxcywh01[:, 3:4] / 4
    inside = (dy[:, :, None] & dx[:, None, :]).flatten(1)
    return (inside | F.one_hot(cells_of(boxes_cxcywh01, grid), grid * grid).bool()).float()


def dense_losses(
    logits_EV: Tensor, boxes_EV4: Tensor, target_cxcywh01: Tensor, grid: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(cross-entropy over cells, L1, 1 − GIoU), each (E,), the last two averaged over positive cells."""
    share = positive_cells(target_cxcywh01, grid)
    share = share / share.sum(1, keepdim=True)
    choose = -(share * logits_EV.log_softmax(1)).sum(1)
    rows, cells = share.nonzero(as_tuple=True)
    l1, overlap = box_losses(boxes_EV4[rows, cells], target_cxcywh01[rows])
    weight = share[rows, cells]
    zero = torch.zeros_like(choose)
    return choose, zero.index_add(0, rows, weight * l1), zero.index_add(0, rows, weight * overlap)


def group_losses(logits_KA: Tensor, hot_KA: Tensor, groups_GM: Tensor) -> Tensor:
    """Cross-entropy (K, G) of which attribute of each group, if any, an object has.

    `groups_GM` holds indices of attributes that exclude one another, −1 where a group is smaller.
    "None of them" has the logit 0. Where an object has several of a group, each gets an equal share.
    """
    member_GM, place_GM = groups_GM >= 0, groups_GM.clamp(min=0)
    logits = F.pad(logits_KA[:, place_GM].masked_fill(~member_GM, -torch.inf), (1, 0))
    hot = hot_KA[:, place_GM] * member_GM
    wanted = torch.cat((hot.sum(2, keepdim=True) == 0, hot), dim=2)
    log_p = logits.log_softmax(2).masked_fill(wanted == 0, 0.0)
    return -(wanted / wanted.sum(2, keepdim=True) * log_p).sum(2)


def detection_losses(
    classes_IVC: Tensor,
    attributes_IVA: Tensor,
    boxes_IV4: Tensor,
    categories_IN: Tensor,
    attribute_hot_INA: Tensor,
    target_IN4: Tensor,
    grid: int,
    groups_GM: Tensor,
    nothing: float = 0.2,
) -> dict[str, Tensor]:
    """Detection pre-training: each object's centre cell says category, attributes and box.

    Means within an image, then over images, so that a batch may be cut anywhere between them. An image
    without objects has no boxes or attributes to be wrong about: it adds 0 there.
    `categories_IN` is −1 where there is no object. Objects later in the list win a shared cell.
    `nothing` weighs cells without an object, as DETR's no-object class; `groups_GM` as in `group_losses`.
    """
    images, cells = classes_IVC.shape[0], grid * grid
    wanted = classes_IVC.new_full((images, cells), classes_IVC.shape[2] - 1, dtype=torch.long)
    owner = torch.full_like(wanted, -1)
    place_IN = cells_of(target_IN4, grid)
    for n in range(categories_IN.shape[1]):
        rows = (categories_IN[:, n] >= 0).nonzero()[:, 0]
        wanted[rows, place_IN[rows, n]] = categories_IN[rows, n]
        owner[rows, place_IN[rows, n]] = n
    weight = torch.where(owner >= 0, 1.0, nothing)
    ce = F.cross_entropy(classes_IVC.flatten(0, 1), wanted.flatten(), reduction="none").view(images, cells)
    rows, cols = (owner >= 0).nonzero(as_tuple=True)
    object_of = owner[rows, cols]
    share = 1 / ((owner >= 0).sum(1)[rows] * images)  # of each object in the mean over images
    l1, overlap = box_losses(boxes_IV4[rows, cols], target_IN4[rows, object_of])
    losses = {
        "category": ((ce * weight).sum(1) / weight.sum(1)).mean(),
        "box_l1": (l1 * share).sum(),
        "box_giou": (overlap * share).sum(),
    }
    if attributes_IVA.shape[2]:
        wrong_KG = group_losses(attributes_IVA[rows, cols], attribute_hot_INA[rows, object_of], groups_GM)
        losses["attributes"] = 0.5 * (wrong_KG.sum(1) * share).sum()
    wrong = classes_IVC[rows, cols].argmax(-1) != wanted[rows, cols]
    losses["metric/category_accuracy"] = 1 - (wrong * share).sum()
    return losses
