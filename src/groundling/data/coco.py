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
from typing import NamedTuple

from groundling.data.caption import Caption, whole
from groundling.data.fitting import Fitting
from groundling.data.image_folder import ImageFolder
from groundling.data.instances import (
    SAME_ID,
    Once,
    annotation_id,
    area_of,
    is_crowd,
    lost_from,
    members,
    row_name,
)
from groundling.data.json_rows import Key, Size, as_key, checked, declared_size, field, key, optional
from groundling.data.mask import Mask, of_size, usable_mask
from groundling.data.rejects import Rejects
from groundling.data.sample import Box, DataError, Dataset, Thing, box_from_xywh, check_unicode

SAME_FILE = "images of several entries, whose objects were put together"
SAME_NAME = "categories of several ids, read as one"

# What the files of each dataset are called, longest first; what follows names the split.
DATASETS = {"coco": ("instances_",), "lvis": ("lvis_v1_", "lvis_")}


@dataclass(frozen=True)
class Instance:
    """One annotation; a crowd is a region of many objects, not one."""

    id: Key
    category: Key
    box: Box
    mask: Mask | None = None
    crowd: bool = False
    area: float | None = None  # pixels of the mask, as the file counts them


@dataclass(frozen=True)
class Picture:
    """An image with its annotations; categories are the file's own ids, of one name the first.

    LVIS says which categories were looked for and are not there (`negative`), and of which not all objects
    are annotated (`not_exhaustive`); a category of which an annotation was left out is among the latter.
    """

    id: Key
    image: Path
    size: Size | None  # None where neither the file nor its annotations say it
    instances: tuple[Instance, ...]
    negative: tuple[Key, ...] = ()
    not_exhaustive: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Instances:
    """An annotation file: the names of its categories by their ids, and its images.

    LVIS says of a category whether it is rare ("r"), common ("c") or frequent ("f").
    """

    categories: Mapping[Key, str]
    pictures: tuple[Picture, ...]
    frequencies: Mapping[Key, str] = dataclasses.field(default_factory=dict)


def load(root: Path, dataset: str, split: str, rejects: Rejects, need_images: bool = True) -> Instances:
    """All images of a split, also those without annotations; what cannot be used is left out.

    Entries of one file name are one image with the objects of all; categories of one name are one category.
    """
    file = _file(root, dataset, split)
    places = [root / split, root / "images" / split, root / "images", root]
    folder = ImageFolder.among(places, look=need_images)
    content = _Content(rejects)
    for name, row in members(file):
        content.add(name, row)
    content.check(file)
    names = content.names()
    pictures = content.pictures(folder, Fitting(rejects, need_images))
    return Instances(names, tuple(pictures), content.frequencies)


def dataset_of(content: Instances, name: str, split: str, rejects: Rejects) -> Dataset:
    """The names of categories of which an image has exactly one object, as expressions; and all objects.

    There may be no such image: detectors are taught by the objects alone.
    """
    samples = tuple(sample for caption in captions_of(content) for sample in caption.samples())
    things = {picture.image: _things(picture, content.categories) for picture in content.pictures}
    return Dataset(name, split, samples, things, rejects.count)


def captions_of(content: Instances) -> Iterator[Caption]:
    """A caption for each image and category; see `stream`."""
    for picture in content.pictures:
        yield from _captions(picture, content.categories)


def stream(
    root: Path, split: str, rejects: Rejects, need_images: bool = True, dataset: str = "coco"
) -> Iterator[Caption]:
    """A caption for each image and category: the category's name, and all of its boxes and masks there.

    For the categories that LVIS says are not there, it has no box. A category is left out of an image where
    not all of its objects are known as such: it has a crowd, or is not exhaustively annotated.
    """
    yield from captions_of(load(root, dataset, split, rejects, need_images))


def splits(root: Path, dataset: str = "coco") -> list[str]:
    """The splits that there are."""
    return sorted(_files(root, dataset))


def clean_name(category: str) -> str:
    """A category's name as people write it: LVIS has "dish_(container)"."""
    return category.split("(")[0].replace("_", " ").strip() or category


