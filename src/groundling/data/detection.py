"""Batches for detection training: images of any size with all their objects, in DETR's random views.

As in `loader`, the batch of a step follows from the seed alone, and process r of w reads its slice of it.
Shapes: I images, padded to the largest of a batch, N objects, padded to the image with most.
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from groundling.data.loader import Cache, ThingNames, ThingTargets, order
from groundling.data.sample import Dataset, Thing
from groundling.pictures.boxes import xyxy_to_cxcywh
from groundling.pictures.images import open_image
from groundling.pictures.placement import Resize, Seen, scaled, together

Augment = Literal["none", "mirror", "detr"]


@dataclass(frozen=True)
class DetectionBatch:
    """Images and their objects; len() is the number of images."""

    images: Tensor  # (I, 3, H, W) uint8, each in the upper left
    shown: Tensor  # (I, H, W) bool, False is padding
    things: ThingTargets  # boxes are shares of their image, padding left aside
    names: tuple[str, ...]  # of the image files

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> "DetectionBatch":
        """The same batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "DetectionBatch":
        """The same batch in memory that a GPU can copy from while it computes."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "DetectionBatch":
        return replace(
            self, images=change(self.images), shown=change(self.shown), things=self.things.each(change)
        )


@dataclass(frozen=True)
class ObjectView:
    """An image, the boxes of its objects as shares of it (xyxy, (N, 4)), and which of its things they are."""

    image: Image.Image
    boxes_01: Tensor
    of: Tensor  # (N,) long

    def __post_init__(self) -> None:
        assert len(self.boxes_01) == len(self.of)


@dataclass(frozen=True)
class Views:
    """How an image is shown: `detr` draws a view as DETR does, `mirror` turns half of them, `none` none."""

    short_side: int
    long_side: int
    augment: Augment = "detr"

    def __call__(self, view: ObjectView, rng: random.Random) -> tuple[Seen, ObjectView]:
        """A view as the network is given it, and that view.

        DETR's pixels, made for a short side of 800, go with `short_side`: half of the views are scaled to
        480 … 800 and half are cut out first, a window of 384 to 600 of an image of 400, 500 or 600.
        """
        if self.augment != "none" and rng.random() < 0.5:
            view = mirrored(view)
        if self.augment != "detr":
            return self._seen(view, self.short_side)
        if rng.random() < 0.5:
            smaller = self._of_800(rng.choice((400, 500, 600)))
            view = replace(view, image=scaled(view.image, smaller, 1 << 20))
            view = cut(view, self._of_800(384), self._of_800(600), rng)
        short = self._of_800(rng.choice(range(480, 801, 32)))
        return self._seen(view, short)

    def _seen(self, view: ObjectView, short: int) -> tuple[Seen, ObjectView]:
        sides = Resize(short_side=min(short, self.long_side), long_side=self.long_side)
        return sides.see(view.image), view

    def _of_800(self, pixels: int) -> int:
        return max(1, round(pixels * self.short_side / 800))


def mirrored(view: ObjectView) -> ObjectView:
    """The mirror image."""
    x1, y1, x2, y2 = view.boxes_01.unbind(-1)
    boxes = torch.stack((1 - x2, y1, 1 - x1, y2), dim=-1)
    return replace(view, image=view.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), boxes_01=boxes)


def cut(view: ObjectView, least: int, most: int, rng: random.Random) -> ObjectView:
    """A window whose sides are drawn from least..most pixels; objects are cut with it, or gone."""
    width, height = view.image.size
    wide, high = (rng.randint(min(least, side), min(most, side)) for side in (width, height))
    left, top = rng.randint(0, width - wide), rng.randint(0, height - high)
    image = view.image.crop((left, top, left + wide, top + high))
    size, corner = torch.tensor([width, height] * 2), torch.tensor([left, top] * 2)
    boxes = (view.boxes_01 * size - corner) / torch.tensor([wide, high] * 2)
    return within(replace(view, image=image, boxes_01=boxes))


def within(view: ObjectView) -> ObjectView:
    """The parts of the boxes that lie in the image; objects with nothing in it are left out."""
    boxes = view.boxes_01.clamp(0, 1)
    there = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return replace(view, boxes_01=boxes[there], of=view.of[there])


@dataclass(frozen=True)
class DetectionExample:
    """One image of a step, and the seed of what is random about it."""

    image: Path
    seed: str


class DetectionSet:
    """A dataset's images ready to be asked for the batch of any step; also those without an object.

    names: the model's categories, in its order. ValueError where the dataset has others, has no objects, or
    has fewer images than a batch (with `repeat` they come several times).
    """

    def __init__(
        self,
        dataset: Dataset,
        names: ThingNames,
        views: Views,
        *,
        seed: int,
        images_per_batch: int,
        repeat: bool = False,
        cache_gib: float = 4.0,
    ) -> None:
        names.check(without_attributes(dataset))
        images = tuple(dataset.things)
        if len(images) < images_per_batch:
            if not repeat:
                raise ValueError(
                    f"{len(images)} images in {dataset.name} {dataset.split}, {images_per_batch} in a batch; "
                    "set images_per_batch to what there is or less, or data.repeat to true"
                )
            images *= -(-images_per_batch // len(images))
        self.dataset, self.images, self.names, self.views = dataset, images, names, views
        self.seed, self.images_per_batch = seed, images_per_batch
        self.steps_per_epoch = len(images) // images_per_batch
        self.originals = Cache(
            lambda path: np.asarray(open_image(path)), lambda pixels: pixels.nbytes, int(cache_gib * 2**30)
        )

    def examples(self, step: int) -> list[DetectionExample]:
        """The global batch of a step: its images in order."""
        epoch, position = divmod(step, self.steps_per_epoch)
        first = position * self.images_per_batch
        chosen = order(self.seed, epoch, len(self.images))[first : first + self.images_per_batch]
        return [DetectionExample(self.images[index], f"{self.seed}/{epoch}/{index}") for index in chosen]

    def collate(self, examples: Sequence[DetectionExample]) -> DetectionBatch:
        """Examples as tensors."""
        shown = [self._view(example) for example in examples]
        batch = together([seen for seen, _ in shown])
        things = self._targets([view for _, view in shown], [example.image for example in examples])
        return DetectionBatch(
            batch.pixels, batch.shown, things, tuple(example.image.name for example in examples)
        )

    def _view(self, example: DetectionExample) -> tuple[Seen, ObjectView]:
        image = Image.fromarray(self.originals.get(example.image))
        things = self.dataset.things[example.image]
        boxes = torch.tensor([thing.box for thing in things], dtype=torch.float64).reshape(-1, 4)
        boxes_01 = (boxes / torch.tensor([image.width, image.height] * 2)).float()
        whole = within(ObjectView(image, boxes_01, torch.arange(len(things))))
        return self.views(whole, random.Random(example.seed))

    def _targets(self, views: Sequence[ObjectView], images: Sequence[Path]) -> ThingTargets:
        most = max(1, *(len(view.of) for view in views))
        targets = ThingTargets(
            torch.zeros(len(views), most, 4),
            torch.full((len(views), most), -1),
            torch.zeros(len(views), most, 0),
            torch.tensor([len(view.of) for view in views]),
        )
        for row, (view, image) in enumerate(zip(views, images, strict=True)):
            things = [self.dataset.things[image][index].category for index in view.of.tolist()]
            numbers = [self.names.categories.index(category) for category in things]
            targets.boxes_cxcywh01[row, : len(things)] = xyxy_to_cxcywh(view.boxes_01)
            targets.categories[row, : len(things)] = torch.tensor(numbers, dtype=torch.long)
        return targets


def without_attributes(dataset: Dataset) -> Dataset:
    """The same objects, of which only category and box are known."""
    things = {path: tuple(Thing(t.category, t.box) for t in found) for path, found in dataset.things.items()}
    return replace(dataset, things=things)


def fingerprint(dataset: Dataset) -> str:
    """SHA-256 of what a dataset says of its objects, wherever its files lie."""
    digest = hashlib.sha256()
    for image, things in dataset.things.items():
        said = "\t".join(f"{thing.category} {thing.box}" for thing in things)
        digest.update(f"{image.name}\t{said}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()
