"""What training minimises. `OBJECTIVES` maps a name to a factory: weights → objective."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pydantic import ValidationError

from groundling.losses.grounding import GroundingLoss, Objective, detection, grounding_losses

__all__ = ["OBJECTIVES", "Objective"]


def _grounding(settings: Mapping[str, Any]) -> Objective:
    try:
        weights = GroundingLoss.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"loss {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return partial(grounding_losses, weights=weights)


def _detection(settings: Mapping[str, Any]) -> Objective:
    if settings:
        raise ValueError(f"the detection objective has no options, given {', '.join(settings)}")
    return detection


OBJECTIVES: dict[str, Callable[[Mapping[str, Any]], Objective]] = {
    "grounding": _grounding,
    "detection": _detection,
}