class _Entry(NamedTuple):
    """An image as its entry says it."""

    name: str
    size: Size | None
    negative: tuple[Key, ...]
    not_exhaustive: tuple[Key, ...]


class _Content:
    """The three lists of an annotation file, in whatever order they come."""

    def __init__(self, rejects: Rejects) -> None:
        self._rejects = rejects
        self._images = Once[_Entry]("image")
        self._categories = Once[str]("category")
        self._instances: dict[Key, list[Instance]] = {}  # by image
        self._seen: dict[Key, tuple[Key, Instance]] = {}
        self._missed: dict[Key, list[Key]] = {}  # categories of annotations that were left out, by image
        self._first: dict[Key, Key] = {}  # the first category of the same name
        self._lost: dict[str, str] = {}  # of each list, why its first row was left out
        self.frequencies: dict[Key, str] = {}

    def add(self, name: str, row: object) -> None:
        """A row of the list of this name."""
        try:
            {"images": self._image, "annotations": self._annotation, "categories": self._category}[name](row)
        except DataError as error:
            self._rejects.add(row_name(name, row), error)
            self._lost.setdefault(name, f"{row_name(name, row)}: {error}")
            image, category = lost_from(row)
            if image is not None and category is not None:
                self._missed.setdefault(image, []).append(category)

    def check(self, file: Path) -> None:
        """DataError for a file without images or categories, with what is wrong with the first of them."""
        for name, found in (("images", self._images), ("categories", self._categories)):
            if not len(found) and name in self._lost:
                raise DataError(f"{file}: none of its {name} can be used. {self._lost[name]}")
            if not len(found):
                raise DataError(f"{file}: not a COCO instances file: it has no {name}")

    def names(self) -> dict[Key, str]:
        """The names of categories by their ids; of those that have the same name, by the first."""
        found = self._categories.sound()
        first: dict[str, Key] = {}
        for number, name in found.items():
            self._first[number] = first.setdefault(name, number)
            if first[name] != number:
                self._rejects.note(SAME_NAME, name, f"ids {first[name]}, {number}")
        return {number: name for number, name in found.items() if self._first[number] == number}

    def pictures(self, folder: ImageFolder, fitting: Fitting) -> Iterator[Picture]:
        """The images that can be used, each with its instances that can."""
        for image in [number for number in self._instances if number not in self._images]:
            for instance in self._instances[image]:
                self._rejects.add(f"annotation {instance.id}", DataError(f"image {image} has no entry"))
        files: dict[Path, list[Key]] = {}
        found = ((f"image {number}", number) for number in self._images)
        for number, path in self._rejects.usable(found, lambda number: self._path(number, folder)):
            files.setdefault(path, []).append(number)
        for path, numbers in files.items():
            if len(numbers) > 1:
                self._rejects.note(SAME_FILE, path.name, f"images {', '.join(map(str, numbers))}")
            named = [(f"image {numbers[0]}", (path, numbers))]
            yield from self._rejects.usable(named, lambda named: self._picture(*named, fitting))

    def _image(self, row: object) -> None:
        lists = (_keys(row, f"{name}_category_ids") for name in ("neg", "not_exhaustive"))
        entry = _Entry(_image_name(row), declared_size(row), *lists)
        self._images.put(key(row, "id"), entry)

    def _annotation(self, row: object) -> None:
        number = annotation_id(row, len(self._seen), self._rejects)
        name, image = f"annotation {number}", key(row, "image_id")
        instance = Instance(
            number,
            key(row, "category_id"),
            box_from_xywh(field(row, "bbox", list)),
            usable_mask(checked(row).get("segmentation"), name, self._rejects),
            is_crowd(row, name, self._rejects),
            area_of(row, name, self._rejects),
        )
        if self._seen.setdefault(number, (image, instance)) != (image, instance):
            self._rejects.note(SAME_ID, f"{name} of image {image}")
        elif self._seen[number][1] is not instance:
            raise DataError("its id comes twice")
        self._instances.setdefault(image, []).append(instance)

    def _category(self, row: object) -> None:
        number, name = key(row, "id"), field(row, "name", str).strip()
        if not name:
            raise DataError("its name is blank")
        check_unicode(name, "category")
        self._categories.put(number, name)
        if frequency := optional(row, "frequency", str):
            self.frequencies[number] = frequency

    def _path(self, number: Key, folder: ImageFolder) -> tuple[Key, Path]:
        return number, folder.path(self._images.get(number).name)

    def _picture(self, path: Path, numbers: list[Key], fitting: Fitting) -> Picture:
        """An image and its instances; those that several entries of it have are one."""
        entries = [self._images.get(number) for number in numbers]
        size = fitting.size(path, entries[0].size)
        kept, missed = dict[object, Instance](), list[Key]()
        for number in numbers:
            for each in self._instances.get(number, []):
                try:
                    instance = self._fitted(each, path, size, fitting)
                except DataError as error:
                    self._rejects.add(f"annotation {each.id}", error)
                    missed.append(self._first.get(each.category, each.category))
                    continue
                what = (instance.category, instance.box, instance.crowd) if len(numbers) > 1 else id(each)
                other = kept.setdefault(what, instance)
                if other is not instance:
                    same = DataError(f"it is annotation {other.id} of another entry of its image")
                    self._rejects.add(f"annotation {each.id}", same)
            missed += self._missed.get(number, [])
        negative = self._joined(entry.negative for entry in entries)
        partial = self._joined([*(entry.not_exhaustive for entry in entries), missed])
        there = {instance.category for instance in kept.values()}
        absent = tuple(one for one in negative if len(entries) == 1 or one not in there)
        return Picture(numbers[0], path, size, tuple(kept.values()), absent, partial)

    def _joined(self, lists: Iterable[Iterable[Key]]) -> tuple[Key, ...]:
        """Categories of several lists, each once, of one name the first."""
        return tuple(dict.fromkeys(self._first.get(one, one) for several in lists for one in several))

    def _fitted(self, instance: Instance, image: Path, size: Size | None, fitting: Fitting) -> Instance:
        self._categories.check(instance.category)
        box = fitting.box(instance.box, image, size, f"annotation {instance.id}")
        mask = of_size(instance.mask, size, f"annotation {instance.id}", self._rejects)
        return dataclasses.replace(instance, box=box, mask=mask, category=self._first[instance.category])


