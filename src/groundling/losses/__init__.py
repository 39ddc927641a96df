"""What training minimises. `OBJECTIVES` maps a name to a factory: weights → objective."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from groundling.losses.detr import detr_losses
from groundling.losses.grounding import GroundingLoss, Objective, detection, grounding_losses
from groundling.losses.mdetr import mdetr_losses
from groundling.losses.modulated import ModulatedLoss
from groundling.losses.phrases import PhraseLoss, phrase_losses
from groundling.losses.sets import SetLoss

__all__ = ["OBJECTIVES", "Objective"]


W = TypeVar("W", bound=BaseModel)


def _weights(kind: type[W], settings: Mapping[str, Any]) -> W:
    try:
        return kind.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"loss {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _grounding(settings: Mapping[str, Any]) -> Objective:
    return partial(grounding_losses, weights=_weights(GroundingLoss, settings))


def _detr(settings: Mapping[str, Any]) -> Objective:
    return partial(detr_losses, weights=_weights(SetLoss, settings))


def _mdetr(settings: Mapping[str, Any]) -> Objective:
    return partial(mdetr_losses, weights=_weights(ModulatedLoss, settings))


def _phrases(settings: Mapping[str, Any]) -> Objective:
    return partial(phrase_losses, weights=_weights(PhraseLoss, settings))


def _detection(settings: Mapping[str, Any]) -> Objective:
    if settings:
        raise ValueError(f"the detection objective has no options, given {', '.join(settings)}")
    return detection


OBJECTIVES: dict[str, Callable[[Mapping[str, Any]], Objective]] = {
    "grounding": _grounding,
    "detection": _detection,
    "detr": _detr,
    "mdetr": _mdetr,
    "phrases": _phrases,
}
