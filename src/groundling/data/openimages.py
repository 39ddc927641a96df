"""Open Images: boxes of classes in CSV files, in shares of the image, XMin, XMax, YMin, YMax.

    ROOT/validation-annotations-bbox.csv   ROOT/oidv6-train-annotations-bbox.csv
    ROOT/class-descriptions-boxable.csv
    ROOT/validation/0001eeaf4aed83f9.jpg, ROOT/images/validation/*.jpg, or ROOT/images/*.jpg

Boxes become pixels by the size of their image, so that images must be there. Source: the description of V5 at
storage.googleapis.com/openimages.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from groundling.data import csv_rows
from groundling.data.caption import Caption, whole
from groundling.data.csv_rows import Row
from groundling.data.fitting import Fitting
from groundling.data.image_folder import ImageFolder
from groundling.data.instances import Once
from groundling.data.rejects import Rejects
from groundling.data.sample import Box, DataError, check_split

_SUFFIX = "-annotations-bbox"
_SIDES = ("XMin", "YMin", "XMax", "YMax")  # in our order; the file's is another
_COLUMNS = ("ImageID", "LabelName", *_SIDES)
_BEYOND = 1.0  # a side: what is farther from the image is no share of it


def stream(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Iterator[Caption]:
    """A caption for each image and class: the class's name, and all of its boxes there.

    A class is left out of an image where one of its boxes is of a group of objects or cannot be used: it
    would look like one that means fewer. The rows of an image stand together, as in the official files; an
    image that comes back later is left out.
    """
    if not need_images:
        raise ValueError(
            "the boxes of Open Images are shares of their image: its file is needed for its size"
        )
    file = _file(root, split)
    places = [root / split, root / "images" / split, root / "images"]
    boxes = _Boxes(_classes(root, rejects), ImageFolder.among(places), rejects)
    seen: set[str] = set()
    for image, rows in groupby(csv_rows.rows(file, _COLUMNS), key=lambda named: named[1]["ImageID"]):
        if image in seen:
            rejects.add(f"image {image}", DataError("its rows do not stand together"))
            continue
        seen.add(image)
        named = list(rows)
        found = list(rejects.usable(((name, (name, row)) for name, row in named), boxes.read))
        there, read = Counter(boxes.name(row) for _, row in named), Counter(name for name, *_ in found)
        yield from _captions(image, [each for each in found if read[each[0]] == there[each[0]]])


def splits(root: Path) -> list[str]:
    """The splits that there are."""
    return sorted({_split(file) for file in root.glob(f"*{_SUFFIX}.csv")})


class _Boxes:
    """Makes boxes of rows: needs the names of classes and the sizes of images."""

    def __init__(self, classes: Mapping[str, str], folder: ImageFolder, rejects: Rejects) -> None:
        self._classes = classes
        self._folder = folder
        self._fitting = Fitting(rejects, pixels=False)

    def name(self, row: Row) -> str | None:
        """The class of a row; None for one without a description."""
        return self._classes.get(row["LabelName"])

    def read(self, named: tuple[str, Row]) -> tuple[str, Path, Box, bool]:
        """The class of a row, its image, its box in pixels, and whether that is of a group."""
        line, row = named
        name = self.name(row)
        if name is None:
            raise DataError(f"class {row['LabelName']!r} has no description")
        image = self._folder.path(f"{row['ImageID']}.jpg")
        width, height = self._fitting.size(image) or (1, 1)
        x1, y1, x2, y2 = (_share(row, side) for side in _SIDES)
        box = self._fitting.box((x1 * width, y1 * height, x2 * width, y2 * height), image, row=line)
        return name, image, box, row.get("IsGroupOf") == "1"


def _captions(identity: str, boxes: list[tuple[str, Path, Box, bool]]) -> Iterator[Caption]:
    groups = {name for name, *_, group in boxes if group}
    for name in dict.fromkeys(name for name, *_ in boxes if name not in groups):
        phrase = whole(name, (box for other, _, box, _ in boxes if other == name), category=name)
        yield Caption(f"{identity}-{name}", boxes[0][1], name, (phrase,), referring=True)


def _share(row: Row, side: str) -> float:
    try:
        share = float(row[side])
    except ValueError:
        raise DataError(f"{side} is {row[side]!r}, not a number") from None
    if not -_BEYOND <= share <= 1 + _BEYOND:
        raise DataError(f"{side} is {share}; it is a share of the image, 0 to 1")
    return share


def _classes(root: Path, rejects: Rejects) -> dict[str, str]:
    """The names of classes by their labels; files of version 7 have a header."""
    found = root.glob("*class-descriptions*.csv")
    files = sorted(found, key=lambda file: ("boxable" not in file.name, file.name))
    if not files:
        raise FileNotFoundError(f"{root} has no class-descriptions-boxable.csv")
    rows = [row for _, row in csv_rows.lines(files[0])]
    if not all(len(row) == 2 and row[1].strip() for row in rows):
        raise DataError(f"{files[0]}: not rows of a label and its name")
    classes = Once[str]("class")
    for label, name in rows:
        if label != "LabelName":
            try:
                classes.put(label, name)
            except DataError as error:
                rejects.add(f"class {label}", error)
    return {str(label): name for label, name in classes.sound().items()}


def _split(file: Path) -> str:
    return file.stem.removesuffix(_SUFFIX).split("-")[-1]


def _file(root: Path, split: str) -> Path:
    check_split(root, split, splits, "no Open Images")
    files = [file for file in sorted(root.glob(f"*{_SUFFIX}.csv")) if _split(file) == split]
    if len(files) > 1:
        raise ValueError(
            f"{root} has two files of {split}: {', '.join(file.name for file in files)}; keep one"
        )
    return files[0]
