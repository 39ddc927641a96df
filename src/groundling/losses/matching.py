"""Hungarian matching: each target gets the one prediction that suits it best over all (DETR, Eq. 1).

Shapes: B images, Q predictions, N targets (padded: image i has counts[i] of them), M matched pairs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from groundling.pictures.boxes import cxcywh_to_xyxy, giou


@dataclass(frozen=True)
class MatchCost:
    """What the three parts of the cost weigh; the defaults are DETR's and MDETR's."""

    category: float = 1.0
    l1: float = 5.0
    giou: float = 2.0


@dataclass(frozen=True)
class Matching:
    """The matched pairs as indices (M,), image by image: of the image, its prediction and its target."""

    image: Tensor
    prediction: Tensor
    target: Tensor

    def where(self, kept_M: Tensor) -> "Matching":
        """The pairs that are kept, True in (M,)."""
        return Matching(self.image[kept_M], self.prediction[kept_M], self.target[kept_M])

    def of_predictions(self, values_BQ: Tensor) -> Tensor:
        """What each matched prediction has: (M, …) of (B, Q, …)."""
        return values_BQ[self.image, self.prediction]

    def of_targets(self, values_BN: Tensor) -> Tensor:
        """What each matched target has: (M, …) of (B, N, …)."""
        return values_BN[self.image, self.target]


@torch.no_grad()
def match(
    unlikely_BQN: Tensor,
    boxes_BQ4: Tensor,
    targets_BN4: Tensor,
    counts_B: Tensor,
    cost: MatchCost | None = None,
) -> Matching:
    """The cheapest one-to-one matching of each image; with more targets than predictions, some get none.

    `unlikely_BQN` says how little a prediction is of a target's category: −p[c] of DETR (`category_cost`).
    Boxes are cxcywh01; what targets beyond an image's count hold does not matter.
    """
    from scipy.optimize import linear_sum_assignment

    whole = total_cost(unlikely_BQN, boxes_BQ4, targets_BN4, cost or MatchCost())
    most = torch.finfo(whole.dtype).max  # what is not finite comes last, and the loss says what broke
    host = whole.nan_to_num(nan=most, posinf=most, neginf=most).cpu().numpy()
    pairs = [
        linear_sum_assignment(rows[:, :count]) for rows, count in zip(host, counts_B.tolist(), strict=True)
    ]
    image = torch.tensor([i for i, (found, _) in enumerate(pairs) for _ in found], dtype=torch.long)
    indices = (image, *(_joined([pair[side] for pair in pairs]) for side in (0, 1)))
    return Matching(*(index.to(whole.device) for index in indices))


def total_cost(unlikely_BQN: Tensor, boxes_BQ4: Tensor, targets_BN4: Tensor, cost: MatchCost) -> Tensor:
    """(B, Q, N): what it costs to say that a prediction is a target, category, L1 and −GIoU weighed."""
    boxes, targets = boxes_BQ4.float()[:, :, None], targets_BN4.float()[:, None]
    l1 = (boxes - targets).abs().sum(-1)
    overlap = giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets))
    return cost.category * unlikely_BQN.float() + cost.l1 * l1 - cost.giou * overlap


def category_cost(logits_BQC: Tensor, categories_BN: Tensor) -> Tensor:
    """−p[c] of each prediction for each target's category (B, Q, N); padding (−1) costs as category 0."""
    p_BQC = logits_BQC.float().softmax(-1)
    place_BQN = categories_BN.clamp(min=0)[:, None].expand(-1, p_BQC.shape[1], -1)
    return -p_BQC.gather(2, place_BQN)


def _joined(parts: list[object]) -> Tensor:
    return torch.cat([torch.as_tensor(part, dtype=torch.long) for part in parts])
