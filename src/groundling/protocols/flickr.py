"""Flickr30k Entities: is a phrase's box among the first 1, 5 or 10 (Recall@k), or anywhere (upper bound)?

A phrase ("two men") may have several true boxes. Two protocols are published: "any" is content with a hit of
any of them, "merged" wants the box around all of them.

Worked by hand: "two men" stand in (0, 0, 10, 10) and (20, 0, 30, 10). The answer (0, 0, 10, 10) has IoU 1
with the first man, but 100/300 with the merged box (0, 0, 30, 10): a hit by "any", a miss by "merged".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from groundling.protocols.printing import printed
from groundling.protocols.ranking import BoxesLike, Rule, as_boxes, same_length

PROTOCOLS = ("any", "merged")


@dataclass(frozen=True)
class Recalls:
    """Shares of phrases, in [0, 1], that were found among the first k boxes, and among all."""

    phrases: int
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    upper_bound: float


@dataclass(frozen=True)
class FlickrRecall:
    """Recalls of all phrases with boxes and of each phrase type; `dropped` phrases had no box."""

    protocol: str
    rule: str
    dropped: int
    all: Recalls
    by_type: Mapping[str, Recalls]

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return printed(self, {f"recall_at_{k}": f"recall@{k}" for k in (1, 5, 10)})


def recall(
    answers: Sequence[BoxesLike],
    truths: Sequence[BoxesLike],
    types: Sequence[Sequence[str]] | None = None,
    *,
    protocol: str = "any",
    threshold: float = 0.5,
    strict: bool = False,
) -> FlickrRecall:
    """Recall@1, 5, 10 and the upper bound by one protocol.

    answers: for each phrase its boxes (K, 4), best first (`ranking.by_score` orders them); no box is a miss.
    truths: for each phrase its boxes (M, 4); a phrase without any is dropped and counted.
    types: for each phrase the types that the annotation gives it ("people", "clothing"); it counts in each.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"no protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")
    same_length(
        "phrases", len(answers), truths=len(truths), types=len(answers) if types is None else len(types)
    )
    rule = Rule("iou", threshold, strict)
    places: list[int | None] = []
    by_type: dict[str, list[int | None]] = {}
    for index, (boxes, targets) in enumerate(zip(answers, truths, strict=True)):
        found, true = as_boxes(boxes, f"answer {index}"), as_boxes(targets, f"truth {index}")
        if len(true) == 0:
            continue
        place = rule.place(found, merged(true) if protocol == "merged" else true)
        places.append(place)
        for kind in dict.fromkeys(_types(types, index)):
            by_type.setdefault(kind, []).append(place)
    if not places:
        raise ValueError(f"none of {len(answers)} phrases has a box")
    recalls = {kind: _recalls(by_type[kind]) for kind in sorted(by_type)}
    return FlickrRecall(protocol, str(rule), len(answers) - len(places), _recalls(places), recalls)


def merged(boxes: Tensor) -> Tensor:
    """The smallest box (1, 4) around boxes (N, 4), N ≥ 1."""
    return torch.cat((boxes[:, :2].amin(dim=0), boxes[:, 2:].amax(dim=0)))[None]


def _types(types: Sequence[Sequence[str]] | None, index: int) -> Sequence[str]:
    if types is None:
        return ()
    if isinstance(types[index], str):
        raise ValueError(f"a phrase has a list of types, given {types[index]!r} for phrase {index}")
    return types[index]


def _recalls(places: Sequence[int | None]) -> Recalls:
    hits = [place for place in places if place is not None]
    at_1, at_5, at_10 = (sum(place <= k for place in hits) / len(places) for k in (1, 5, 10))
    return Recalls(len(places), at_1, at_5, at_10, len(hits) / len(places))
