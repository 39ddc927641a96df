"""The averages over all IoU thresholds that COCO's and LVIS' protocols both print."""

from dataclasses import dataclass
from typing import Any, ClassVar

from groundling.protocols.detections import Curves
from groundling.protocols.printing import printed


@dataclass(frozen=True)
class Averages:
    """Average precision in [0, 1]; None where there is no such object (the official code prints −1).

    ap: the mean over IoU 0.50, 0.55 … 0.95. small, medium, large: objects of up to 32², up to 96² and more
    pixels. `of` says whether "boxes" or "masks" were compared.
    """

    NAMES: ClassVar[dict[str, str]] = {
        "ap": "AP", "ap_50": "AP50", "ap_75": "AP75",
        "ap_small": "APs", "ap_medium": "APm", "ap_large": "APl",
    }  # fmt: skip

    of: str
    objects: int
    detections: int
    ap: float | None
    ap_50: float | None
    ap_75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON, under the names that the field uses."""
        return printed(self, self.NAMES)


def averages(found: Curves, of: str, objects: int, detections: int) -> dict[str, Any]:
    """The fields of `Averages`."""
    areas = {f"ap_{area}": found.ap(area=area) for area in ("small", "medium", "large")}
    counted = {"of": of, "objects": objects, "detections": detections}
    return counted | {"ap": found.ap(), "ap_50": found.ap(0.5), "ap_75": found.ap(0.75)} | areas
