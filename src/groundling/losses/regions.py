"""Region-word alignment: every visual token says which words are about it, and each phrase where it is.

Li et al., "Grounded Language-Image Pre-training", CVPR 2022, Eq. 3-4, on the encoder's visual tokens. It is
dense where MDETR's losses are of matched queries alone: a network that begins with random words learns by it
what they mean. Scores of a word at all cells say where its phrase is, for which cells compete as in LADS'
dense loss: of two cats only one is white. Shapes: E captions, V = grid² cells (rows first), L tokens, N
targets (padded).
"""

import torch
from torch import Tensor

from groundling.losses.dense import positive_cells
from groundling.losses.masks import focal_loss


def wanted_words(boxes_ENC: Tensor, tokens_ENL: Tensor, grid: int) -> Tensor:
    """(E, V, L) of 0/1: whether a token is of the phrase of an object in whose middle the cell lies.

    Boxes are cxcywh in [0, 1]; a padded target has no token.
    """
    captions, targets = tokens_ENL.shape[:2]
    cells_ENV = positive_cells(boxes_ENC.flatten(0, 1), grid).view(captions, targets, -1)
    return (cells_ENV.transpose(1, 2) @ tokens_ENL.to(cells_ENV.dtype) > 0).float()


def phrase_cell_loss(logits_EVL: Tensor, boxes_ENC: Tensor, tokens_ENL: Tensor, grid: int) -> Tensor:
    """Cross-entropy over cells of the mean score of each target's phrase; the mean over targets, or 0.

    Targets of the same tokens are of one phrase, whose cells are those of all of them.
    """
    captions, targets = tokens_ENL.shape[:2]
    cells_ENV = positive_cells(boxes_ENC.flatten(0, 1), grid).view(captions, targets, -1)
    same_ENN = (tokens_ENL[:, :, None] == tokens_ENL[:, None]).all(-1).to(cells_ENV.dtype)
    wanted_ENV = (same_ENN @ cells_ENV > 0).float()
    count_EN = tokens_ENL.sum(-1)
    scores_ENV = tokens_ENL.float() @ logits_EVL.float().transpose(1, 2) / count_EN.clamp(min=1)[..., None]
    each_EN = -(wanted_ENV / wanted_ENV.sum(-1, keepdim=True) * scores_ENV.log_softmax(-1)).sum(-1)
    real_EN = count_EN > 0
    return (each_EN * real_EN).sum() / real_EN.sum().clamp(min=1)


def region_word_loss(logits_EVL: Tensor, wanted_EVL: Tensor, keep_EVL: Tensor | None = None) -> Tensor:
    """Sigmoid focal loss of each cell and token over the number of positives of its caption; the mean.

    `keep_EVL` is False where the cell or the token is padding (None: nowhere).
    """
    each = focal_loss(logits_EVL.float(), wanted_EVL)
    if keep_EVL is not None:
        each = torch.where(keep_EVL, each, 0.0)
    return (each.sum((1, 2)) / wanted_EVL.sum((1, 2)).clamp(min=1)).mean()
