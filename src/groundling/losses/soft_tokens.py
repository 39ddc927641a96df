"""Soft token prediction: a query says which tokens its object is of, or that there is none (MDETR).

Shapes: B images with a caption each, Q queries, N targets (padded), C = token slots + 1, whose last is "no
object", M matched pairs. `positive_BNC` are rows of `phrases.positive_map`, or what `wanted` makes of them.
"""

from typing import Literal

import torch
from torch import Tensor

from groundling.losses.matching import Matching

# What a soft token is trained to be: the paper's uniform distribution over the tokens of its phrase, or a
# one at each of them, which is what the released code's batches hold (its bool map loses the division).
Target = Literal["paper", "released"]


def wanted(positive_BNC: Tensor, target: Target) -> Tensor:
    """The distributions of the paper, as they are or as the released code's ones.

    A phrase of k tokens then costs k times as much, in the loss and in the matching.
    """
    return positive_BNC if target == "paper" else (positive_BNC > 0).to(positive_BNC)


def soft_token_cost(logits_BQC: Tensor, positive_BNC: Tensor) -> Tensor:
    """−Σ softmax(logits)·positive map: how little each query is of each target's tokens, (B, Q, N)."""
    return -logits_BQC.float().softmax(-1) @ positive_BNC.transpose(1, 2)


def soft_token_loss(
    logits_BQC: Tensor, positive_BNC: Tensor, matching: Matching, boxes: Tensor, nothing: float = 0.1
) -> Tensor:
    """Cross-entropy with the tokens of what a query matches, or with "no object", which weighs `nothing`.

    Summed and divided by `number_of_boxes`: unlike DETR's mean, it grows with the number of queries.
    """
    log_p = logits_BQC.float().log_softmax(-1)
    goal = torch.zeros_like(log_p)
    goal[..., -1] = nothing
    goal[matching.image, matching.prediction] = matching.of_targets(positive_BNC).to(log_p)
    return -(goal * log_p).sum() / boxes
