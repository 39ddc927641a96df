"""Contrastive alignment: a query is near the tokens of its phrase, and they near it (MDETR).

Shapes: B images with a caption each, Q queries, N targets (padded), L tokens, P channels of the shared space.
"""

import torch
from torch import Tensor

from groundling.losses.matching import Matching


def alignment_loss(
    queries_BQP: Tensor,
    words_BLP: Tensor,
    tokens_BNL: Tensor,
    matching: Matching,
    boxes: Tensor,
    temperature: float = 0.07,
) -> Tensor:
    """InfoNCE from queries to tokens and back, averaged; summed over both and divided by `number_of_boxes`.

    `tokens_BNL` is True at the tokens of each target's phrase in its own caption. As in the released code a
    query's negatives are all tokens of its caption, its own and padding among them, and a token's are all
    queries; a query without a phrase, or a token of none, has no loss.
    """
    similar_BQL = queries_BQP.float() @ words_BLP.float().transpose(1, 2) / temperature
    positive_BQL = torch.zeros_like(similar_BQL, dtype=torch.bool)
    positive_BQL[matching.image, matching.prediction] = matching.of_targets(tokens_BNL)
    both = _one_way(similar_BQL, positive_BQL, 2) + _one_way(similar_BQL, positive_BQL, 1)
    return both / 2 / boxes


def _one_way(similar: Tensor, positive: Tensor, axis: int) -> Tensor:
    """log Σ exp over all, less the mean over the positives, of whatever has any."""
    count = positive.sum(axis)
    mean = (similar * positive).sum(axis) / count.clamp(min=1)
    return ((similar.logsumexp(axis) - mean) * (count > 0)).sum()
