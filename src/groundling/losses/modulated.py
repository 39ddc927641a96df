"""MDETR's training objective: matched queries learn their tokens, boxes, words' neighbourhood and masks.

Kamath et al. 2021, §2.2 and the released code's weights. Shapes: B images with a caption each, Q queries, N
targets (padded: image i has counts[i] of them), C = token slots + 1, L tokens, H × W pixels of masks.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from groundling.losses.alignment import alignment_loss
from groundling.losses.answers import answer_losses, evidence_loss, final_loss
from groundling.losses.dense import positive_cells
from groundling.losses.grounding import GateLoss
from groundling.losses.masks import mask_losses
from groundling.losses.matching import MatchCost, Matching, match
from groundling.losses.regions import phrase_cell_loss, region_word_loss, wanted_words
from groundling.losses.sets import matched_box_losses, number_of_boxes
from groundling.losses.soft_tokens import Target, soft_token_cost, soft_token_loss, wanted
from groundling.models.answers import AnswerHeads


class ModulatedLoss(GateLoss):
    """What the parts of the loss and of the matching's cost weigh; the defaults are the released code's.

    Fine-tuned on GQA the answers weigh 25 there. Those of gates matter where words choose what runs. Of soft
    tokens the default `target` is the paper's; to reproduce the released weights' training it is "released".
    `regions` and `cells` are of scores that the released MDETR does not have.
    """

    target: Target = "paper"
    soft_tokens: float = Field(1.0, ge=0)
    l1: float = Field(5.0, ge=0)
    giou: float = Field(2.0, ge=0)
    alignment: float = Field(1.0, ge=0)
    temperature: float = Field(0.07, gt=0)
    regions: float = Field(1.0, ge=0)  # of region-word alignment, where the model has scores of it,
    cells: float = Field(1.0, ge=0)  # and of which cells are a phrase's by these scores
    final: float = Field(1.0, ge=0)
    answers: float = Field(1.0, ge=0)
    evidence: float = Field(0.0, ge=0)  # of the answer said by the one object that a question is about,
    # by its query in each decoder layer and by its cells behind the encoder
    mask: float = Field(1.0, ge=0)
    dice: float = Field(1.0, ge=0)
    nothing: float = Field(0.1, ge=0)  # of the cross-entropy of queries that match nothing
    match_tokens: float = Field(1.0, ge=0)
    match_l1: float = Field(5.0, ge=0)
    match_giou: float = Field(2.0, ge=0)
    auxiliary: bool = True  # every decoder layer learns, not the last alone

    @property
    def cost(self) -> MatchCost:
        """What the matching weighs."""
        return MatchCost(self.match_tokens, self.match_l1, self.match_giou)


@dataclass(frozen=True)
class Targets:
    """What is to be found: boxes cxcywh01 (B, N, 4), how many, and which tokens of its caption each is of.

    `positive` (B, N, C) are rows of `phrases.positive_map`, `tokens` (B, N, L) is True at the same tokens.
    What a batch does not teach is None: `final` (B, N) whether an object is what is asked for, `masks`
    (B, N, H, W) of the canvas, `answers` and `types` (B,) of questions (types None: a model with one head).
    `masked` (B, N) says which targets have a mask (None: all); a caption that is no question has −1 for both
    its answer and its type.
    """

    boxes_cxcywh01: Tensor
    counts: Tensor
    positive: Tensor
    tokens: Tensor
    final: Tensor | None = None
    masks: Tensor | None = None
    masked: Tensor | None = None
    answers: Tensor | None = None
    types: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> "Targets":
        """The same targets with each tensor changed: moved, pinned."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: change(t) for name, t in given.items() if t is not None})


def modulated_losses(net: Any, memory: Any, targets: Targets, weights: ModulatedLoss) -> dict[str, Tensor]:
    """Weighted losses of the last decoder layer by name, `….0`, `….1` of those before it, and metrics.

    Each layer is matched for itself. Masks and answers are of one layer only. ValueError for targets that
    the model has no head for.
    """
    for given, head, name in (
        (targets.masks, net.mask_head, "masks"),
        (targets.answers, net.answers, "answers"),
        (targets.final, net.final_embed, "final"),
    ):
        if given is not None and head is None:
            raise ValueError(f"targets have {name}, and the model has no head for them")
    targets = replace(targets, positive=wanted(targets.positive, weights.target))
    hidden, boxes = net.decode(memory), number_of_boxes(targets.counts)
    losses: dict[str, Tensor] = {}
    last = len(hidden) - 1
    for index in range(last + 1) if weights.auxiliary else (last,):
        found, matching = layer_losses(net, memory, hidden[index], targets, boxes, weights)
        losses |= {name if index == last else f"{name}.{index}": loss for name, loss in found.items()}
    if net.region_words is not None and (weights.regions or weights.cells):
        words, cells = _region_losses(net, memory, targets)
        losses |= {"regions": weights.regions * words, "cells": weights.cells * cells}
    if targets.masks is not None:
        focal, dice = _mask_losses(net, memory, hidden[last], targets, matching, boxes)
        losses |= {"mask": weights.mask * focal, "dice": weights.dice * dice}
    if targets.answers is not None and net.answers is not None:
        losses |= _answers_losses(net, hidden, targets, weights)
        if weights.evidence:
            losses["evidence_cells"] = weights.evidence * _cells_evidence_loss(net, memory, targets)
    return losses


