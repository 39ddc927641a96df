"""Batches of captions for MDETR: images, words, and the boxes, masks and answers that the words mean.

As in `loader`, the batch of a step follows from the seed alone, and process r of w reads its slice of it.
Shapes: I images, E captions (each points at its image), L tokens, N objects (padded to the caption with
most), C token slots and one for "no object", H × W pixels of the network's input.
"""

import hashlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from groundling.data.caption import Answer, Caption, CaptionSet, Span
from groundling.data.image_folder import Sizes
from groundling.data.loader import Example, Ordered, Plan, by_image, pictures, shares
from groundling.data.mask import Mask
from groundling.data.rejects import Rejects
from groundling.data.sample import Box, DataError
from groundling.data.transforms import flip_spans, flip_words
from groundling.losses.modulated import Targets
from groundling.models.answers import AnswersConfig
from groundling.pictures import masks
from groundling.pictures.masks import Rle
from groundling.pictures.placement import Framing, Placement, Seen, together
from groundling.words.byte_pairs import ByteTokenizer
from groundling.words.phrases import positive_map

NO_QUESTION = (-1, -1)
UNKNOWN = "unknown"  # GQA's answer for all that is none of the others


@dataclass(frozen=True)
class CaptionBatch:
    """Images and the captions about them; len() is the number of captions."""

    images: Tensor  # (I, 3, H, W) uint8
    shown: Tensor  # (I, H, W) bool, False is padding
    image_index: Tensor  # (E,) long: which image each caption is about
    ids: Tensor  # (E, L) long
    padding: Tensor  # (E, L) bool, True is padding
    targets: Targets
    names: tuple[str, ...]  # caption ids

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> "CaptionBatch":
        """The same batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "CaptionBatch":
        """The same batch in memory that a GPU can copy from while it computes."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "CaptionBatch":
        return CaptionBatch(
            change(self.images),
            change(self.shown),
            change(self.image_index),
            change(self.ids),
            change(self.padding),
            self.targets.each(change),
            self.names,
        )


@dataclass(frozen=True)
class Goal:
    """A box to be found, the words that mean it, its mask and whether it is final, where they are known."""

    spans: tuple[Span, ...]
    box: Box
    mask: Mask | None
    final: bool | None = None


@dataclass(frozen=True)
class Learned:
    """What a model learns of captions: `columns` (C), and what it has heads for: masks, answers, finals.

    ValueError for answers that are known by number only.
    """

    columns: int
    masks: bool = False
    answers: AnswersConfig | None = None
    final: bool = False

    def __post_init__(self) -> None:
        silent = [kind.name for kind in self.answers.kinds if not kind.words] if self.answers else []
        if silent:
            raise ValueError(
                f"the model knows its answers of {', '.join(silent)} by number only: "
                "give model.answers their words"
            )

    def answer(self, caption: Caption) -> tuple[int, int]:
        """(type, answer among those of its type), NO_QUESTION for a caption that is none.

        DataError for an answer that the model does not know.
        """
        if self.answers is None or caption.answer is None:
            return NO_QUESTION
        kinds = {kind.name: kind for kind in self.answers.kinds}
        text, sort = caption.answer.text, caption.answer.kind
        if self.answers.types and sort not in kinds:
            raise DataError(f"the model answers no question of kind {sort!r}, but {', '.join(kinds)}")
        kind = kinds[sort] if self.answers.types and sort else self.answers.kinds[0]
        if text not in kind.words and UNKNOWN in kind.words:  # as MDETR's authors train on GQA
            text = UNKNOWN
        if text not in kind.words:
            raise DataError(
                f"{text!r} is none of the {len(kind.words)} answers of {kind.name} that are known"
            )
        place = self.answers.types.index(kind.name) if self.answers.types else 0
        return place, kind.words.index(text)


