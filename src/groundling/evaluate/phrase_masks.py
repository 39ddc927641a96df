"""The pixels that phrases mean: mean and cumulative IoU and Pr@0.5 … 0.9, as PhraseCut counts them.

Of masks, or of the regions that boxes cover; of all phrases and of PhraseCut's subsets.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from groundling.data.caption import CaptionSet
from groundling.data.mask import Mask as Annotated
from groundling.data.sample import Box
from groundling.evaluate.score import Score, Watch, by_image, collect, together, unwatched
from groundling.masks import Rle, encode
from groundling.protocols import phrasecut, phrasecut_subsets
from groundling.results import Detections, Segmentation

Ask = Callable[[Path, Sequence[str]], Sequence[Segmentation]]  # an image, its phrases
AskBoxes = Callable[[Path, Sequence[str]], Sequence[Detections]]


class _Wanted(NamedTuple):
    """A phrase that is asked about, and all that it means."""

    image: Path
    words: str
    boxes: Sequence[Box]
    masks: Sequence[Annotated]
    subsets: Sequence[str]  # of what its caption says


def overlap(captions: CaptionSet, ask: Ask, *, model: str = "", watch: Watch = unwatched) -> Score:
    """Overlap of what `ask` says of each phrase with the masks of all that it means, drawn as PhraseCut does.

    Phrases without masks are not asked about, all others of an image are at once. ValueError for a dataset
    without any, and for one whose masks have another size than its images.
    """

    def asked(image: Path, several: Sequence[_Wanted]) -> Sequence[Segmentation]:
        return ask(image, [each.words for each in several])

    wanted = _wanted(captions)
    answers = collect(together(wanted, asked), len(wanted), captions.split, watch)
    truths = _truths(wanted, answers.found)
    masks = [found.mask for found in answers.found]
    result = phrasecut.mask_overlap(masks, truths, _subsets(wanted, truths))
    return answers.score(captions.name, captions.split, model, result)


def box_overlap(captions: CaptionSet, ask: AskBoxes, *, model: str = "", watch: Watch = unwatched) -> Score:
    """The same of the regions that all boxes of an answer and all true ones cover; masks say a phrase's size.

    A box says as much as another, however sure it is: `ask` leaves out what is not sure enough.
    """

    def asked(image: Path, several: Sequence[_Wanted]) -> Sequence[Detections]:
        return ask(image, [each.words for each in several])

    wanted = _wanted(captions)
    answers = collect(together(wanted, asked), len(wanted), captions.split, watch)
    subsets = _subsets(wanted, _truths(wanted, answers.found))
    boxes = [[each.box for each in found] for found in answers.found]
    result = phrasecut.box_overlap(boxes, [each.boxes for each in wanted], subsets)
    return answers.score(captions.name, captions.split, model, result)


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


def _truths(wanted: Sequence[_Wanted], answers: Sequence[Segmentation | Detections]) -> list[list[Rle]]:
    """The true masks of each phrase, on images of the size that the answers are of."""
    return [
        [_drawn(mask, found.height, found.width) for mask in each.masks]
        for each, found in zip(wanted, answers, strict=True)
    ]


def _subsets(wanted: Sequence[_Wanted], truths: Sequence[Sequence[Rle]]) -> list[tuple[str, ...]]:
    """The subsets of each phrase: what its caption says, how many it means and how large they are."""
    found = []
    for index, (each, masks) in enumerate(zip(wanted, truths, strict=True)):
        share = float(phrasecut.union(masks, f"phrase {index}").mean())
        found.append((*each.subsets, *phrasecut_subsets.of_instances(len(masks), share)))
    return found


def _drawn(mask: Annotated, height: int, width: int) -> Rle:
    """An annotated mask on its image."""
    if isinstance(mask, Rle):
        return mask
    corners = [list(zip(polygon[::2], polygon[1::2], strict=True)) for polygon in mask]
    return encode(phrasecut.drawn(corners, height, width))
