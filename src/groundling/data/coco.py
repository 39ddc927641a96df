"""COCO's instances and LVIS: images with the boxes and masks of their categories.

    ROOT/annotations/instances_val2017.json or lvis_v1_val.json, or the same in ROOT
    ROOT/val2017/*.jpg, ROOT/images/val2017/*.jpg, or ROOT/images/*.jpg
An image without a file_name, as LVIS has them, is named by the end of its coco_url: val2017/000000397133.jpg.
Sources: cocodataset.org, lvisdataset.org.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from groundling.data.caption import Caption, whole
from groundling.data.image_folder import ImageFolder
from groundling.data.json_rows import checked, field, number, optional, rows, size_of
from groundling.data.mask import Mask, mask_from
from groundling.data.sample import Box, DataError, Dataset, Rejects, Thing, box_from_xywh, check_box

# What the files of each dataset are called, longest first; what follows names the split.
DATASETS = {"coco": ("instances_",), "lvis": ("lvis_v1_", "lvis_")}


@dataclass(frozen=True)
class Instance:
    """One annotation; a crowd is a region of many objects, not one."""

    id: int
    category: int
    box: Box
    mask: Mask | None = None
    crowd: bool = False
    area: float | None = None  # pixels of the mask, as the file counts them


@dataclass(frozen=True)
class Picture:
    """An image with its annotations; categories are the file's own numbers.

    LVIS says which categories were looked for and are not there (`negative`), and of which not all objects
    are annotated (`not_exhaustive`); a category of which an annotation was left out is among the latter.
    """

    id: int
    image: Path
    size: tuple[int, int]  # width, height
    instances: tuple[Instance, ...]
    negative: tuple[int, ...] = ()
    not_exhaustive: tuple[int, ...] = ()


@dataclass(frozen=True)
class Instances:
    """An annotation file: the names of its categories by their numbers, and its images.

    LVIS says of a category whether it is rare ("r"), common ("c") or frequent ("f").
    """

    categories: Mapping[int, str]
    pictures: tuple[Picture, ...]
    frequencies: Mapping[int, str] = dataclasses.field(default_factory=dict)


def load(root: Path, dataset: str, split: str, rejects: Rejects, need_images: bool = True) -> Instances:
    """All images of a split, also those without annotations; what cannot be used is left out."""
    file = _file(root, dataset, split)
    places = [root / split, root / "images" / split, root / "images", root]
    folder = ImageFolder.among(places, look=need_images)
    content = _Content()
    for key, row in rows(file):
        try:
            content.add(key, row)
        except DataError as error:
            rejects.add(row_name(key, row), error)
            content.miss(row)
    if not content.images or not content.categories:
        raise DataError(f"{file}: not a COCO instances file: it has no images or no categories")
    for image in content.instances.keys() - content.images.keys():
        for instance in content.instances[image]:
            rejects.add(f"annotation {instance.id}", DataError(f"image {image} has no entry"))
    images = ((f"image {image}", row) for image, row in content.images.items())
    pictures = rejects.usable(images, lambda row: content.picture(row, folder, rejects))
    return Instances(content.categories, tuple(pictures), content.frequencies)


def read(root: Path, dataset: str, split: str, need_images: bool = True) -> Dataset:
    """The names of categories of which an image has exactly one object, as expressions; and all objects.

    There may be no such image: detectors are taught by the objects alone.
    """
    rejects = Rejects()
    content = load(root, dataset, split, rejects, need_images)
    rejects.report(root, kept=len(content.pictures))
    captions = (caption for picture in content.pictures for caption in _captions(picture, content.categories))
    samples = tuple(sample for caption in captions for sample in caption.samples())
    things = {picture.image: _things(picture, content.categories) for picture in content.pictures}
    return Dataset(dataset, split, samples, things, rejects.count)


def stream(
    root: Path, split: str, rejects: Rejects, need_images: bool = True, dataset: str = "coco"
) -> Iterator[Caption]:
    """A caption for each image and category: the category's name, and all of its boxes and masks there.

    For the categories that LVIS says are not there, it has no box. A category is left out of an image where
    not all of its objects are known as such: it has a crowd, or is not exhaustively annotated.
    """
    content = load(root, dataset, split, rejects, need_images)
    for picture in content.pictures:
        yield from _captions(picture, content.categories)


def splits(root: Path, dataset: str = "coco") -> list[str]:
    """The splits that there are."""
    return sorted(_files(root, dataset))


def clean_name(category: str) -> str:
    """A category's name as people write it: LVIS has "dish_(container)"."""
    return category.split("(")[0].replace("_", " ").strip() or category


def row_name(key: str, row: object) -> str:
    """What a row of an annotation file is called where it is left out."""
    noun = {"images": "image", "categories": "category"}.get(key, "annotation")
    return f"{noun} {row.get('id') if isinstance(row, dict) else None}"


def once(rows: dict[int, object], number: int, row: object) -> None:
    """Put a row under its number; DataError for a second one."""
    if number in rows:
        raise DataError("its id comes twice")
    rows[number] = row


