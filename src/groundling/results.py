"""What comes back: a Cost beside every answer, and a Grounding, or the Detections of an image."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from groundling.pictures.masks import Rle
from groundling.selection import Selection


@dataclass(frozen=True)
class Cost:
    """MACs (multiply-accumulates) per part of what ran, and of the supernet for the same words.

    `shared` ran for an earlier text of the same request and count there, in neither `parts` nor `full`: by
    itself this text costs `macs` + `shared`.
    """

    parts: Mapping[str, int]
    full: int
    shared: int = 0

    def __post_init__(self) -> None:
        if min(self.parts.values(), default=0) < 0 or not 0 < self.macs <= self.full:
            raise ValueError(f"a cost of {self.macs} MACs does not fit a supernet of {self.full}")
        if self.shared < 0:
            raise ValueError(f"{self.shared} MACs cannot be shared: they ran for an earlier text")
        object.__setattr__(self, "parts", MappingProxyType(dict(self.parts)))

    @property
    def macs(self) -> int:
        """MACs of all parts."""
        return sum(self.parts.values())

    @property
    def share(self) -> float:
        """What ran, as a share of the supernet, in (0, 1]."""
        return self.macs / self.full


@dataclass(frozen=True)
class Grounding:
    """The answer to one expression.

    `box` is (x1, y1, x2, y2) in pixels of the original image as people see it (EXIF applied), clipped to
    it. `score` is the model's confidence in [0, 1], None for a model that regresses one box without any.
    """

    expression: str
    box: tuple[float, float, float, float]
    score: float | None
    cost: Cost
    selection: Selection
    width: int
    height: int
    milliseconds: float
    image: str = field(default="")

    def __post_init__(self) -> None:
        _check_inside(self.box, self.width, self.height)

    def __iter__(self) -> Iterator[float]:
        return iter(self.box)

    def as_dict(self) -> dict[str, object]:
        """What `groundling ground --json` prints."""
        return {
            "image": self.image,
            "expression": self.expression,
            "box": [round(value, 2) for value in self.box],
            "score": None if self.score is None else round(self.score, 4),
            "macs": self.cost.macs,
            "full_macs": self.cost.full,
            "share": round(self.cost.share, 4),
            "layers_on": self.selection.layers_on,
            "layers": self.selection.layers,
            "filters_on": self.selection.filters_on,
            "filters": self.selection.filters,
            "milliseconds": round(self.milliseconds, 2),
        }


@dataclass(frozen=True)
class Detection:
    """One object that was seen: its category, box as in a Grounding, and the model's confidence in [0, 1]."""

    label: str
    box: tuple[float, float, float, float]
    score: float

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"a score of {self.score} is not in [0, 1]")

    def as_dict(self) -> dict[str, object]:
        """What `groundling detect --json` prints of it."""
        box = [round(value, 2) for value in self.box]
        return {"label": self.label, "box": box, "score": round(self.score, 4)}


@dataclass(frozen=True)
class Detections:
    """The objects of one image, those that the model is surest of first; a sequence of Detection."""

    objects: tuple[Detection, ...]
    cost: Cost
    width: int
    height: int
    milliseconds: float
    image: str = field(default="")

    def __post_init__(self) -> None:
        for found in self.objects:
            _check_inside(found.box, self.width, self.height)
        if list(self.objects) != sorted(self.objects, key=lambda found: -found.score):
            raise ValueError("detections are given with the highest score first")

    def __iter__(self) -> Iterator[Detection]:
        return iter(self.objects)

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index: int) -> Detection:
        return self.objects[index]

    def as_dict(self) -> dict[str, object]:
        """What `groundling detect --json` prints."""
        return {
            "image": self.image,
            "width": self.width,
            "height": self.height,
            "objects": [found.as_dict() for found in self.objects],
            "macs": self.cost.macs,
            "full_macs": self.cost.full,
            "share": round(self.cost.share, 4),
            "milliseconds": round(self.milliseconds, 2),
        }


def _check_inside(box: tuple[float, float, float, float], width: int, height: int) -> None:
    x1, y1, x2, y2 = box
    if not (0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height):
        raise ValueError(f"box {box} does not lie in an image of {width}×{height}")


# --------------------------------------------------------------------- phrases, questions and masks (MDETR)


