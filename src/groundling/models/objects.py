"""What a system finds of a text: boxes, of which tokens each is, and how sure it is that there is a thing.

Shapes: E texts, Q queries, C = token slots + 1, the last of which says that there is no object.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from groundling.pictures.boxes import cxcywh_to_xyxy, iou


@dataclass(frozen=True)
class Objects:
    """Of each query: soft token logits (E, Q, C), boxes cxcywh01 (E, Q, 4), is-final logits (E, Q)."""

    logits: Tensor
    boxes_cxcywh01: Tensor
    final: Tensor | None

    def scores(self) -> Tensor:
        """1 − P(no object), times σ(is final) where the model says that: (E, Q)."""
        there = 1 - self.logits.softmax(-1)[..., -1]
        return there if self.final is None else there * self.final.sigmoid()

    def token_probabilities(self) -> Tensor:
        """What each query is of, (E, Q, C − 1): a softmax of which "no object" has its part too."""
        return self.logits.softmax(-1)[..., :-1]

    def same(self, overlap: float) -> Tensor:
        """Which queries are of one object, (E, Q, Q): each and itself, and those of an IoU above this."""
        boxes = cxcywh_to_xyxy(self.boxes_cxcywh01)
        near = iou(boxes[:, :, None], boxes[:, None]) > overlap
        return near | torch.eye(boxes.shape[1], dtype=torch.bool, device=boxes.device)


def joined(scores_EQ: Tensor, same_EQQ: Tensor) -> tuple[Tensor, Tensor]:
    """How sure it is that one of the queries of each query's object is right, and the surest of them, (E, Q).

    1 − ∏ (1 − s) over the queries that are the same: several that say one object make it likelier. A score
    below 0 is of a query that is none's.
    """
    of_each = torch.where(same_EQQ, scores_EQ[:, None], -1.0)
    return 1 - (1 - of_each.clamp(0, 1)).prod(dim=-1), of_each.argmax(dim=-1)
