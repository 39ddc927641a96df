"""Objects by category and box, row by row, as CSV, YOLO and Pascal VOC have them: gathered by image.

They become what COCO's files become (`coco.Instances`): images with all of their objects, and as expressions
the names of categories of which an image has exactly one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from groundling.data.coco import Instance, Instances, Picture
from groundling.data.fitting import Fitting
from groundling.data.json_rows import Key, Size
from groundling.data.mask import Mask
from groundling.data.rejects import Rejects
from groundling.data.sample import Box, DataError, check_unicode


@dataclass(frozen=True)
class Labelled:
    """An object: its category, its box or what is wrong with that, and its row's name."""

    category: str
    box: Callable[[], Box]  # DataError for one that cannot be used
    row: str
    mask: Mask | None = None


@dataclass
class Entry:
    """An image with its objects, as one or more rows say them."""

    image: Path
    declared: Size | None = None
    objects: list[Labelled] = field(default_factory=list)


def gathered(entries: Iterable[Entry], fitting: Fitting, rejects: Rejects) -> Instances:
    """The images of these entries; those of one file are one. Categories are numbered as they come."""
    images: dict[Path, Entry] = {}
    for entry in entries:
        images.setdefault(entry.image, Entry(entry.image, entry.declared)).objects.extend(entry.objects)
    numbers: dict[str, Key] = {}

    def picture(numbered: tuple[int, Entry]) -> Picture:
        return _picture(*numbered, numbers, fitting, rejects)

    named = ((f"image {one[1].image.name}", one) for one in enumerate(images.values(), 1))
    pictures = tuple(rejects.usable(named, picture))
    return Instances({number: name for name, number in numbers.items()}, pictures)


def _picture(
    index: int, entry: Entry, numbers: dict[str, Key], fitting: Fitting, rejects: Rejects
) -> Picture:
    size, found, missed = fitting.size(entry.image, entry.declared), list[Instance](), list[Key]()
    for each in entry.objects:
        try:
            category = _number(each.category, numbers)
        except DataError as error:
            rejects.add(each.row, error)
            continue
        try:
            box = fitting.box(each.box(), entry.image, size, each.row)
        except DataError as error:
            rejects.add(each.row, error)
            missed.append(category)
            continue
        found.append(Instance(f"{index}-{len(found)}", category, box, each.mask))
    return Picture(index, entry.image, size, tuple(found), not_exhaustive=tuple(dict.fromkeys(missed)))


def _number(category: str, numbers: dict[str, Key]) -> Key:
    name = category.strip()
    check_unicode(name, "category")
    if not name:
        raise DataError("its category is blank")
    return numbers.setdefault(name, len(numbers) + 1)