class CaptionTrainingSet(Ordered[Caption]):
    """Captions ready to be asked for the batch of any step.

    A caption that the model cannot learn is left out and counted in `left_out`, and told in a DataWarning:
    one that is longer than the tokenizer's limit, whose spans have no token, with an unknown answer, with
    masks that do not fit its image, or that does not say which objects are final where the model learns that;
    where the plan mirrors, also one of which that is true in the mirror. DataError where none is left.
    framing: how the model sees pictures. cache_gib: memory for decoded images; what does not fit is decoded
    again each time.
    """

    def __init__(
        self,
        captions: CaptionSet,
        tokenizer: ByteTokenizer,
        framing: Framing,
        plan: Plan,
        learned: Learned,
        *,
        cache_gib: float = 4.0,
    ) -> None:
        name, rejects = f"{captions.name} {captions.split}", Rejects("captions")
        named = ((f"caption {caption.id}", caption) for caption in captions.captions)
        usable = partial(_learnable, tokenizer, learned, plan.mirror, Sizes())
        kept = tuple(rejects.usable(named, usable))
        rejects.report(name, len(kept))
        super().__init__(by_image(kept), plan, name, "images")
        self.tokenizer, self.learned = tokenizer, learned
        self.left_out = captions.left_out + rejects.count
        self.seen = pictures(framing, int(cache_gib * 2**30))

    def collate(self, examples: Sequence[Example[Caption]]) -> CaptionBatch:
        """Examples as tensors."""
        shown, captions, placements = list[Seen](), list[Caption](), list[Placement]()
        for example in examples:
            seen = self.seen.get(example.image)
            shown.append(seen.mirrored() if example.mirror else seen)
            captions += map(mirrored, example.samples) if example.mirror else example.samples
            placements += [seen.placement] * len(example.samples)
        batch = together(shown)
        tokens = self.tokenizer.encode([caption.text for caption in captions])
        turned = [example.mirror for example in examples for _ in example.samples]
        return CaptionBatch(
            images=batch.pixels,
            shown=batch.shown,
            image_index=torch.tensor([i for i, e in enumerate(examples) for _ in e.samples]),
            ids=tokens.ids,
            padding=tokens.padding,
            targets=self._targets(captions, placements, turned, tokens.ids.shape[1]),
            names=tuple(caption.id for caption in captions),
        )

    def _targets(
        self,
        captions: Sequence[Caption],
        placements: Sequence[Placement],
        turned: Sequence[bool],
        length: int,
    ) -> Targets:
        """Objects of each caption, where they lie before `turned` ones are mirrored."""
        found = [goals(caption) for caption in captions]
        most = max(1, *map(len, found))
        boxes = torch.zeros(len(found), most, 4)
        positive = torch.zeros(len(found), most, self.learned.columns)
        for row, own in enumerate(found):
            offsets = self.tokenizer.offsets(captions[row].text)
            words = positive_map([goal.spans for goal in own], offsets, self.learned.columns)
            positive[row, : len(own)] = words
            boxes[row, : len(own)] = shares([goal.box for goal in own], placements[row], turned[row])
        targets = Targets(boxes, torch.tensor([*map(len, found)]), positive, positive[..., :length] > 0)
        if self.learned.final:
            final = torch.zeros(len(found), most)
            for row, own in enumerate(found):
                final[row, : len(own)] = torch.tensor([float(bool(goal.final)) for goal in own])
            targets = replace(targets, final=final)
        if self.learned.masks:
            drawn, masked = self._masks(found, placements, turned, most)
            targets = replace(targets, masks=drawn, masked=masked)
        if self.learned.answers is not None:
            types, answers = torch.tensor([self.learned.answer(caption) for caption in captions]).T
            targets = replace(targets, answers=answers, types=types if self.learned.answers.types else None)
        return targets

    def _masks(
        self,
        found: Sequence[Sequence[Goal]],
        placements: Sequence[Placement],
        turned: Sequence[bool],
        most: int,
    ) -> tuple[Tensor, Tensor]:
        """The masks (E, N, H, W) on the network's input, and which objects have one (E, N)."""
        high = max(place.canvas_height for place in placements)
        wide = max(place.canvas_width for place in placements)
        drawn = torch.zeros(len(found), most, high, wide, dtype=torch.bool)
        masked = torch.zeros(len(found), most, dtype=torch.bool)
        for row, own in enumerate(found):
            for place, goal in enumerate(own):
                if goal.mask is not None:
                    mask = placed_mask(goal.mask, placements[row])
                    own_high, own_wide = mask.shape
                    drawn[row, place, :own_high, :own_wide] = mask.flip(-1) if turned[row] else mask
                    masked[row, place] = True
        return drawn, masked


