"""Answers beside what is true: which phrases, boxes and answers are right, and how well masks cover."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from groundling.data.sample import Box
from groundling.draw.right import ENOUGH, matched, on_one
from groundling.pictures.masks import Mask as Pixels
from groundling.pictures.masks import decode
from groundling.results import Answer, Asked, CaptionGrounding, Segmentation


@dataclass(frozen=True)
class CaptionCell:
    """A caption's phrases beside their true boxes (xyxy), in the same order."""

    image: Image.Image
    found: CaptionGrounding
    truth: tuple[tuple[Box, ...], ...]

    def __post_init__(self) -> None:
        if len(self.truth) != len(self.found):
            raise ValueError(f"there are {len(self.found)} phrases, and true boxes of {len(self.truth)}")

    @property
    def right(self) -> tuple[bool, ...]:
        """Whether the surest box of each phrase has an IoU of 0.5 or more with one of its true boxes."""
        return tuple(
            any(on_one([each.box for each in found.objects[:1]], boxes))
            for found, boxes in zip(self.found, self.truth, strict=True)
        )

    @property
    def boxes_right(self) -> tuple[tuple[bool, ...], ...]:
        """Of each phrase's boxes, whether it lies on a true one that no surer box has."""
        return tuple(
            tuple(matched([each.box for each in found.objects], boxes))
            for found, boxes in zip(self.found, self.truth, strict=True)
        )


@dataclass(frozen=True)
class QuestionCell:
    """An answer beside the true one, and the true boxes of what the question is about."""

    image: Image.Image
    found: Answer
    answer: str
    truth: tuple[Box, ...]

    @property
    def right(self) -> bool:
        """Whether it is the true answer."""
        return self.found.answer == self.answer


@dataclass(frozen=True)
class MaskCell:
    """A phrase's mask beside the true one."""

    image: Image.Image
    found: Segmentation
    truth: Pixels

    def __post_init__(self) -> None:
        size = (self.found.height, self.found.width)
        if self.truth.shape != size:
            given, fitting = ("×".join(map(str, shape)) for shape in (self.truth.shape, size))
            raise ValueError(f"the mask has {fitting} pixels (height × width), and the true one {given}")

    @property
    def iou(self) -> float:
        """IoU of both masks; 1 if both are empty."""
        found = decode(self.found.mask)
        union = int((found | self.truth).sum())
        return int((found & self.truth).sum()) / union if union else 1.0

    @property
    def right(self) -> bool:
        """Whether the IoU is 0.5 or more."""
        return self.iou >= ENOUGH


AskedCell = CaptionCell | QuestionCell | MaskCell


@dataclass(frozen=True)
class Boxes:
    """How many boxes were found, how many of them are right, and how many there were to find."""

    found: int
    right: int
    true: int

    @classmethod
    def of(cls, cells: Sequence[CaptionCell]) -> "Boxes":
        """Those of all phrases of some captions."""
        right = [good for cell in cells for phrase in cell.boxes_right for good in phrase]
        return cls(len(right), sum(right), sum(len(boxes) for cell in cells for boxes in cell.truth))

    @property
    def wrong(self) -> int:
        """Boxes that lie on nothing that was meant, or on what a surer one has already."""
        return self.found - self.right


def asked_summary(cells: Sequence[AskedCell]) -> str:
    """What was found and answered, how well masks cover, and the mean time of an answer, in one line."""
    captions = [cell for cell in cells if isinstance(cell, CaptionCell)]
    answers = [cell.right for cell in cells if isinstance(cell, QuestionCell)]
    masks = [cell.iou for cell in cells if isinstance(cell, MaskCell)]
    parts = list[str]()
    if phrases := [right for cell in captions for right in cell.right]:
        boxes = Boxes.of(captions)
        parts.append(f"{sum(phrases)} of {len(phrases)} phrases found")
        parts.append(f"{boxes.right} of {boxes.true} objects, {counted(boxes.wrong)} wrong")
    if answers:
        parts.append(f"{sum(answers)} of {len(answers)} answers right")
    if masks:
        parts.append(f"mean mask IoU {sum(masks) / len(masks):.2f}")
    found: list[Asked] = [cell.found for cell in cells]
    times = [each.milliseconds for each in found]
    return " · ".join([*parts, f"{sum(times) / len(times):.1f} ms on average"])


def counted(boxes: int) -> str:
    """A number of boxes in words."""
    return "no box" if boxes == 0 else "1 box" if boxes == 1 else f"{boxes} boxes"
