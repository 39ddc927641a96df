"""COCO's detection metric: average precision over ten IoU thresholds, and its eleven companions.

Worked by hand: one image, two objects of one category. The best detection is exactly the first object, the
second lies nowhere. Precision is 1 up to a recall of 1/2 (51 of the 101 recalls that are looked at: 0, 0.01,
… 0.5) and 0 above: AP is 51/101 at every threshold. One of two objects is found: AR is 1/2.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from groundling.protocols.detections import Detection, Id, Truth, curves
from groundling.protocols.printing import printed

NAMES = {
    "ap": "AP", "ap_50": "AP50", "ap_75": "AP75", "ap_small": "APs", "ap_medium": "APm", "ap_large": "APl",
    "ar_1": "AR1", "ar_10": "AR10", "ar_100": "AR100",
    "ar_small": "ARs", "ar_medium": "ARm", "ar_large": "ARl",
}  # fmt: skip


@dataclass(frozen=True)
class CocoAP:
    """COCO's twelve numbers, in [0, 1]; None where there is no such object (COCO prints −1).

    ap, ar: means over IoU 0.50, 0.55 … 0.95. small, medium, large: objects of up to 32², up to 96² and more
    pixels. ar_1, ar_10, ar_100: with so many detections an image and category.
    """

    of: str
    objects: int
    detections: int
    ap: float | None
    ap_50: float | None
    ap_75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar_1: float | None
    ar_10: float | None
    ar_100: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON, under COCO's names."""
        return printed(self, NAMES)


def average_precision(
    truths: Sequence[Truth],
    detections: Sequence[Detection],
    *,
    of: str = "boxes",
    images: Collection[Id] | None = None,
) -> CocoAP:
    """COCO's numbers of detections, by faster-coco-eval (extra `eval`).

    of: compares "boxes" or "masks", which every truth and detection must then have. images: ids of those
    that were evaluated; a truth or detection in another is an error, None takes all that are named.
    """
    found = curves(truths, detections, of=of, images=None if images is None else set(images))
    return CocoAP(
        of=of,
        objects=len(truths),
        detections=len(detections),
        ap=found.ap(),
        ap_50=found.ap(0.5),
        ap_75=found.ap(0.75),
        ap_small=found.ap(area="small"),
        ap_medium=found.ap(area="medium"),
        ap_large=found.ap(area="large"),
        ar_1=found.ar(1),
        ar_10=found.ar(10),
        ar_100=found.ar(100),
        ar_small=found.ar(100, "small"),
        ar_medium=found.ar(100, "medium"),
        ar_large=found.ar(100, "large"),
    )
