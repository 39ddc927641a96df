"""COCO's detection metric: average precision over ten IoU thresholds, and its eleven companions.

Worked by hand: one image, two objects of one category. The best detection is exactly the first object, the
second lies nowhere. Precision is 1 up to a recall of 1/2 (51 of the 101 recalls that are looked at: 0, 0.01,
… 0.5) and 0 above: AP is 51/101 at every threshold. One of two objects is found: AR is 1/2.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from groundling.protocols.averages import Averages, averages
from groundling.protocols.detections import Detection, Id, Truth, curves


@dataclass(frozen=True)
class CocoAP(Averages):
    """COCO's twelve numbers.

    ar: average recall; ar_1, ar_10, ar_100: with so many detections an image and category.
    """

    NAMES: ClassVar[dict[str, str]] = Averages.NAMES | {
        "ar_1": "AR1", "ar_10": "AR10", "ar_100": "AR100",
        "ar_small": "ARs", "ar_medium": "ARm", "ar_large": "ARl",
    }  # fmt: skip

    ar_1: float | None
    ar_10: float | None
    ar_100: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None


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
        **averages(found, of, len(truths), len(detections)),
        ar_1=found.ar(1),
        ar_10=found.ar(10),
        ar_100=found.ar(100),
        ar_small=found.ar(100, "small"),
        ar_medium=found.ar(100, "medium"),
        ar_large=found.ar(100, "large"),
    )