@dataclass(frozen=True)
class Asked:
    """What every answer about an image and a text has: both, its cost, and the milliseconds it took.

    `text` is the caption, question or phrase as it was given; `width` and `height` are the image's, as people
    see it (EXIF applied), and all boxes are pixels of it.
    """

    text: str
    cost: Cost
    width: int
    height: int
    milliseconds: float
    image: str

    def _as_detections(self, objects: Iterable[Detection]) -> Detections:
        """These objects as what can be drawn."""
        ordered = tuple(sorted(objects, key=lambda found: -found.score))
        return Detections(ordered, self.cost, self.width, self.height, self.milliseconds, self.image)

    def _as_dict(self) -> dict[str, object]:
        return {
            "image": self.image,
            "text": self.text,
            "width": self.width,
            "height": self.height,
            "macs": self.cost.macs,
            "milliseconds": round(self.milliseconds, 2),
        }

    def _check(self, objects: Iterable[Detection]) -> None:
        scores = []
        for found in objects:
            _check_inside(found.box, self.width, self.height)
            scores.append(found.score)
        if scores != sorted(scores, reverse=True):
            raise ValueError("objects are given with the highest score first")


@dataclass(frozen=True)
class PhraseObjects:
    """A phrase of a caption, its characters [begin, end), and its objects, the surest first."""

    phrase: str
    span: tuple[int, int]
    objects: tuple[Detection, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain values of JSON."""
        found = [found.as_dict() for found in self.objects]
        return {"phrase": self.phrase, "span": list(self.span), "objects": found}


@dataclass(frozen=True)
class CaptionGrounding(Asked):
    """The objects of each phrase of a caption; `splitter` says what found the phrases."""

    phrases: tuple[PhraseObjects, ...]
    splitter: str

    def __post_init__(self) -> None:
        for found in self.phrases:
            begin, end = found.span
            if not 0 <= begin < end <= len(self.text) or self.text[begin:end] != found.phrase:
                raise ValueError(f"{found.phrase!r} is not at {found.span} of {self.text[:60]!r}")
            self._check(found.objects)

    def __iter__(self) -> Iterator[PhraseObjects]:
        return iter(self.phrases)

    def __len__(self) -> int:
        return len(self.phrases)

    def detections(self) -> Detections:
        """The objects of all phrases, under the phrases' words."""
        return self._as_detections(each for found in self.phrases for each in found.objects)

    def as_dict(self) -> dict[str, object]:
        """What `groundling phrases --json` prints."""
        phrases = [found.as_dict() for found in self.phrases]
        return {**self._as_dict(), "splitter": self.splitter, "phrases": phrases}


@dataclass(frozen=True)
class Answer(Asked):
    """The answer to a question, the type of question that the model took it for, and what it looked at.

    `confidence` in [0, 1] is that of the type and of the answer among those of the type, multiplied. `kind`
    is None for a model with one head. `evidence` are the objects the question mentions or is about.
    """

    answer: str
    kind: str | None
    confidence: float
    evidence: tuple[Detection, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"a confidence of {self.confidence} is not in [0, 1]")
        self._check(self.evidence)

    def detections(self) -> Detections:
        """The evidence."""
        return self._as_detections(self.evidence)

    def as_dict(self) -> dict[str, object]:
        """What `groundling answer --json` prints."""
        return {
            **self._as_dict(),
            "answer": self.answer,
            "kind": self.kind,
            "confidence": round(self.confidence, 4),
            "evidence": [found.as_dict() for found in self.evidence],
        }


@dataclass(frozen=True)
class Segmentation(Asked):
    """The pixels that a phrase means, of all its objects together, and those objects' boxes."""

    mask: Rle
    objects: tuple[Detection, ...]

    def __post_init__(self) -> None:
        if (self.mask.height, self.mask.width) != (self.height, self.width):
            raise ValueError(
                f"a mask of {self.mask.height}×{self.mask.width} does not fit an image of "
                f"{self.height}×{self.width}"
            )
        self._check(self.objects)

    def as_dict(self) -> dict[str, object]:
        """What `groundling segment --json` prints; the mask is COCO's compressed run-length code."""
        objects = [found.as_dict() for found in self.objects]
        return {**self._as_dict(), "mask": self.mask.as_dict(), "objects": objects}
