"""Objectives: what one training step minimises, as named, weighted losses and `metric/…` numbers."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from groundling.dynamic.budget import fitted_gates
from groundling.dynamic.gates import Draw, hard_gates, soft_gates, tossed_gates
from groundling.losses.box import box_losses
from groundling.losses.dense import dense_losses, detection_losses
from groundling.losses.information import batch_mean, mutual_information
from groundling.models.supernet import Prediction, Supernet
from groundling.pictures.boxes import cxcywh_to_xyxy, iou
from groundling.words.tokens import Tokens

# (model, batch, draw) → losses; a data.loader.Batch, which is made in a room that this one does not see
Objective = Callable[[Any, Any, Draw], dict[str, Tensor]]


class GateLoss(BaseModel):
    """How gates are drawn where words choose, and what is weighed of the choice."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mi: float = 0.1
    mi_conditional: float = 1.0
    budget: float = 0.0  # (expected MACs share − budget_share)², as DGE's budget loss
    budget_share: float = 0.5
    budget_of: Literal["batch", "text"] = "batch"  # whose share: the mean of all texts, or each for itself
    # tossed: Eq. 5, the selector learns. chosen: as in evaluation, the network learns to be these subnets.
    # budgets: as in evaluation with a budget, the network learns to be the smaller subnets too. A quarter of
    # the expressions have no budget, a quarter the least one, the others one between that and all.
    # open: everything on (warm-up; a network that always runs in full).
    gates: Literal["tossed", "chosen", "budgets", "open"] = "tossed"
    least_budget: float = 0.3


class GroundingLoss(GateLoss):
    """Weights of Eq. 9 and of what may be added to it."""

    l1: float = 1.0
    giou: float = 1.0
    dense: float = 0.0  # cross-entropy over visual tokens, and their boxes, on every encoder layer
    detection: float = 0.0  # all objects of the image from the visual tokens before fusion


def grounding_losses(model: Any, batch: Any, draw: Draw, weights: GroundingLoss) -> dict[str, Tensor]:
    """LADS Eq. 9: L1 + GIoU − λ·MI, with the optional dense and budget losses."""
    tokens = Tokens(batch.ids, batch.padding)
    text = model.text(tokens)
    gates, losses = drawn_gates(model, text, tokens, draw, weights)
    images = model.config.framing.normalise(batch.images, batch.shown)
    prediction = model.net(images, text, tokens, gates, batch.image_index, batch.shown)
    losses |= prediction_losses(prediction, batch.boxes_cxcywh01, model.config.grid, weights)
    if weights.detection:
        found = object_losses(model, prediction.visual, batch, None if gates is None else batch.image_index)
        losses |= {k: v if k.startswith("metric/") else weights.detection * v for k, v in found.items()}
    return losses


def drawn_gates(
    model: Any, text_ELD: Tensor, tokens: Tokens, draw: Draw, weights: GateLoss
) -> tuple[dict[str, Tensor] | None, dict[str, Tensor]]:
    """The gates (E, size) of a training step, None where all is on, and what they cost and say."""
    if model.selector is None or model.config.gating is None or weights.gates == "open":
        return None, {}
    lengths = (~tokens.padding).sum(1)
    if weights.gates == "chosen":
        gates = hard_gates(model.selector(text_ELD, tokens))
        return gates, {"metric/share": batch_mean(model.cost_model.expected_share(gates, lengths))}
    if weights.gates == "budgets":
        with torch.no_grad():
            relevance = model.selector(text_ELD, tokens)
            budgets = drawn_budgets(draw, weights.least_budget).to(text_ELD.device)
            gates = fitted_gates(relevance, model.units(), model.cost_model, lengths, budgets)
            share = model.cost_model.expected_share(gates, lengths)
        return gates, {"metric/share": batch_mean(share)}
    soft = soft_gates(model.selector(text_ELD, tokens), draw)
    gates = tossed_gates(soft, draw, model.config.gating.coin)
    return gates, gate_losses(model, soft, lengths, weights)


