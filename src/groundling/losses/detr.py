"""DETR's objective: the set loss of every decoder layer on the objects of each image."""

from typing import Any

from torch import Tensor

from groundling.dynamic.gates import Draw
from groundling.losses.sets import SetLoss, set_losses
from groundling.models.detecting import CategoryDetector, SetPrediction


def detr_losses(model: CategoryDetector, batch: Any, draw: Draw, weights: SetLoss) -> dict[str, Tensor]:
    """The losses of a `data.detection.DetectionBatch`, which is made in a room that this one does not see."""
    if not isinstance(model, CategoryDetector):
        raise ValueError(
            f"objective detr trains a model that detects categories, given a {type(model).__name__.lower()}"
        )
    images = model.config.framing.normalise(batch.images, batch.shown)
    found: SetPrediction = model.net(images, batch.shown)
    things = batch.things
    return set_losses(found.layers, things.categories, things.boxes_cxcywh01, things.counts, weights)
