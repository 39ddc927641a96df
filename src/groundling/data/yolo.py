"""YOLO: a text file an image, a line an object: its class and its box as shares, cx, cy, width, height.

    ROOT/data.yaml   ROOT/images/val/1.jpg   ROOT/labels/val/1.txt          (Ultralytics)
    ROOT/data.yaml   ROOT/valid/images/1.jpg   ROOT/valid/labels/1.txt      (Roboflow)
    ROOT/classes.txt   ROOT/images/1.jpg   ROOT/labels/1.txt                (one split, "all")

The names of classes are in a .yaml file, or in classes.txt or obj.names, one a line; these may lie in labels
too. A line of more numbers is the outline of the object, x, y of each corner. An image without a file of
labels has no objects. Boxes become pixels by the size of their image, so that images must be there.
"""

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groundling.data.caption import Caption
from groundling.data.coco import Instances, captions_of
from groundling.data.fitting import Fitting
from groundling.data.image_folder import Listing
from groundling.data.labelled import Entry, Labelled, gathered
from groundling.data.mask import CORNERS, Mask
from groundling.data.pickles import read_bytes
from groundling.data.rejects import Rejects
from groundling.data.sample import Box, DataError, check_split
from groundling.words.text_files import decoded, read_lines

ALL = "all"
MAX_BYTES = 1 << 20  # of a file of names
_LISTS = ("classes.txt", "obj.names")
_BEYOND = 1.0  # a side: what is farther from the image is no share of it
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def load(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Instances:
    """All images of a split, also those without objects."""
    if not need_images:
        raise ValueError("the boxes of YOLO are shares of their image: its file is needed for its size")
    check_split(root, split, splits, "no YOLO labels")
    images, labels = _places(root)[split]
    reader = _Reader(_names(root), Fitting(rejects, pixels=False), rejects)
    named = ((file.name, file) for file in _found(images, labels, rejects))
    return gathered(rejects.usable(named, lambda file: reader.entry(file, labels)), reader.fitting, rejects)


def stream(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Iterator[Caption]:
    """A caption for each image and category, as of COCO."""
    return captions_of(load(root, split, rejects, need_images))


def splits(root: Path) -> list[str]:
    """The splits that there are."""
    return sorted(_places(root)) if any(_name_files(root)) else []


class _Reader:
    """Makes entries of images: needs the names of classes and the sizes of images."""

    def __init__(self, names: dict[int, str], fitting: Fitting, rejects: Rejects) -> None:
        self._names, self.fitting, self._rejects = names, fitting, rejects
        self._listing = Listing()

    def entry(self, image: Path, labels: Path) -> Entry:
        file = self._listing.find(labels / f"{image.stem}.txt")
        size = self.fitting.size(image)
        assert size is not None  # its file is at hand
        rows = read_lines(file) if file else ()
        try:
            named = [(f"{image.stem}.txt:{number}", line) for number, line in rows if line.strip()]
        except ValueError as error:
            raise DataError(str(error)) from error
        made = self._rejects.usable(
            ((row, (row, line)) for row, line in named), lambda pair: self._labelled(*pair, size)
        )
        return Entry(image, objects=list(made))

    def _labelled(self, row: str, line: str, size: tuple[int, int]) -> Labelled:
        category, *shares = line.split()
        number = int(category) if category.isdecimal() and len(category) < 9 else -1
        if number not in self._names:
            raise DataError(f"class {category!r} has no name")
        width, height = size

        def box() -> Box:
            values = [_share(text) for text in shares]
            if len(values) == 4:
                x, y, w, h = values
                x1, y1, x2, y2 = x - w / 2, y - h / 2, x + w / 2, y + h / 2
            elif _is_outline(values):
                x1, y1, x2, y2 = min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
            else:
                raise DataError(
                    f"has {len(values)} numbers after its class; a box has 4, and an outline 2 a corner"
                )
            return x1 * width, y1 * height, x2 * width, y2 * height

        return Labelled(self._names[number], box, row, self._mask(shares, size))

    def _mask(self, shares: list[str], size: tuple[int, int]) -> Mask | None:
        try:
            values = [_share(text) for text in shares]
        except DataError:
            return None
        return (tuple(v * size[n % 2] for n, v in enumerate(values)),) if _is_outline(values) else None


def _is_outline(values: list[float]) -> bool:
    return len(values) >= 2 * CORNERS and len(values) % 2 == 0


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"{text!r} is not a number") from None
    if not -_BEYOND <= value <= 1 + _BEYOND:
        raise DataError(
            f"{text} is not a share of the image, 0 to 1; boxes in YOLO are cx, cy, width, height"
        )
    return value


def _places(root: Path) -> dict[str, tuple[Path, Path]]:
    """Of each split the folder of its images and that of its labels."""
    found: dict[str, tuple[Path, Path]] = {}
    for labels in sorted(root.glob("labels/*")):
        if labels.is_dir() and (images := root / "images" / labels.name).is_dir():
            found[labels.name] = images, labels
    for labels in sorted(root.glob("*/labels")):
        if labels.is_dir() and (images := labels.parent / "images").is_dir():
            found[labels.parent.name] = images, labels
    if not found and (root / "labels").is_dir() and (root / "images").is_dir():
        found[ALL] = root / "images", root / "labels"
    return found


def _found(images: Path, labels: Path, rejects: Rejects) -> Iterator[Path]:
    """The images of a folder; a file of labels without an image is left out."""
    files = sorted(file for file in images.iterdir() if _is_image(file))
    stems = {_composed(file.stem) for file in files}
    for file in sorted(labels.glob("*.txt")):
        if _composed(file.stem) not in stems and file.name not in _LISTS:
            rejects.add(file.name, DataError(f"{images} has no image of this name"))
    yield from files


def _composed(name: str) -> str:
    """A name in one Unicode form: archives made on a Mac hold another one."""
    return unicodedata.normalize("NFC", name)


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in _SUFFIXES and not file.name.startswith(".") and file.is_file()


def _name_files(root: Path) -> list[Path]:
    """The files that may hold the names of classes, the likeliest first."""
    yamls = sorted(root.glob("*.y*ml"), key=lambda file: (file.stem not in ("data", "dataset"), file.name))
    lists = [place / name for place in (root, root / "labels") for name in _LISTS]
    return [file for file in (*yamls, *lists) if file.is_file()]


def _names(root: Path) -> dict[int, str]:
    """The names of classes by their numbers."""
    for file in _name_files(root):
        names = _listed(file) if file.name in _LISTS else _of_yaml(file)
        if names:
            return names
    raise DataError(f"{root} has no data.yaml or classes.txt with the names of its classes")


def _listed(file: Path) -> dict[int, str]:
    try:
        lines = [line.strip() for _, line in read_lines(file)]
    except ValueError as error:
        raise DataError(str(error)) from error
    return {number: name for number, name in enumerate(lines) if name}


def _of_yaml(file: Path) -> dict[int, str]:
    import yaml

    try:
        content: Any = yaml.safe_load(decoded(read_bytes(file, MAX_BYTES), file))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: not YAML, or damaged ({str(error).splitlines()[0]})") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        return {}
    return {int(number): str(name) for number, name in names.items() if str(number).isdecimal()}
