"""Referring expressions: is the object's box among the first 1, 5 or 10 (Prec@1, Prec@5, Prec@10)?

Worked by hand: the object is (0, 0, 10, 10). The answers, best first, are (0, 0, 10, 4), IoU 40/100, and
(0, 0, 10, 6), IoU 60/100. By IoU ≥ 0.5 the second is right: Prec@1 is 0, Prec@5 is 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from groundling.protocols.printing import printed
from groundling.protocols.ranking import BoxesLike, Rule, as_boxes, same_length


@dataclass(frozen=True)
class RefExpPrecision:
    """Shares of expressions, in [0, 1], whose object was among the first k boxes; `rule` is what counted."""

    rule: str
    expressions: int
    prec_at_1: float
    prec_at_5: float
    prec_at_10: float

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return printed(self, {f"prec_at_{k}": f"prec@{k}" for k in (1, 5, 10)})


def precision(
    answers: Sequence[BoxesLike],
    truths: BoxesLike,
    *,
    overlap: str = "iou",
    threshold: float = 0.5,
    strict: bool = False,
) -> RefExpPrecision:
    """Prec@1, 5 and 10 of expressions, each with one true box; for one dataset and split at a time.

    answers: for each expression its boxes (K, 4), best first (`ranking.by_score` orders them); no box is a
        miss. truths: (N, 4). All are xyxy in the same frame.
    overlap: "iou", or "giou" as MDETR's evaluator counts: stricter, since GIoU is never above IoU.
    strict: counts overlap > threshold instead of ≥ (papers differ; TransVG's and MDETR's code take ≥).
    """
    rule = Rule(overlap, threshold, strict)
    targets = as_boxes(truths, "truths")
    same_length("expressions", len(answers), truths=len(targets))
    places = [
        rule.place(as_boxes(boxes, f"answer {index}"), targets[index : index + 1])
        for index, boxes in enumerate(answers)
    ]
    first = [sum(place is not None and place <= k for place in places) / len(places) for k in (1, 5, 10)]
    return RefExpPrecision(str(rule), len(places), *first)
