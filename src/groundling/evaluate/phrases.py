"""Phrases of captions: Recall@1, 5 and 10 as Flickr30k Entities counts it."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from groundling.data.caption import Caption, CaptionSet, Span
from groundling.data.sample import Box
from groundling.evaluate.score import Score, Watch, by_image, collect, together, unwatched
from groundling.protocols import flickr
from groundling.results import CaptionGrounding, PhraseObjects

# An image, its captions, spans of each.
Ask = Callable[[Path, Sequence[str], Sequence[Sequence[Span]]], Sequence[CaptionGrounding]]


def recall(
    captions: CaptionSet, ask: Ask, *, model: str = "", protocol: str = "any", watch: Watch = unwatched
) -> Score:
    """Recall@k of the boxes that `ask` says of each span of a caption, the surest first.

    Captions without phrases are not asked about, all others of an image are at once; what is counted as an
    item is a caption. `protocol` is "any" or "merged", as in `protocols.flickr`. ValueError for captions
    without phrases that have a box.
    """

    def asked(image: Path, several: Sequence[tuple[str, Sequence[Span]]]) -> Sequence[CaptionGrounding]:
        return ask(image, [text for text, _ in several], [spans for _, spans in several])

    told = by_image(each for each in captions.captions if any(phrase.boxes for phrase in each.phrases))
    if not told:
        raise ValueError(f"{captions.name} {captions.split} has no phrases with boxes to evaluate")
    answers = collect(together(told, _said, asked), len(told), captions.split, watch)
    boxes: list[list[Box]] = []
    for caption, found in zip(told, answers.found, strict=True):
        spans = iter(found)
        boxes += [_boxes(list(islice(spans, len(phrase.spans)))) for phrase in caption.phrases]
    phrases = [phrase for caption in told for phrase in caption.phrases]
    truths, types = [phrase.boxes for phrase in phrases], [phrase.types for phrase in phrases]
    result = flickr.recall(boxes, truths, types, protocol=protocol)
    return answers.score(captions.name, captions.split, model, result)


def _said(caption: Caption) -> tuple[str, Sequence[Span]]:
    """What is asked of a caption: its text, and all spans of its phrases."""
    return caption.text, [span for phrase in caption.phrases for span in phrase.spans]


def _boxes(spans: Sequence[PhraseObjects]) -> list[Box]:
    """The boxes of a phrase, best first; one that several of its spans mean has the best of its scores."""
    if len(spans) == 1:
        return [each.box for each in spans[0].objects]
    best: dict[Box, float] = {}
    for each in (each for span in spans for each in span.objects):
        best[each.box] = max(each.score, best.get(each.box, 0.0))
    return sorted(best, key=lambda box: -best[box])
