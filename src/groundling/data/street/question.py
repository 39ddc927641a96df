"""A question about a scene as a value: its words, its short answer, what it hangs on; and the thirteen types.

The types are the thirteen rows of GQA's table (Hudson & Manning 2019, supplement) that are about one or two
objects. The table's second row of the name verifyAttr, which joins two attributes, is verifyAttrs here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from groundling.data.street.setting import COVERS, WEATHERS
from groundling.data.street.words import ALL, CATEGORIES

KINDS: Mapping[str, tuple[str, str]] = {  # semantic and structural type
    "queryGlobal": ("global", "query"),
    "verifyGlobal": ("global", "verify"),
    "chooseGlobal": ("global", "choose"),
    "queryAttr": ("attr", "query"),
    "verifyAttr": ("attr", "verify"),
    "verifyAttrs": ("attr", "logical"),
    "chooseAttr": ("attr", "choose"),
    "exist": ("obj", "verify"),
    "existRel": ("rel", "verify"),
    "logicOr": ("obj", "logical"),
    "logicAnd": ("obj", "logical"),
    "queryObject": ("cat", "query"),
    "chooseObject": ("cat", "choose"),
}
BINARY = tuple(kind for kind, (_, form) in KINDS.items() if form in ("verify", "logical"))
YES_NO = ("yes", "no")
POSES = ("sitting", "standing", "flying", "waving")
ANSWERS: Mapping[str, tuple[str, ...]] = {  # all there are, by semantic type
    "obj": YES_NO,
    "rel": YES_NO,
    "attr": (*YES_NO, *ALL, *POSES, "left", "right"),
    "cat": tuple(CATEGORIES),
    "global": (*YES_NO, *sorted({*WEATHERS, *COVERS})),
}

Steps = tuple[tuple[str, str], ...]  # operation and argument, as in ("select", "car (3)")


@dataclass(frozen=True)
class Evidence:
    """Words of a question (numbers of the first and of the one after the last), and the object they mean."""

    words: tuple[int, int]
    object: int


@dataclass(frozen=True)
class Question:
    """A question, its short answer (one of ANSWERS) and its evidence.

    `steps` are GQA's operations on the way to the answer. `shown` is the object that the answer names, where
    it names one; it is part of the evidence too.
    """

    text: str
    answer: str
    kind: str
    evidence: tuple[Evidence, ...]
    steps: Steps
    shown: int | None = None

    @property
    def semantic(self) -> str:
        """What it is about: obj, attr, rel, cat or global."""
        return KINDS[self.kind][0]

    @property
    def structural(self) -> str:
        """What it wants: query, verify, choose or logical."""
        return KINDS[self.kind][1]

    @property
    def full_answer(self) -> str:
        """The answer as a sentence."""
        if self.answer in YES_NO:
            return "Yes, that is so." if self.answer == "yes" else "No, that is not so."
        return f"The answer is {self.answer}."


@dataclass(frozen=True)
class Meaning:
    """Words of a question that mean one object; None: nothing that is there."""

    words: str
    object: int | None


def asked(
    kind: str, pieces: Sequence[str | Meaning], answer: str, steps: Steps, shown: int | None = None
) -> Question:
    """The question that the pieces make, one after the other, and where its evidence stands in it."""
    words: list[str] = []
    evidence: list[Evidence] = []
    for piece in pieces:
        start = len(words)
        words += (piece if isinstance(piece, str) else piece.words).split()
        if isinstance(piece, Meaning) and piece.object is not None:
            evidence.append(Evidence((start, len(words)), piece.object))
    return Question(" ".join(words) + "?", answer, kind, tuple(evidence), steps, shown)