class _Content:
    """The three lists of an annotation file, in whatever order they come."""

    def __init__(self) -> None:
        self.images: dict[int, object] = {}
        self.instances: dict[int, list[Instance]] = {}
        self.categories: dict[int, str] = {}
        self.frequencies: dict[int, str] = {}
        self._seen: dict[int, object] = {}
        self._missed: dict[int, list[int]] = {}  # categories of annotations that were left out, by image

    def add(self, key: str, row: object) -> None:
        if key == "images":
            once(self.images, field(row, "id", int), row)
        elif key == "annotations":
            instance = _instance(row)
            once(self._seen, instance.id, row)
            self.instances.setdefault(field(row, "image_id", int), []).append(instance)
        elif key == "categories":
            identity, name = field(row, "id", int), field(row, "name", str)
            if not name.strip():
                raise DataError("its name is blank")
            self.categories[identity] = name
            if frequency := optional(row, "frequency", str):
                self.frequencies[identity] = frequency

    def miss(self, row: object) -> None:
        """Remember of which category in which image an annotation is missing, if it says so."""
        image, category = (
            row.get(key) if isinstance(row, dict) else None for key in ("image_id", "category_id")
        )
        if type(image) is int and type(category) is int:
            self._missed.setdefault(image, []).append(category)

    def picture(self, row: object, folder: ImageFolder, rejects: Rejects) -> Picture:
        number, size = field(row, "id", int), size_of(row)
        image = folder.path(_image_name(row))
        negative, partial = (_numbers(row, f"{key}_category_ids") for key in ("neg", "not_exhaustive"))
        instances = self.instances.get(number, [])
        named = ((f"annotation {each.id}", each) for each in instances)
        kept = tuple(rejects.usable(named, lambda instance: self._checked(instance, size)))
        missed = [each.category for each in instances if each not in kept]
        unsure = dict.fromkeys([*partial, *self._missed.get(number, []), *missed])
        return Picture(number, image, size, kept, negative, tuple(unsure))

    def _checked(self, instance: Instance, size: tuple[int, int]) -> Instance:
        if instance.category not in self.categories:
            raise DataError(f"category {instance.category} has no entry")
        check_box(instance.box, size)
        return instance


def _instance(row: object) -> Instance:
    box = box_from_xywh(field(row, "bbox", list))
    check_box(box)
    segmentation = checked(row).get("segmentation")
    mask: Mask | None = mask_from(segmentation) if segmentation else None
    crowd = checked(row).get("iscrowd") in (1, True)
    area = None if checked(row).get("area") is None else number(row, "area")
    if area is not None and area < 0:
        raise DataError(f"area is {area:g}; it should be 0 or more")
    return Instance(field(row, "id", int), field(row, "category_id", int), box, mask, crowd, area)


def _image_name(row: object) -> str:
    name = optional(row, "file_name", str)
    if name is not None:
        return name
    return "/".join(field(row, "coco_url", str).split("/")[-2:])


def _numbers(row: object, key: str) -> tuple[int, ...]:
    numbers = optional(row, key, list) or []
    if not all(type(number) is int for number in numbers):
        raise DataError(f"{key} is not a list of whole numbers")
    return tuple(numbers)


def _captions(picture: Picture, categories: Mapping[int, str]) -> Iterator[Caption]:
    unsure = {*picture.not_exhaustive, *(each.category for each in picture.instances if each.crowd)}
    found: dict[int, list[Instance]] = {absent: [] for absent in picture.negative if absent in categories}
    for instance in picture.instances:
        found.setdefault(instance.category, []).append(instance)
    for category, instances in found.items():
        if category not in unsure:
            yield _caption(picture, category, categories[category], instances)


def _caption(picture: Picture, number: int, category: str, instances: Iterable[Instance]) -> Caption:
    boxes = [each.box for each in instances]
    masks = [each.mask for each in instances if each.mask is not None]
    text = clean_name(category)
    phrase = whole(text, boxes, masks if len(masks) == len(boxes) else (), category)
    return Caption(f"{picture.id}-{number}", picture.image, text, (phrase,), referring=True)


def _things(picture: Picture, categories: Mapping[int, str]) -> tuple[Thing, ...]:
    return tuple(Thing(categories[each.category], each.box) for each in picture.instances if not each.crowd)


def _file(root: Path, dataset: str, split: str) -> Path:
    if not root.is_dir():
        raise FileNotFoundError(f"dataset folder not found: {root}")
    files = _files(root, dataset)
    if split not in files:
        raise ValueError(
            f"{root} has no {dataset} split {split!r}; it has {', '.join(sorted(files)) or 'none'}"
        )
    return files[split]


def _files(root: Path, dataset: str) -> dict[str, Path]:
    """The file of each split."""
    found: dict[str, Path] = {}
    for prefix in DATASETS[dataset]:
        for place in (root / "annotations", root):
            for file in sorted(place.glob(f"{prefix}*.json")):
                if file not in found.values():
                    found.setdefault(file.stem.removeprefix(prefix), file)
    return found