def drawn_budgets(draw: Draw, least: float) -> Tensor:
    """A budget for each expression (E,): all, the least, or one between them (the sandwich rule).

    Yu and Huang, "Universally Slimmable Networks", ICCV 2019: the ends have to be trained too.
    """
    generator = draw.generator()
    kind, share = torch.rand(2, draw.total, generator=generator)[:, draw.first : draw.first + draw.count]
    between = least + (1 - least) * share
    return torch.where(kind < 0.25, 1.0, torch.where(kind < 0.5, least, between))


def gate_losses(
    model: Supernet, soft: dict[str, Tensor], tokens_E: int | Tensor, weights: GateLoss
) -> dict[str, Tensor]:
    """−λ·I(G; F), averaged over units of a kind and summed over kinds, and the budget loss."""
    information = mutual_information(soft, weights.mi_conditional)
    kinds: dict[str, list[Tensor]] = {}
    for unit in model.units():
        kinds.setdefault(unit.kind, []).append(information[unit.name])
    mi = torch.stack([torch.stack(values).mean() for values in kinds.values()]).sum()
    share_E = model.cost_model.expected_share(soft, tokens_E)
    share = batch_mean(share_E)
    losses = {"mi": -weights.mi * mi, "metric/mi": mi.detach(), "metric/share": share.detach()}
    if weights.budget:
        each = share_E if weights.budget_of == "text" else share[None]
        losses["budget"] = weights.budget * batch_mean((each - weights.budget_share).square())
    return losses


def prediction_losses(
    prediction: Prediction, target_cxcywh01: Tensor, grid: int, weights: GroundingLoss
) -> dict[str, Tensor]:
    """Box losses of the answer, dense losses of every encoder layer, and Prec@0.5 as a metric."""
    losses: dict[str, Tensor] = {}
    if prediction.scores is None:  # the [CLS] head answers
        l1, overlap = box_losses(prediction.boxes_cxcywh01, target_cxcywh01)
        losses |= {"l1": weights.l1 * l1.mean(), "giou": weights.giou * overlap.mean()}
    last = len(prediction.dense_logits) - 1
    for layer, (logits, boxes) in enumerate(
        zip(prediction.dense_logits, prediction.dense_boxes_cxcywh01, strict=True)
    ):
        answers = layer == last and prediction.scores is not None
        scale = 1.0 if answers else weights.dense
        if scale:
            choose, l1, overlap = dense_losses(logits, boxes, target_cxcywh01, grid)
            losses[f"cell.{layer}"] = scale * choose.mean()
            losses[f"l1.{layer}"] = scale * weights.l1 * l1.mean()
            losses[f"giou.{layer}"] = scale * weights.giou * overlap.mean()
    overlap = iou(cxcywh_to_xyxy(prediction.boxes_cxcywh01.detach()), cxcywh_to_xyxy(target_cxcywh01))
    losses["metric/prec@0.5"] = (overlap >= 0.5).float().mean()
    return losses


def detection(model: Any, batch: Any, draw: Draw) -> dict[str, Tensor]:
    """Detection pre-training of the backbone on the objects of each image."""
    return object_losses(model, model.net.see(model.config.framing.normalise(batch.images)), batch, None)


def object_losses(model: Any, visual: Tensor | None, batch: Any, rows: Tensor | None) -> dict[str, Tensor]:
    """Losses of the detection head on visual tokens of each image, or of images `rows`."""
    if model.detector is None or batch.things is None or visual is None:
        raise ValueError(
            "detection losses need a model with categories and data with annotated objects (data.things)"
        )
    classes, attributes, boxes = model.detector(visual, model.net.prior)
    things = batch.things
    targets = (things.categories, things.attributes, things.boxes_cxcywh01)
    if rows is not None:
        targets = tuple(target[rows] for target in targets)
    return detection_losses(
        classes, attributes, boxes, *targets, grid=model.config.grid, groups_GM=model.detector.groups
    )
