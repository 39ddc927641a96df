"""What can be read of a dataset's folder, split by split, and what was left out of it and why."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from groundling.data import (
    CAPTIONS,
    available,
    has_objects,
    jsonl,
    load_objects,
    refer,
    stream_captions,
    transvg,
)
from groundling.data.caption import Caption
from groundling.data.image_folder import Sizes
from groundling.data.json_rows import Size
from groundling.data.rejects import Rejects
from groundling.data.sample import Box, DataError

SHOWN = 24  # annotated pictures that are kept of a split, drawn by chance
LOOKED_AT = 500  # pictures of a split whose sizes are looked at


@dataclass(frozen=True)
class Annotated:
    """A picture, and its boxes with what they are of."""

    image: Path
    boxes: tuple[tuple[str, Box], ...]


@dataclass(frozen=True)
class Checked:
    """A split: how much was read of it, or the error that it ended in."""

    dataset: str
    split: str
    items: int = 0  # pictures with all their objects, or else captions
    expressions: int = 0  # phrases that mean exactly one box
    phrases: int = 0
    boxes: int = 0
    images: frozenset[Path] = frozenset()
    smallest: Size | None = None  # of the pictures, by their area
    largest: Size | None = None
    shown: tuple[Annotated, ...] = ()
    rejects: Rejects = field(default_factory=Rejects, compare=False, repr=False)
    error: str | None = None

    objects: bool = False  # of categories, all of a picture's

    def lines(self) -> list[str]:
        """What was read, for people."""
        pictures = f"pictures: {len(self.images):,}"
        if self.smallest and self.largest:
            (w, h), (wide, high) = self.smallest, self.largest
            pictures += f", {w}x{h}" + (f" to {wide}x{high}" if (w, h) != (wide, high) else "") + " pixels"
        if self.objects:
            return [pictures, f"objects: {self.boxes:,}, categories: {self.phrases:,}"]
        said = f"captions or expressions: {self.items:,}, phrases: {self.phrases:,}, boxes: {self.boxes:,}"
        return [pictures, said, f"phrases that mean exactly one box: {self.expressions:,}"]


def splits_of(root: Path, dataset: str) -> list[str]:
    """The splits of a dataset in a folder; of a file the one that it is, and none of an unknown dataset."""
    if dataset == "jsonl":
        return jsonl.splits(root)
    if dataset in CAPTIONS:
        return CAPTIONS[dataset].splits(root)
    if dataset in transvg.DATASETS:
        return transvg.splits(root, dataset)
    known = dataset.partition("(")[0] in refer.DATASETS
    return refer.splits(root, dataset) if known else []


def check(
    root: Path, dataset: str | None = None, split: str | None = None, need_images: bool = True
) -> list[Checked]:
    """Every split of every dataset in a folder, or those that are named.

    A split that cannot be read has its `error`. Raises FileNotFoundError, or ValueError for a folder without
    any.
    """
    if not root.exists():
        raise FileNotFoundError(f"dataset folder not found: {root}")
    names = [dataset] if dataset else _in(root)
    if not names:
        raise ValueError(f"{root} holds no dataset in a known layout")
    found = [(name, part) for name in names for part in ([split] if split else splits_of(root, name))]
    if not found:
        raise ValueError(f"{root} has no split of {', '.join(names)}")
    return [_checked(root, name, part, need_images) for name, part in found]


def _in(root: Path) -> list[str]:
    if root.is_file():
        return ["csv" if root.suffix.lower() == ".csv" else "jsonl"]
    return available(root)


def shared_images(checked: Iterable[Checked]) -> list[tuple[str, str, int]]:
    """Splits of one dataset with pictures in common, and how many: what is trained on would be measured."""
    done = [each for each in checked if each.images]
    pairs = ((a, b) for n, a in enumerate(done) for b in done[n + 1 :] if a.dataset == b.dataset)
    return [(a.split, b.split, len(a.images & b.images)) for a, b in pairs if a.images & b.images]


def _checked(root: Path, dataset: str, split: str, look: bool) -> Checked:
    rejects = Rejects()
    try:
        count = _objects if has_objects(root, dataset, split) else _captions
        return count(root, dataset, split, rejects, look)
    except (ValueError, FileNotFoundError) as error:
        return Checked(dataset, split, rejects=rejects, error=str(error))


def _objects(root: Path, dataset: str, split: str, rejects: Rejects, look: bool) -> Checked:
    """All objects of pictures; crowds, which are no single object, are none of them."""
    content = load_objects(root, dataset, split, rejects, look)
    rejects.report(root, len(content.pictures))
    counts = _Counts(look)
    for picture in content.pictures:
        single = [each for each in picture.instances if not each.crowd]
        counts.picture(picture.image, [(content.categories[each.category], each.box) for each in single])
    names = len({each.category for picture in content.pictures for each in picture.instances})
    return counts.done(dataset, split, rejects, items=len(content.pictures), phrases=names, objects=True)


def _captions(root: Path, dataset: str, split: str, rejects: Rejects, look: bool) -> Checked:
    counts, items, phrases, expressions = _Counts(look), 0, 0, 0
    for caption in stream_captions(root, dataset, split, rejects, look):
        items, phrases = items + 1, phrases + len(caption.phrases)
        expressions += len(caption.samples())
        counts.picture(caption.image, _named(caption))
    return counts.done(dataset, split, rejects, items=items, phrases=phrases, expressions=expressions)


def _named(caption: Caption) -> list[tuple[str, Box]]:
    if caption.referring:
        return [(caption.text, box) for phrase in caption.phrases for box in phrase.boxes]
    return [(caption.words(phrase), box) for phrase in caption.phrases for box in phrase.boxes]


class _Counts:
    """Pictures and boxes as they come, and some of them to show."""

    def __init__(self, look: bool) -> None:
        self._look, self._chance = look, random.Random(0)
        self._images: dict[Path, None] = {}
        self._boxes = self._seen = 0
        self._shown: list[Annotated] = []

    def picture(self, image: Path, boxes: list[tuple[str, Box]]) -> None:
        """One more picture, or one more caption of it."""
        self._images[image] = None
        self._boxes += len(boxes)
        if not boxes:
            return
        self._seen += 1  # each of all that come is kept with the same chance
        place = self._seen - 1 if self._seen <= SHOWN else self._chance.randrange(self._seen)
        if place < SHOWN:
            self._shown[place : place + 1] = [Annotated(image, tuple(boxes))]

    def done(
        self,
        dataset: str,
        split: str,
        rejects: Rejects,
        *,
        items: int,
        phrases: int,
        expressions: int = 0,
        objects: bool = False,
    ) -> Checked:
        """What was counted."""
        sizes = sorted(self._sizes(), key=lambda size: size[0] * size[1])
        return Checked(
            dataset, split, items, expressions, phrases, self._boxes, frozenset(self._images),
            sizes[0] if sizes else None, sizes[-1] if sizes else None, tuple(self._shown), rejects,
            objects=objects,
        )  # fmt: skip

    def _sizes(self) -> list[Size]:
        images, sizes = list(self._images), Sizes()
        some = images[:: -(-len(images) // LOOKED_AT)] if self._look and images else []
        return [size for image in some if (size := _size(sizes, image)) is not None]


def _size(sizes: Sizes, image: Path) -> Size | None:
    try:
        return sizes.of(image)
    except DataError:  # it was said where it was read
        return None