def layer_losses(
    net: Any,
    memory: Any,
    hidden_BQD: Tensor,
    targets: Targets,
    boxes: Tensor,
    weights: ModulatedLoss,
) -> tuple[dict[str, Tensor], Matching]:
    """Weighted losses of one decoder layer, and which of its queries learn which targets."""
    found = net.soft_tokens(hidden_BQD)
    matching = match(
        soft_token_cost(found.logits, targets.positive),
        found.boxes_cxcywh01,
        targets.boxes_cxcywh01,
        targets.counts,
        weights.cost,
    )
    l1, overlap = matched_box_losses(found.boxes_cxcywh01, targets.boxes_cxcywh01, matching, boxes)
    tokens = soft_token_loss(found.logits, targets.positive, matching, boxes, weights.nothing)
    losses = {
        "soft_tokens": weights.soft_tokens * tokens,
        "box_l1": weights.l1 * l1,
        "box_giou": weights.giou * overlap,
    }
    if net.config.contrastive and weights.alignment:
        queries, words = net.align(hidden_BQD, memory)
        near = alignment_loss(queries, words, targets.tokens, matching, boxes, weights.temperature)
        losses["alignment"] = weights.alignment * near
    if targets.final is not None and found.final is not None:
        losses["final"] = weights.final * final_loss(found.final, targets.final, matching, boxes)
    if targets.answers is not None and net.answers is not None and weights.evidence:
        alone = matching.where(_about_one_object(targets)[matching.image])
        known_MD = alone.of_predictions(hidden_BQD)
        losses["evidence"] = weights.evidence * _evidence_loss(net.answers, known_MD, targets, alone.image)
    return losses, matching


def _answers_losses(
    net: Any, hidden: list[Tensor], targets: Targets, weights: ModulatedLoss
) -> dict[str, Tensor]:
    """Weighted losses of the layer that answers and, as of boxes, of those before it; its metrics."""
    assert targets.answers is not None
    assert net.answers is not None
    each = net.answer_each(hidden)
    losses: dict[str, Tensor] = {}
    for index, logits in enumerate(each):
        suffix = "" if index == len(each) - 1 else f".{index}"
        if suffix and not weights.auxiliary:
            continue
        said = answer_losses(logits, targets.answers, targets.types, net.answers.config.types)
        losses |= {
            f"{name}{suffix}": weights.answers * loss
            for name, loss in said.items()
            if not name.startswith("metric/")
        }
    return losses | {name: value for name, value in said.items() if name.startswith("metric/")}


def _about_one_object(targets: Targets) -> Tensor:
    """Which captions (B,) are questions about one object."""
    assert targets.answers is not None
    return (targets.counts == 1) & (targets.answers >= 0)


def _evidence_loss(heads: AnswerHeads, known_MD: Tensor, targets: Targets, rows_M: Tensor) -> Tensor:
    """What is known of the one object of each of the questions `rows_M` learns to answer it.

    Answer queries hardly find what no query of an object had to carry.
    """
    assert targets.answers is not None
    types = None if targets.types is None else targets.types[rows_M]
    return evidence_loss(heads.of_objects(known_MD), targets.answers[rows_M], types, heads.config.types)


def _cells_evidence_loss(net: Any, memory: Any, targets: Targets) -> Tensor:
    """The same of the mean of the object's cells behind the encoder."""
    assert net.answers is not None
    (rows_M,) = _about_one_object(targets).nonzero(as_tuple=True)
    cells_MV = positive_cells(targets.boxes_cxcywh01[rows_M, 0], net.config.grid)
    share_MV = (cells_MV / cells_MV.sum(1, keepdim=True)).to(memory.encoded.dtype)
    known_MD = (share_MV[:, None] @ memory.encoded[rows_M, : memory.visual.shape[1]])[:, 0]
    return _evidence_loss(net.answers, known_MD, targets, rows_M)


def _region_losses(net: Any, memory: Any, targets: Targets) -> tuple[Tensor, Tensor]:
    """Of every visual token and word, and of every phrase."""
    logits_EVL = net.regions(memory)
    wanted_EVL = wanted_words(targets.boxes_cxcywh01, targets.tokens, net.config.grid)
    keep = memory.keep
    if keep is not None:
        cells = wanted_EVL.shape[1]
        keep = keep[:, :cells, None] & keep[:, None, cells:]
    where = phrase_cell_loss(logits_EVL, targets.boxes_cxcywh01, targets.tokens, net.config.grid)
    return region_word_loss(logits_EVL, wanted_EVL, keep), where


def _mask_losses(
    net: Any, memory: Any, hidden_BQD: Tensor, targets: Targets, matching: Matching, boxes: Tensor
) -> tuple[Tensor, Tensor]:
    """Focal and dice of the queries that match a target with a mask, the only ones whose masks are made.

    They are made for the captions that have any, (R, N) of them, padded; without one both are 0, and the
    head has a gradient of 0: processes of a training average those of the same parameters at each step.
    """
    assert targets.masks is not None
    if targets.masked is not None:
        matching = matching.where(matching.of_targets(targets.masked))
    if not len(matching.image):
        nothing = 0.0 * torch.stack([weight.sum() for weight in net.mask_head.parameters()]).sum()
        return nothing, nothing
    rows, row = torch.unique(matching.image, return_inverse=True)
    place = torch.zeros(len(rows), int(matching.target.max()) + 1, dtype=torch.long, device=rows.device)
    place[row, matching.target] = matching.prediction
    logits_RNhw = net.masks(hidden_BQD[rows[:, None], place], memory.of(rows))
    return mask_losses(logits_RNhw[row, matching.target], matching.of_targets(targets.masks), boxes)
