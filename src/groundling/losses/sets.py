"""The set loss: matched predictions learn their target's category and box, the others that they are nothing.

Carion et al., "End-to-End Object Detection with Transformers", ECCV 2020, §3.1.
Shapes: B images, Q predictions, N targets (padded: image i has counts[i] of them), C categories.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from groundling.losses.box import box_losses
from groundling.losses.matching import MatchCost, Matching, category_cost, match


class SetLoss(BaseModel):
    """What the parts of the loss and of the matching's cost weigh; the defaults are the paper's."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    category: float = Field(1.0, ge=0)
    l1: float = Field(5.0, ge=0)
    giou: float = Field(2.0, ge=0)
    nothing: float = Field(0.1, gt=0)  # of the cross-entropy of predictions that match nothing
    match_category: float = Field(1.0, ge=0)
    match_l1: float = Field(5.0, ge=0)
    match_giou: float = Field(2.0, ge=0)
    auxiliary: bool = True  # every decoder layer learns, not the last alone

    @property
    def cost(self) -> MatchCost:
        """What the matching weighs."""
        return MatchCost(self.match_category, self.match_l1, self.match_giou)


def set_losses(
    layers: Sequence[tuple[Tensor, Tensor]],
    categories_BN: Tensor,
    targets_BN4: Tensor,
    counts_B: Tensor,
    weights: SetLoss,
) -> dict[str, Tensor]:
    """Weighted losses `category`, `box_l1`, `box_giou` of the last layer, `….0`, `….1` of those before it.

    `layers`: logits (B, Q, C+1), whose last is "nothing", and boxes cxcywh01 (B, Q, 4) of every decoder
    layer; each is matched for itself. Metrics: how many matched predictions name their category, and how
    far the number of predictions that are not nothing is from that of the targets.
    """
    boxes = number_of_boxes(counts_B)
    losses: dict[str, Tensor] = {}
    last = len(layers) - 1
    for index in range(last + 1) if weights.auxiliary else (last,):
        logits, found = layers[index]
        matching = match(category_cost(logits, categories_BN), found, targets_BN4, counts_B, weights.cost)
        l1, overlap = matched_box_losses(found, targets_BN4, matching, boxes)
        suffix = "" if index == last else f".{index}"
        named = category_loss(logits, categories_BN, matching, weights.nothing)
        losses[f"category{suffix}"] = weights.category * named
        losses[f"box_l1{suffix}"], losses[f"box_giou{suffix}"] = weights.l1 * l1, weights.giou * overlap
    return losses | set_metrics(logits.detach(), categories_BN, counts_B, matching)


def category_loss(logits_BQC: Tensor, categories_BN: Tensor, matching: Matching, nothing: float) -> Tensor:
    """Cross-entropy, a mean over all predictions with weights: 1 for the matched, `nothing` for the rest."""
    logits = logits_BQC.float()
    wanted = torch.full(logits.shape[:2], logits.shape[2] - 1, device=logits.device)
    wanted[matching.image, matching.prediction] = matching.of_targets(categories_BN)
    weight = logits.new_ones(logits.shape[2])
    weight[-1] = nothing
    return F.cross_entropy(logits.transpose(1, 2), wanted, weight)


def matched_box_losses(
    boxes_BQ4: Tensor, targets_BN4: Tensor, matching: Matching, boxes: Tensor
) -> tuple[Tensor, Tensor]:
    """(L1, 1 − GIoU) of the matched pairs, summed and divided by `number_of_boxes`."""
    found, wanted = matching.of_predictions(boxes_BQ4).float(), matching.of_targets(targets_BN4)
    l1, overlap = box_losses(found, wanted)
    return l1.sum() / boxes, overlap.sum() / boxes


def number_of_boxes(counts_B: Tensor) -> Tensor:
    """The targets of all processes (at least 1) divided by the processes: what each divides its sums by.

    The released code takes the larger of 1 and the mean: with less than a box a process it learns less.
    """
    total = counts_B.sum().float()
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return total.clamp(min=1)
    dist.all_reduce(total)
    return total.clamp(min=1) / dist.get_world_size()


def set_metrics(
    logits_BQC: Tensor, categories_BN: Tensor, counts_B: Tensor, matching: Matching
) -> dict[str, Tensor]:
    """Share of matched predictions that name their category, and |predicted − true| number of objects."""
    named = logits_BQC.argmax(-1)
    right = (matching.of_predictions(named) == matching.of_targets(categories_BN)).float()
    objects = (named != logits_BQC.shape[2] - 1).sum(1)
    return {
        "metric/category_accuracy": right.mean() if len(right) else right.new_ones(()),
        "metric/count_error": (objects - counts_B).abs().float().mean(),
    }