def goals(caption: Caption) -> tuple[Goal, ...]:
    """Each box of a caption once, with the words of all phrases that mean it (MDETR's tokens_positive)."""
    found: dict[Box, Goal] = {}
    for phrase in caption.phrases:
        unknown = [None] * len(phrase.boxes)
        for box, mask, final in zip(
            phrase.boxes, phrase.masks or unknown, phrase.finals or unknown, strict=True
        ):
            before = found.get(box, Goal((), box, None))
            either = before.final if final is None else bool(final or before.final)
            found[box] = Goal((*before.spans, *phrase.spans), box, mask or before.mask, either)
    return tuple(found.values())


def mirrored(caption: Caption) -> Caption:
    """The caption that is true of the mirror image; its boxes and masks stay in pixels of the image itself.

    Left and right are swapped in its words and in its answer, and the spans follow.
    """
    text = flip_words(caption.text)
    phrases = tuple(replace(p, spans=flip_spans(caption.text, p.spans)[1]) for p in caption.phrases)
    answer = caption.answer and replace(caption.answer, text=flip_words(caption.answer.text))
    negatives = flip_spans(caption.text, caption.negatives)[1]
    return replace(caption, text=text, phrases=phrases, answer=answer, negatives=negatives)


def placed_mask(mask: Mask, placement: Placement) -> Tensor:
    """A mask of an image where the image lies in the network's input, bool (H, W).

    Polygons are scaled and filled there; run lengths are pixels, of which each of the input takes the
    nearest. DataError for run lengths of another image's size.
    """
    size = placement.canvas_height, placement.canvas_width
    if not isinstance(mask, Rle):
        scale = np.array((placement.scale_x, placement.scale_y))
        corner = np.array((placement.left, placement.top))
        moved = [(np.reshape(polygon, (-1, 2)) * scale + corner).ravel() for polygon in mask]
        return torch.from_numpy(masks.from_polygons([polygon.tolist() for polygon in moved], *size))
    _check_fits(mask, placement.width, placement.height)
    pixels = Image.fromarray(masks.decode(mask))
    whole = torch.zeros(size, dtype=torch.bool)
    shown = np.array(pixels.resize((placement.wide, placement.high), Image.Resampling.NEAREST))
    whole[placement.part] = torch.from_numpy(shown)
    return whole


def fingerprint(captions: CaptionSet) -> str:
    """SHA-256 of what captions say, wherever their files lie."""
    digest = hashlib.sha256()
    for caption in captions.captions:
        said = [
            (phrase.spans, phrase.boxes, phrase.category, *[phrase.finals] * bool(phrase.finals))
            for phrase in caption.phrases
        ]
        digest.update(
            f"{caption.id}\t{caption.image.name}\t{caption.text}\t{said}".encode(errors="surrogatepass")
        )
        digest.update(f"\t{_learned(caption.answer)}\t{caption.referring}\n".encode())
        for mask in (mask for phrase in caption.phrases for mask in phrase.masks):
            numbers = [mask.counts] if isinstance(mask, Rle) else mask
            for polygon in numbers:
                digest.update(array("d", polygon).tobytes() + b"\n")
    return digest.hexdigest()


def _learned(answer: Answer | None) -> str:
    """What is learned of an answer: not its detailed kind, which is measured by."""
    if answer is None:
        return "None"
    return f"Answer(text={answer.text!r}, kind={answer.kind!r}, boxes={answer.boxes!r})"


def _learnable(
    tokenizer: ByteTokenizer, learned: Learned, mirror: bool, sizes: Sizes, caption: Caption
) -> Caption:
    """The caption; DataError where it, or its mirror image, cannot be learned."""
    for shown in (caption, mirrored(caption)) if mirror else (caption,):
        learned.answer(shown)
        spans = [goal.spans for goal in goals(shown)]
        try:
            positive_map(spans, tokenizer.offsets(shown.text), learned.columns)
        except ValueError as error:
            raise DataError(str(error)) from error
    if learned.final and any(goal.final is None for goal in goals(caption)):
        raise DataError("the model learns which objects are final, and the caption does not say (finals)")
    if learned.masks:
        check_masks(caption, sizes)
    return caption


def check_masks(caption: Caption, sizes: Sizes) -> None:
    """DataError for a mask of another size than that of the caption's image."""
    for mask in (mask for phrase in caption.phrases for mask in phrase.masks):
        if isinstance(mask, Rle):
            _check_fits(mask, *sizes.of(caption.image))


def _check_fits(mask: Rle, width: int, height: int) -> None:
    if (mask.height, mask.width) != (height, width):
        raise DataError(
            f"a mask of {mask.height}x{mask.width} pixels, height first, is not of an image of "
            f"{height}x{width}"
        )
