"""LVIS' detection metric: COCO's AP over annotations that are federated, for rare and frequent categories.

Nobody marked all of 1,203 categories in all images. So a detection counts only where its category is known to
be there (it has an object) or not to be there (`negative`); elsewhere it is left out. Where a category is
there but not marked in full (`not_exhaustive`), a detection that matches nothing counts neither for nor
against. At most 300 detections an image count, the best over all categories.

Worked by hand: one image with a cat, "dog" negative, nothing said of "hat". The cat is found: AP 1. A hat
beside it changes nothing; a dog is wrong but, without a dog anywhere, in no category's AP. A second cat with
a higher score halves the precision: AP 1/2, or 1 again if cats are not exhaustive in this image.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from groundling.protocols.averages import Averages, averages
from groundling.protocols.detections import Detection, Id, Truth, Verified, curves

FREQUENCIES = ("r", "c", "f")  # rare, common, frequent: in up to 10, up to 100, more training images
LIMIT = 300


@dataclass(frozen=True)
class LvisAP(Averages):
    """LVIS' thirteen numbers; rare, common, frequent: of the categories of that frequency."""

    NAMES: ClassVar[dict[str, str]] = Averages.NAMES | {
        "ap_rare": "APr", "ap_common": "APc", "ap_frequent": "APf",
        "ar": "AR@300", "ar_small": "ARs@300", "ar_medium": "ARm@300", "ar_large": "ARl@300",
    }  # fmt: skip

    ap_rare: float | None
    ap_common: float | None
    ap_frequent: float | None
    ar: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None


def average_precision(
    truths: Sequence[Truth],
    detections: Sequence[Detection],
    *,
    images: Mapping[Id, Verified],
    frequencies: Mapping[Id, str],
    of: str = "boxes",
) -> LvisAP:
    """LVIS' numbers of detections, by faster-coco-eval (extra `eval`).

    images: every image that was evaluated, and what is known of it. frequencies: every category as "r", "c"
    or "f". of: compares "boxes" or "masks", which every truth and detection must then have.
    """
    strange = sorted(set(frequencies.values()) - set(FREQUENCIES))
    if strange:
        raise ValueError(f"no frequency {strange[0]!r}; there are {', '.join(FREQUENCIES)}")
    if any(truth.crowd for truth in truths):
        raise ValueError("LVIS has no crowds; COCO's protocol has")
    best = _best(detections)
    found = curves(truths, best, of=of, images=images, frequencies=frequencies, limits=(LIMIT,))
    groups = [[name for name, frequency in frequencies.items() if frequency == one] for one in FREQUENCIES]
    rare, common, frequent = (found.ap(categories=set(group)) for group in groups)
    return LvisAP(
        **averages(found, of, len(truths), len(detections)),
        ap_rare=rare,
        ap_common=common,
        ap_frequent=frequent,
        ar=found.ar(LIMIT),
        ar_small=found.ar(LIMIT, "small"),
        ar_medium=found.ar(LIMIT, "medium"),
        ar_large=found.ar(LIMIT, "large"),
    )


def _best(detections: Sequence[Detection]) -> list[Detection]:
    """The 300 best of each image; equal scores in the order given."""
    by_image = defaultdict[Id, list[Detection]](list)
    for one in detections:
        by_image[one.image].append(one)
    best = (sorted(part, key=lambda one: one.score, reverse=True)[:LIMIT] for part in by_image.values())
    return [one for part in best for one in part]