def _image_name(row: object) -> str:
    name = optional(row, "file_name", str)
    if name is not None:
        return name
    return "/".join(field(row, "coco_url", str).split("/")[-2:])


def _keys(row: object, name: str) -> tuple[Key, ...]:
    found = [as_key(value) for value in optional(row, name, list) or []]
    if None in found:
        raise DataError(f"{name} is not a list of ids")
    return tuple(one for one in found if one is not None)


def _captions(picture: Picture, categories: Mapping[Key, str]) -> Iterator[Caption]:
    """A caption for each name that is said: categories that sound alike are asked for as one."""
    unsure = {*picture.not_exhaustive, *(each.category for each in picture.instances if each.crowd)}
    found: dict[str, list[Instance]] = {}
    numbers: dict[str, list[Key]] = {}
    for number in (*picture.negative, *(each.category for each in picture.instances)):
        if number in categories:
            numbers.setdefault(clean_name(categories[number]), []).append(number)
    for instance in picture.instances:
        found.setdefault(clean_name(categories[instance.category]), []).append(instance)
    for text, several in numbers.items():
        if not unsure & set(several):
            yield _caption(picture, several[0], text, found.get(text, []), categories)


def _caption(
    picture: Picture, number: Key, text: str, instances: list[Instance], categories: Mapping[Key, str]
) -> Caption:
    boxes = [each.box for each in instances]
    masks = [each.mask for each in instances if each.mask is not None]
    names = {categories[each.category] for each in instances} or {categories[number]}
    category = names.pop() if len(names) == 1 else text
    phrase = whole(text, boxes, masks if len(masks) == len(boxes) else (), category)
    return Caption(f"{picture.id}-{number}", picture.image, text, (phrase,), referring=True)


def _things(picture: Picture, categories: Mapping[Key, str]) -> tuple[Thing, ...]:
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
