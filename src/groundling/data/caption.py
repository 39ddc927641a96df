"""Text with phrases: what captions, questions and lists of classes become, whatever format they came in."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from groundling.data.sample import Box, DataError, Dataset, Sample, check_box, spread

Span = tuple[int, int]  # characters of a text, from the first to before the second
Polygon = tuple[float, ...]  # x, y, x, y, … in pixels of the upright image
CORNERS = 3  # a polygon has at least so many


@dataclass(frozen=True)
class Rle:
    """A mask in COCO's run lengths: zeros and ones in turn, zeros first, one column after the other."""

    size: tuple[int, int]  # height, width: COCO's order
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        height, width = self.size
        if height < 1 or width < 1 or min(self.counts, default=0) < 0:
            raise DataError(f"a mask of {height}x{width} pixels cannot be, nor a run of negative length")
        if sum(self.counts) != height * width:
            raise DataError(f"the runs of a mask cover {sum(self.counts)} pixels of {height}x{width}")


Mask = tuple[Polygon, ...] | Rle  # of one object, which may lie in several pieces


@dataclass(frozen=True)
class Phrase:
    """What some of a text's words mean: every box of it, and the mask of each where they are known.

    No box at all says that the words name something which is not in the image.
    """

    spans: tuple[Span, ...]
    boxes: tuple[Box, ...]
    masks: tuple[Mask, ...] = ()
    category: str | None = None

    def __post_init__(self) -> None:
        check_spans(self.spans)
        if not self.spans:
            raise DataError("a phrase has no span")
        for box in self.boxes:
            check_box(box)
        if self.masks and len(self.masks) != len(self.boxes):
            raise DataError(f"a phrase has {len(self.masks)} masks for {len(self.boxes)} boxes")
        for mask in self.masks:
            if not isinstance(mask, Rle):
                _check_polygons(mask)


@dataclass(frozen=True)
class Answer:
    """The answer to a question; its kind where the format sorts them, and the boxes of what it names."""

    text: str
    kind: str | None = None
    boxes: tuple[Box, ...] = ()

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise DataError("the answer is empty")
        for box in self.boxes:
            check_box(box)


@dataclass(frozen=True)
class Caption:
    """A text about an image, the phrases in it, and its answer where it is a question.

    `negatives` are the spans that MDETR calls negative tokens: what no other object may be matched with.
    """

    id: str
    image: Path
    text: str
    phrases: tuple[Phrase, ...] = ()
    answer: Answer | None = None
    negatives: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise DataError("the caption is empty")
        check_spans(self.negatives)
        spans = [span for phrase in self.phrases for span in phrase.spans]
        for begin, end in (*spans, *self.negatives):
            if end > len(self.text):
                raise DataError(f"span {(begin, end)} leaves the caption of {len(self.text)} characters")
        for begin, end in spans:
            if not self.text[begin:end].strip():
                raise DataError(f"span {(begin, end)} of the caption is blank")

    def words(self, phrase: Phrase) -> str:
        """The words of a phrase of this caption; its spans, where there are several, one after the other."""
        return " ".join(self.text[begin:end] for begin, end in phrase.spans)

    def samples(self) -> tuple[Sample, ...]:
        """Each phrase that means exactly one box, as an expression."""
        return tuple(
            Sample(f"{self.id}-{index}", self.image, self.words(phrase), *phrase.boxes, phrase.category)
            for index, phrase in enumerate(self.phrases)
            if len(phrase.boxes) == 1
        )


@dataclass(frozen=True)
class CaptionSet:
    """The captions of one split."""

    name: str
    split: str
    captions: tuple[Caption, ...]

    def __len__(self) -> int:
        return len(self.captions)

    def limited(self, limit: int | None) -> "CaptionSet":
        """At most `limit` captions, evenly spread over all: neighbours are often of one image."""
        return replace(self, captions=spread(self.captions, limit, "captions"))

    def samples(self) -> Dataset:
        """The expressions in these captions, for what learns or is measured on one box an expression."""
        found = tuple(sample for caption in self.captions for sample in caption.samples())
        return Dataset(self.name, self.split, found)


def whole(text: str, boxes: Iterable[Box], masks: Iterable[Mask] = (), category: str | None = None) -> Phrase:
    """The phrase that is all of a text."""
    return Phrase(((0, len(text)),), tuple(boxes), tuple(masks), category)


def spans_from(values: object) -> tuple[Span, ...]:
    """A list of [begin, end] as spans in their order, overlapping ones joined; DataError for anything else."""
    if not isinstance(values, list | tuple):
        raise DataError(f"spans {values!r} are not a list of [begin, end]")
    spans: list[Span] = []
    for begin, end in sorted(map(_span, values)):
        if spans and begin < spans[-1][1]:
            begin, end = spans[-1][0], max(end, spans.pop()[1])
        spans.append((begin, end))
    return tuple(spans)


def check_spans(spans: Sequence[Span]) -> None:
    """DataError unless each span has characters, and each begins where the one before it ends or later."""
    for begin, end in spans:
        if not 0 <= begin < end:
            raise DataError(f"span {(begin, end)} has no characters; a span is (first, after the last)")
    for before, after in pairwise(spans):
        if after[0] < before[1]:
            raise DataError(f"span {after} begins before {before} ends; spans are in their order")


def _span(value: object) -> Span:
    parts = list(value) if isinstance(value, list | tuple) else []
    if len(parts) != 2 or not all(type(part) is int for part in parts):
        raise DataError(f"span {value!r} is not two whole numbers")
    check_spans([(parts[0], parts[1])])
    return parts[0], parts[1]


def _check_polygons(polygons: tuple[Polygon, ...]) -> None:
    if not polygons:
        raise DataError("a mask has no polygon")
    for polygon in polygons:
        if len(polygon) % 2 or len(polygon) < 2 * CORNERS:
            raise DataError(f"a polygon of {len(polygon)} numbers; it is x, y of {CORNERS} corners or more")
        if not all(map(math.isfinite, polygon)):
            raise DataError("a polygon has a corner that is not finite")
