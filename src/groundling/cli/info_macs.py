"""MACs of a whole model, for what `groundling info` says: of a typical expression, or of a usual photo."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groundling.models.detecting import CategoryDetector
    from groundling.models.supernet import Supernet
    from groundling.results import Cost

TOKENS = 8  # of a typical expression: six words, [CLS] and [SEP]
LANDSCAPE = (3, 4)  # the sides of a usual photo


def of_supernet(model: "Supernet") -> "Cost":
    """With everything on, for an expression of TOKENS."""
    from groundling.selection import Selection

    units = model.units()
    return model.cost_model.cost(Selection.all_on(units) if units else None, TOKENS)


def least_share(model: "Supernet") -> float:
    """The least share of its MACs that a subnet can have; 1 for a network with one size."""
    from groundling.selection import Selection

    units = model.units()
    return model.cost_model.cost(Selection.all_off(units), TOKENS).share if units else 1.0


def of_detector(model: "CategoryDetector") -> "Cost":
    """With everything on, for a photo of 4:3."""
    return model.cost_model(*sides(model)).cost()


def sides(model: "CategoryDetector") -> tuple[int, int]:
    """Height and width that the network is given of a photo of 4:3."""
    scale = min(model.config.short_side / LANDSCAPE[0], model.config.long_side / LANDSCAPE[1])
    return round(LANDSCAPE[0] * scale), int(LANDSCAPE[1] * scale)
