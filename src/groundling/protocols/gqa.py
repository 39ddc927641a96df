"""Question answering: the share of questions whose short answer is exactly the true one, and by type.

Worked by hand: of two questions about objects one is right, and one of one about a relation: overall 2/3,
"obj" 1/2, "rel" 1. Had the model taken the relation for an attribute and still said the right word, its
answer would count in the accuracy, but not in MDETR's `accuracy_total`: 1/3. Were the right one of those
about objects an "exist" and the other a "logicOr", these would have 1 and 0.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from groundling.protocols.printing import printed
from groundling.protocols.ranking import same_length

TYPES = ("obj", "attr", "rel", "global", "cat")  # `types.semantic` of GQA's questions


@dataclass(frozen=True)
class TypeAccuracy:
    """Accuracy, in [0, 1], of the questions of one type."""

    questions: int
    accuracy: float


@dataclass(frozen=True)
class GqaAccuracy:
    """Accuracy of all questions and of each type that was asked.

    accuracy_type and accuracy_total are None unless the types that the model predicted are known.
    accuracy_total is what MDETR reports in training: right type and right answer, over all questions.
    by_detailed_type holds GQA's finer types (`types.detailed`) by name; None where no question says its own.
    """

    questions: int
    accuracy: float
    by_type: Mapping[str, TypeAccuracy]
    accuracy_type: float | None = None
    accuracy_total: float | None = None
    by_detailed_type: Mapping[str, TypeAccuracy] | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return printed(self)


def accuracy(
    answers: Sequence[str],
    truths: Sequence[str],
    types: Sequence[str],
    predicted_types: Sequence[str] | None = None,
    *,
    known_types: Collection[str] | None = TYPES,
    detailed_types: Sequence[str | None] | None = None,
) -> GqaAccuracy:
    """Top-1 exact match of short answers ("yes", "left", "traffic light"), as GQA's evaluation counts.

    types: the type of each question; other questions than GQA's give their own `known_types`, None for any.
    predicted_types: what the model took each question for; gives accuracy_type and accuracy_total.
    detailed_types: the finer type of each question, any name, or None for one that says none.
    """
    count = len(truths)
    lengths = {"answers": len(answers), "types": len(types)}
    if predicted_types is not None:
        lengths["predicted_types"] = len(predicted_types)
    if detailed_types is not None:
        lengths["detailed_types"] = len(detailed_types)
    same_length("questions", count, **lengths)
    _known(types, known_types)
    right = [answer == truth for answer, truth in zip(answers, truths, strict=True)]
    by_type = {kind: _of_type(kind, types, right) for kind in _in_order(types, known_types)}
    finer = sorted({kind for kind in detailed_types or () if kind is not None})
    by_detailed = {kind: _of_type(kind, detailed_types or (), right) for kind in finer} or None
    if predicted_types is None:
        return GqaAccuracy(count, sum(right) / count, by_type, by_detailed_type=by_detailed)
    _known(predicted_types, known_types)
    same_type = [mine == true for mine, true in zip(predicted_types, types, strict=True)]
    both = sum(a and b for a, b in zip(same_type, right, strict=True))
    shares = sum(right) / count, by_type, sum(same_type) / count, both / count
    return GqaAccuracy(count, *shares, by_detailed)


def _of_type(kind: str, types: Sequence[str | None], right: Sequence[bool]) -> TypeAccuracy:
    mine = [hit for hit, given in zip(right, types, strict=True) if given == kind]
    return TypeAccuracy(len(mine), sum(mine) / len(mine))


def _in_order(types: Sequence[str], known: Collection[str] | None) -> list[str]:
    return sorted(set(types)) if known is None else [kind for kind in known if kind in types]


def _known(types: Sequence[str], known: Collection[str] | None) -> None:
    strange = [] if known is None else sorted(set(types) - set(known))
    if strange:
        raise ValueError(f"no question type {strange[0]!r}; there are {', '.join(known or ())}")
