"""Soft token prediction: a query says which tokens its object is of, or that there is none (MDETR).

Shapes: B images with a caption each, Q queries, N targets (padded), C = token slots + 1, whose last is "no
object", M matched pairs. `positive_BNC` are rows of `phrases.positive_map`: the paper's, or the released
code's ones.
"""

import torch
from torch import Tensor

from groundling.losses.matching import Matching


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
    wanted = torch.zeros_like(log_p)
    wanted[..., -1] = nothing
    wanted[matching.image, matching.prediction] = matching.of_targets(positive_BNC).to(log_p)
    return -(wanted * log_p).sum() / boxes
