"""What a model learns of phrases: any box of a phrase is right, and a phrase may mean nothing in the picture.

Shapes: E phrases, V = grid² cells, M boxes of a phrase (padded).
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from groundling.dynamic.gates import Draw
from groundling.layers.resnet import Gates
from groundling.losses.box import box_losses
from groundling.losses.dense import positive_cells
from groundling.losses.grounding import GateLoss, drawn_gates
from groundling.models.supernet import Prediction
from groundling.pictures.boxes import cxcywh_to_xyxy, iou
from groundling.words.tokens import Tokens


class PhraseLoss(GateLoss):
    """Weights of the losses."""

    cell: float = 1.0  # −log of the probability of all cells within a box of the phrase
    good: float = 1.0  # cross-entropy with cells by how well their own boxes fit
    l1: float = 2.0
    giou: float = 2.0
    present: float = 0.5  # whether the phrase means anything in the picture
    # Where words choose: each phrase has its own subnet; or each picture has that of one of its phrases, of
    # which all of them are asked, and the others weigh so much.
    subnet_of: Literal["phrase", "picture"] = "picture"
    others: float = 0.3


def phrase_losses(model: Any, batch: Any, draw: Draw, weights: PhraseLoss) -> dict[str, Tensor]:
    """Cell, box and presence losses, with those of the gates where words choose."""
    tokens = Tokens(batch.ids, batch.padding)
    text = model.text(tokens) if batch.text is None else batch.text
    gates, losses = drawn_gates(model, text, tokens, draw, weights)
    row_weights = None
    if gates is not None and weights.subnet_of == "picture":
        leading = leaders(batch.image_index, draw.step)
        gates = {name: gate[leading] for name, gate in gates.items()}
        row_weights = torch.full_like(text[:, 0, 0], weights.others)
        row_weights[leading] = 1.0
    prediction = seen(model, batch, text, tokens, gates, of_pictures=row_weights is not None)
    return losses | found_losses(
        prediction, batch.boxes_cxcywh01, batch.counts, model.config.grid, weights, row_weights
    )


def seen(
    model: Any, batch: Any, text: Tensor, tokens: Tokens, gates: Gates | None, of_pictures: bool
) -> Prediction:
    """The network's answers, from the pictures or from what its first blocks, which are frozen, said of them.

    of_pictures: gates have a row for each picture, not for each phrase.
    """
    net, index = model.net, batch.image_index
    if batch.maps is None:
        images = model.config.framing.normalise(batch.images)
        if not of_pictures:
            prediction: Prediction = net(images, text, tokens, gates, index)
            return prediction
        maps = net.backbone(images, gates)
    else:
        maps = batch.maps
        if gates is not None and not of_pictures:
            maps, index = [level[index] for level in maps], None
        if gates is not None or any(p.requires_grad for p in net.backbone.parameters()):
            maps = net.resumed(maps, gates)
    answered: Prediction = net.answer(maps, text, tokens, gates, index)
    return answered


def leaders(image_index: Tensor, step: int) -> Tensor:
    """One phrase of each image, another one at each step.

    Each image has as many phrases as the others, one after the other.
    """
    images = int(image_index.max()) + 1
    each = len(image_index) // images
    return torch.arange(images, device=image_index.device) * each + step % each


def found_losses(
    prediction: Prediction,
    targets_EM4: Tensor,
    counts_E: Tensor,
    grid: int,
    weights: PhraseLoss,
    row_weights_E: Tensor | None = None,
) -> dict[str, Tensor]:
    """The losses of an answer; boxes cxcywh in [0, 1], of which the first `counts_E` of a row are real.

    Means over phrases, weighed by `row_weights_E`, None for alike.
    """
    there = counts_E > 0
    each_E = torch.ones_like(counts_E, dtype=torch.float32) if row_weights_E is None else row_weights_E
    share_E = each_E[there] / each_E[there].sum().clamp(min=1e-6)  # of each phrase in a mean
    losses: dict[str, Tensor] = {}
    if prediction.present is not None and weights.present:
        wanted = there.to(prediction.present.dtype)
        each = F.binary_cross_entropy_with_logits(prediction.present, wanted, reduction="none")
        # Of what is there and what is not half of the loss each: 0.5 is where both are as likely.
        sides = [
            (each * side).sum() / side.sum().clamp(min=1e-6) for side in (each_E * there, each_E * ~there)
        ]
        losses["present"] = weights.present * torch.stack(sides).mean()
        right = (prediction.present > 0) == there
        losses["metric/present"] = right.float().mean()
    logits, boxes = prediction.dense_logits[-1][there], prediction.dense_boxes_cxcywh01[-1][there]
    targets, answer = targets_EM4[there], prediction.boxes_cxcywh01[there].detach()
    real_EM = torch.arange(targets.shape[1], device=targets.device) < counts_E[there, None]
    owner = owners(targets, real_EM, grid)
    log_p = logits.log_softmax(1)
    positive = owner >= 0
    within = log_p.masked_fill(~positive, -torch.inf).logsumexp(1)
    losses["cell"] = -weights.cell * (within * share_E).sum()

    overlap_EMV = iou(cxcywh_to_xyxy(boxes.detach())[:, None], cxcywh_to_xyxy(targets)[:, :, None])
    overlap_EV = (overlap_EMV * real_EM[:, :, None]).amax(1)
    fit = (overlap_EV - 0.4).clamp(min=0)
    some = fit.sum(1, keepdim=True)
    losses["good"] = -weights.good * ((fit / some.clamp(min=1e-6) * log_p).sum(1) * share_E).sum()

    rows, cells = positive.nonzero(as_tuple=True)
    share = share_E[rows] / positive.sum(1)[rows]
    l1, overlap = box_losses(boxes[rows, cells], targets[rows, owner[rows, cells]])
    losses["l1"] = weights.l1 * (l1 * share).sum()
    losses["giou"] = weights.giou * (overlap * share).sum()
    hit_EM = iou(cxcywh_to_xyxy(answer)[:, None], cxcywh_to_xyxy(targets)) * real_EM
    losses["metric/any-box"] = ((hit_EM.amax(1) >= 0.5) * share_E).sum()
    return losses


def owners(targets_EM4: Tensor, real_EM: Tensor, grid: int) -> Tensor:
    """Which box each cell answers for, (E, V) in [-1, M): the smallest of those in whose middle it lies."""
    rows, most = real_EM.shape
    inside_EMV = positive_cells(targets_EM4.flatten(0, 1), grid).view(rows, most, grid * grid) > 0
    area_EM1 = (targets_EM4[..., 2] * targets_EM4[..., 3])[..., None]
    size_EMV = area_EM1.masked_fill(~real_EM[..., None], torch.inf).expand_as(inside_EMV)
    size_EMV = size_EMV.masked_fill(~inside_EMV, torch.inf)
    least, owner = size_EMV.min(1)
    return owner.masked_fill(least.isinf(), -1)
