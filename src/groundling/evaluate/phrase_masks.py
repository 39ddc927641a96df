"""The pixels that phrases mean: mean and cumulative IoU and Pr@0.5 … 0.9, as PhraseCut counts them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from groundling.data.caption import CaptionSet
from groundling.data.mask import Mask as Annotated
from groundling.evaluate.score import Score, Watch, by_image, collect, together, unwatched
from groundling.masks import Rle, encode
from groundling.protocols import phrasecut
from groundling.results import Segmentation

Ask = Callable[[Path, Sequence[str]], Sequence[Segmentation]]  # an image, its phrases


class _Wanted(NamedTuple):
    """A phrase that is asked about, and all that it means."""

    image: Path
    words: str
    masks: Sequence[Annotated]


def overlap(captions: CaptionSet, ask: Ask, *, model: str = "", watch: Watch = unwatched) -> Score:
    """Overlap of what `ask` says of each phrase with the masks of all that it means, drawn as PhraseCut does.

    Phrases without masks are not asked about, all others of an image are at once. ValueError for a dataset
    without any, and for one whose masks have another size than its images.
    """

    def asked(image: Path, several: Sequence[_Wanted]) -> Sequence[Segmentation]:
        return ask(image, [each.words for each in several])

    wanted = by_image(
        _Wanted(each.image, each.text if each.referring else each.words(phrase), phrase.masks)
        for each in captions.captions
        for phrase in each.phrases
        if phrase.masks
    )
    if not wanted:
        raise ValueError(
            f"{captions.name} {captions.split} has no masks: PhraseCut has, and captions whose phrases do"
        )
    answers = collect(together(wanted, asked), len(wanted), captions.split, watch)
    truths = [
        [_drawn(mask, found.height, found.width) for mask in each.masks]
        for each, found in zip(wanted, answers.found, strict=True)
    ]
    result = phrasecut.mask_overlap([found.mask for found in answers.found], truths)
    return answers.score(captions.name, captions.split, model, result)


def _drawn(mask: Annotated, height: int, width: int) -> Rle:
    """An annotated mask on its image."""
    if isinstance(mask, Rle):
        return mask
    corners = [list(zip(polygon[::2], polygon[1::2], strict=True)) for polygon in mask]
    return encode(phrasecut.drawn(corners, height, width))
