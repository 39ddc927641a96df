"""Answers about an image and a text: objects of phrases, an answer to a question, pixels of a phrase."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from groundling.pictures.masks import Rle
from groundling.results.cost import Cost, millions
from groundling.results.detections import Detection, Detections, summary
from groundling.results.found import Found, check_inside, corners, quoted
from groundling.results.shown import Shown

KINDS = {  # types of questions of GQA, and of CLEVR
    "obj": "whether something is there",
    "rel": "how objects stand to each other",
    "attr": "a property",
    "cat": "a kind of object",
    "global": "the whole scene",
    "binary": "yes or no",
    "reg": "a number",
}


@dataclass(frozen=True)
class Asked(Shown):
    """What every answer about an image and a text has: both, its cost, and the milliseconds it took.

    `text` is the caption, question or phrase as it was given; `width` and `height` are the image's, as people
    see it (EXIF applied), and all boxes are pixels of it. `milliseconds` are those of this request: its first
    in a process takes many times as long as the next.
    """

    text: str
    cost: Cost
    width: int
    height: int
    milliseconds: float
    image: str

    def detections(self) -> Detections:
        """All objects of the answer, under their words, the surest first."""
        ordered = tuple(sorted(self._objects(), key=lambda found: -found.score))
        known = self.cost, self.width, self.height, self.milliseconds, self.image
        return Detections(ordered, *known, view=self.view)

    def found(self) -> Sequence[Found]:
        """All objects of the answer, under their words, the surest first."""
        return self.detections().found()

    def _objects(self) -> Iterable[Detection]:
        raise NotImplementedError

    def _picture(self) -> dict[str, object]:
        return {"image": self.image, "width": self.width, "height": self.height}

    def _spent(self) -> dict[str, object]:
        return {"macs": self.cost.macs, "milliseconds": round(self.milliseconds, 2)}

    def _footing(self) -> str:
        return f"{millions(self.cost.macs)} MACs, {self.milliseconds:.1f} ms"

    def _as_dict(self) -> dict[str, object]:
        return {
            "image": self.image,
            "text": self.text,
            "width": self.width,
            "height": self.height,
            **self._spent(),
        }

    def _check(self, objects: Iterable[Detection]) -> None:
        scores = []
        for found in objects:
            check_inside(found.box, self.width, self.height)
            scores.append(found.score)
        if scores != sorted(scores, reverse=True):
            raise ValueError("objects must be sorted by score, the highest first")


@dataclass(frozen=True)
class PhraseObjects:
    """A phrase of a caption, its characters [begin, end), and its objects, the surest first."""

    phrase: str
    span: tuple[int, int]
    objects: tuple[Detection, ...]

    def __repr__(self) -> str:
        return f"PhraseObjects({quoted(self.phrase)}, {summary(self.objects)})"

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
                raise ValueError(
                    f"the characters {found.span} of {self.text[:60]!r} are not {found.phrase!r}"
                )
            self._check(found.objects)

    def __iter__(self) -> Iterator[PhraseObjects]:
        return iter(self.phrases)

    def __len__(self) -> int:
        return len(self.phrases)

    def __repr__(self) -> str:
        phrases = [f"{len(found.objects)} × {quoted(found.phrase)}" for found in self.phrases[:5]]
        more = [f"{len(self.phrases) - 5} more phrases"] if len(self.phrases) > 5 else []
        return f"CaptionGrounding({', '.join([*phrases, *more])}, {self._footing()})"

    def as_dict(self) -> dict[str, object]:
        """What `groundling phrases --json` prints."""
        phrases = [found.as_dict() for found in self.phrases]
        return {**self._as_dict(), "splitter": self.splitter, "phrases": phrases}

    def rows(self) -> list[dict[str, object]]:
        """A row for each object of each phrase, of single values only; a phrase without objects has one."""
        rows: list[dict[str, object]] = []
        for found in self.phrases:
            phrase = {"phrase": found.phrase, "begin": found.span[0], "end": found.span[1]}
            boxes = [{**corners(each.box), "score": round(each.score, 4)} for each in found.objects]
            nothing = {**corners(None), "score": None}
            rows += [{**self._picture(), **phrase, **box} for box in boxes or [nothing]]
        return rows

    def _objects(self) -> Iterable[Detection]:
        return (each for found in self.phrases for each in found.objects)

    def _heading(self) -> str:
        return self.text


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
            raise ValueError(f"confidence must be a number from 0 to 1, given {self.confidence}")
        self._check(self.evidence)

    @property
    def about(self) -> str | None:
        """The type of the question in words, "a kind of object"; None for a model with one head."""
        return self.kind and KINDS.get(self.kind, f"what it calls {self.kind}")

    def __repr__(self) -> str:
        sure = f"confidence={self.confidence:.2f}, evidence: {summary(self.evidence)}"
        return f"Answer({quoted(self.text)}: {quoted(self.answer)}, {sure}, {self._footing()})"

    def as_dict(self) -> dict[str, object]:
        """What `groundling answer --json` prints."""
        return {
            **self._as_dict(),
            "answer": self.answer,
            "kind": self.kind,
            "confidence": round(self.confidence, 4),
            "evidence": [found.as_dict() for found in self.evidence],
        }

    def as_row(self) -> dict[str, object]:
        """A row of a table, of single values only; `detections().rows()` are those of the evidence."""
        sure = {"kind": self.kind, "confidence": round(self.confidence, 4), "evidence": len(self.evidence)}
        return {**self._picture(), "question": self.text, "answer": self.answer, **sure, **self._spent()}

    def _objects(self) -> Iterable[Detection]:
        return self.evidence

    def _heading(self) -> str:
        return f"{self.text} – {self.answer} ({self.confidence:.1%} sure)"


@dataclass(frozen=True)
class Segmentation(Asked):
    """The pixels that a phrase means, of all its objects together, and those objects' boxes."""

    mask: Rle
    objects: tuple[Detection, ...]

    def __post_init__(self) -> None:
        if (self.mask.height, self.mask.width) != (self.height, self.width):
            raise ValueError(
                f"the mask has {self.mask.height}×{self.mask.width} pixels, height first, and the image "
                f"{self.height}×{self.width}"
            )
        self._check(self.objects)

    def __repr__(self) -> str:
        share = f"{self._share:.1%} of the picture"
        return f"Segmentation({quoted(self.text)}, {share}, {summary(self.objects)}, {self._footing()})"

    def as_dict(self) -> dict[str, object]:
        """What `groundling segment --json` prints; the mask is COCO's compressed run-length code."""
        objects = [found.as_dict() for found in self.objects]
        return {**self._as_dict(), "mask": self.mask.as_dict(), "objects": objects}

    def as_row(self) -> dict[str, object]:
        """A row of a table, of single values only; x1 to y2 are the mask's box, None where it is empty."""
        pixels = {"pixels": self.mask.area, "share": round(self._share, 4), "objects": len(self.objects)}
        box = corners(self.mask.box)
        return {**self._picture(), "phrase": self.text, **box, **pixels, **self._spent()}

    def found(self) -> Sequence[Found]:
        """The mask's box, under the phrase and the score of its surest object; none of an empty mask."""
        box = self.mask.box
        best = max((each.score for each in self.objects), default=None)
        return [] if box is None else [Found(self.text, box, best)]

    @property
    def _share(self) -> float:
        return self.mask.area / (self.width * self.height)

    def _objects(self) -> Iterable[Detection]:
        return self.objects

    def _mask(self) -> Rle:
        return self.mask

    def _heading(self) -> str:
        return f"{self.text} – {self._share:.1%} of the picture"
