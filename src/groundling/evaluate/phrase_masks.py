"""The pixels that phrases mean: mean and cumulative IoU and Pr@0.5 … 0.9, as PhraseCut counts them.

Of masks, or of the regions that boxes cover; of all phrases and of PhraseCut's subsets.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from groundling.data.caption import CaptionSet
from groundling.data.mask import Mask as Annotated
from groundling.data.sample import Box
from groundling.evaluate.score import Score, Watch, by_image, collect, together, unwatched
from groundling.pictures.masks import Rle, encode
from groundling.protocols import phrasecut, phrasecut_subsets
from groundling.results import Detections, Segmentation

A = TypeVar("A", Segmentation, Detections)

Ask = Callable[[Path, Sequence[str]], Sequence[Segmentation]]  # an image, its phrases
AskBoxes = Callable[[Path, Sequence[str]], Sequence[Detections]]


class _Wanted(NamedTuple):
    """A phrase that is asked about, and all that it means."""

    image: Path
    words: str
    boxes: Sequence[Box]
    masks: Sequence[Annotated]
    subsets: Sequence[str]  # of what its caption says


class _True(NamedTuple):
    """What is true of each phrase: all that it means as one mask, and as boxes; and its subsets."""

    masks: Sequence[Rle]
    boxes: Sequence[Sequence[Box]]
    subsets: Sequence[tuple[str, ...]]


def overlap(captions: CaptionSet, ask: Ask, *, model: str = "", watch: Watch = unwatched) -> Score:
    """Overlap of what `ask` says of each phrase with the masks of all that it means, drawn as PhraseCut does.

    Phrases without masks are not asked about, all others of an image are at once. ValueError for a dataset
    without any, and for one whose masks have another size than its images.
    """

    def compare(found: Sequence[Segmentation], true: _True) -> phrasecut.PhraseCut:
        return phrasecut.mask_overlap([each.mask for each in found], true.masks, true.subsets)

    return _score(captions, ask, compare, model, watch)


def box_overlap(
    captions: CaptionSet,
    ask: AskBoxes,
    *,
    drawn: bool = False,
    model: str = "",
    watch: Watch = unwatched,
) -> Score:
    """The same of the regions that all boxes of an answer and all true ones cover; masks say a phrase's size.

    A box says as much as another, however sure it is: `ask` leaves out what is not sure enough. `drawn`: on
    whole pixels, as in `protocols.phrasecut`.
    """

    def compare(found: Sequence[Detections], true: _True) -> phrasecut.PhraseCut:
        boxes = [[each.box for each in one] for one in found]
        return phrasecut.box_overlap(boxes, true.boxes, true.subsets, drawn=drawn)

    return _score(captions, ask, compare, model, watch)


def _score(
    captions: CaptionSet,
    ask: Callable[[Path, Sequence[str]], Sequence[A]],
    compare: Callable[[Sequence[A], _True], phrasecut.PhraseCut],
    model: str,
    watch: Watch,
) -> Score:
    """What the protocol that compares says of answers beside all that the phrases mean."""
    wanted = _wanted(captions)
    told = together(wanted, lambda each: each.words, ask)
    answers = collect(told, len(wanted), captions.split, watch)
    masks = [
        _union(each.masks, found, f"phrase {index}")
        for index, (each, found) in enumerate(zip(wanted, answers.found, strict=True))
    ]
    true = _True(masks, [each.boxes for each in wanted], list(map(_subsets, wanted, masks)))
    return answers.score(captions.name, captions.split, model, compare(answers.found, true))


def _wanted(captions: CaptionSet) -> list[_Wanted]:
    wanted = by_image(
        _Wanted(
            each.image,
            each.text if each.referring else each.words(phrase),
            phrase.boxes,
            phrase.masks,
            each.subsets,
        )
        for each in captions.captions
        for phrase in each.phrases
        if phrase.masks
    )
    if not wanted:
        raise ValueError(
            f"{captions.name} {captions.split} has no masks: PhraseCut has, and captions whose phrases do"
        )
    return wanted


def _union(masks: Sequence[Annotated], answer: Segmentation | Detections, what: str) -> Rle:
    """Annotated masks as one, on an image of the size that the answer is of; each is decoded once."""
    first, *others = (_drawn(mask, answer.height, answer.width) for mask in masks)
    return encode(phrasecut.union((first, *others), what)) if others else first


def _subsets(wanted: _Wanted, mask: Rle) -> tuple[str, ...]:
    """The subsets of a phrase: what its caption says, how many it means and how large they are."""
    share = mask.area / (mask.height * mask.width)
    return *wanted.subsets, *phrasecut_subsets.of_instances(len(wanted.masks), share)


def _drawn(mask: Annotated, height: int, width: int) -> Rle:
    """An annotated mask on its image."""
    if isinstance(mask, Rle):
        return mask
    corners = [list(zip(polygon[::2], polygon[1::2], strict=True)) for polygon in mask]
    return encode(phrasecut.drawn(corners, height, width))
