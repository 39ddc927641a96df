"""Text with phrases: what captions, questions and lists of classes become, whatever format they came in."""

import reprlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from groundling.data.mask import Mask, check_mask
from groundling.data.rejects import Rejects
from groundling.data.sample import (
    Box,
    DataError,
    Dataset,
    Sample,
    check_box,
    check_unicode,
    check_words,
    spread,
)
from groundling.words.text import normalised

SAME_ID = "captions that have the id of another, both kept"

Span = tuple[int, int]  # characters of a text, from the first to before the second


@dataclass(frozen=True)
class Phrase:
    """What some of a text's words mean: every box of it, and the mask of each where they are known.

    No box at all says that the words name something which is not in the image. `finals` say of each box
    whether it is what the text asks for, or only mentioned on the way; empty where that is not known.
    """

    spans: tuple[Span, ...]
    boxes: tuple[Box, ...]
    masks: tuple[Mask, ...] = ()
    category: str | None = None
    finals: tuple[bool, ...] = ()

    @property
    def types(self) -> tuple[str, ...]:
        """Its categories: Flickr30k Entities writes several as "people/clothing"."""
        return tuple(filter(None, (self.category or "").split("/")))

    def __post_init__(self) -> None:
        check_unicode(self.category, "category")
        check_spans(self.spans)
        if not self.spans:
            raise DataError("a phrase has no span")
        for box in self.boxes:
            check_box(box)
        if self.masks and len(self.masks) != len(self.boxes):
            raise DataError(f"a phrase has {len(self.masks)} masks for {len(self.boxes)} boxes")
        if self.finals and len(self.finals) != len(self.boxes):
            raise DataError(f"a phrase has {len(self.finals)} finals for {len(self.boxes)} boxes")
        for mask in self.masks:
            check_mask(mask)


@dataclass(frozen=True)
class Answer:
    """The answer to a question; its kind where the format sorts them, and the boxes of what it names.

    `detailed` is a finer kind, as GQA's `types.detailed`; it is measured by, and nothing learns it.
    """

    text: str
    kind: str | None = None
    boxes: tuple[Box, ...] = ()
    detailed: str | None = None

    def __post_init__(self) -> None:
        check_unicode(self.text, "answer")
        if not self.text.strip():
            raise DataError("the answer is empty")
        for box in self.boxes:
            check_box(box)


@dataclass(frozen=True)
class Caption:
    """A text about an image, the phrases in it, and its answer where it is a question.

    A `referring` caption is one expression: all of it says which object its one phrase is, of which the
    phrase may hold only the noun. `negatives` are the spans that MDETR calls negative tokens, `subsets` the
    parts of its dataset that it is measured in too.
    """

    id: str
    image: Path
    text: str
    phrases: tuple[Phrase, ...] = ()
    answer: Answer | None = None
    negatives: tuple[Span, ...] = ()
    referring: bool = False
    subsets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_words(self.text, "caption")
        check_unicode(self.id, "id")
        if self.referring and len(self.phrases) != 1:
            raise DataError(f"an expression refers to one object; it has {len(self.phrases)} phrases")
        check_spans(self.negatives)
        spans = [span for phrase in self.phrases for span in phrase.spans]
        for begin, end in (*spans, *self.negatives):
            if end > len(self.text):
                raise DataError(f"span {(begin, end)} leaves the caption of {len(self.text)} characters")
        for begin, end in spans:
            if not normalised(self.text[begin:end]).text:
                raise DataError(f"span {(begin, end)} of the caption is blank")

    def words(self, phrase: Phrase) -> str:
        """The words of a phrase of this caption; its spans, where there are several, one after the other."""
        return " ".join(self.text[begin:end] for begin, end in phrase.spans)

    def said(self, phrase: Phrase) -> str:
        """What is asked for a phrase: its words, or all of a referring caption."""
        return self.text if self.referring else self.words(phrase)

    def samples(self) -> tuple[Sample, ...]:
        """Each phrase that means exactly one box, as an expression; a referring caption as a whole."""
        single = [(n, phrase) for n, phrase in enumerate(self.phrases) if len(phrase.boxes) == 1]
        if self.referring:
            return tuple(Sample(self.id, self.image, self.text, p.boxes[0], p.category) for _, p in single)
        return tuple(
            Sample(f"{self.id}-{n}", self.image, self.words(phrase), phrase.boxes[0], phrase.category)
            for n, phrase in single
        )


@dataclass(frozen=True)
class CaptionSet:
    """The captions of one split, and how many rows of its files were left out."""

    name: str
    split: str
    captions: tuple[Caption, ...]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.captions)

    def limited(self, limit: int | None) -> "CaptionSet":
        """At most `limit` captions, evenly spread over all: neighbours are often of one image."""
        return replace(self, captions=spread(self.captions, limit, "captions"))

    def samples(self) -> Dataset:
        """The expressions in these captions, for what learns or is measured on one box an expression."""
        found = tuple(sample for caption in self.captions for sample in caption.samples())
        return Dataset(self.name, self.split, found, left_out=self.left_out)


def once(captions: Iterable[Caption], rejects: Rejects) -> Iterator[Caption]:
    """The captions, of those that come twice in every respect the first; others of one id are noted.

    Hashes are kept of them, and not they themselves: a split may be larger than memory.
    """
    seen: dict[int, int] = {}
    for caption in captions:
        identity, content = hash(caption.id), hash(caption)
        if identity not in seen:
            seen[identity] = content
        elif seen[identity] == content:
            rejects.add(f"caption {caption.id}", DataError("it comes twice"))
            continue
        else:
            rejects.note(SAME_ID, f"caption {caption.id}", repr(caption.text))
        yield caption


def referring(sample: Sample) -> Caption:
    """An expression as a caption that is one phrase."""
    phrase = whole(sample.expression, [sample.box], category=sample.category)
    return Caption(sample.id, sample.image, sample.expression, (phrase,), referring=True)


def whole(text: str, boxes: Iterable[Box], masks: Iterable[Mask] = (), category: str | None = None) -> Phrase:
    """The phrase that is all of a text."""
    return Phrase(((0, len(text)),), tuple(boxes), tuple(masks), category)


def spans_from(values: object) -> tuple[Span, ...]:
    """A list of [begin, end] as spans in their order, overlapping ones joined; DataError for all else."""
    if not isinstance(values, list | tuple):
        raise DataError(f"spans {reprlib.repr(values)} are not a list of [begin, end]")
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
        raise DataError(f"span {reprlib.repr(value)} is not two whole numbers")
    check_spans([(parts[0], parts[1])])
    return parts[0], parts[1]
