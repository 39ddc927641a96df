"""CSV tables, a row a box: of expressions, or of objects by category.

    image,expression,x1,y1,x2,y2          photos/1.jpg,the left dog,10,20,110,90
    image,expression,box                  photos/1.jpg,the left dog,"10 20 110 90"
    filename,width,height,class,xmin,ymin,xmax,ymax

The first line is the header; columns may come in any order, others are left alone. An image may be called
image, filename, file_name or path, a category class, label or category, the box's sides x1 … y2, xmin … ymax
or left, top, right, bottom; `width` and `height` are the picture's. Fields lie between commas, semicolons or
tabs. A row of an image without box and category says that it has no objects. Boxes are xyxy in pixels.
A split is the name of a file, ROOT/SPLIT.csv or ROOT/data/SPLIT.csv. Images lie beside the file, in `images`
beside it or in ROOT, or in ROOT itself.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from groundling.data import csv_rows
from groundling.data.caption import Caption, whole
from groundling.data.coco import Instances, captions_of
from groundling.data.fitting import Fitting
from groundling.data.image_folder import ImageFolder
from groundling.data.json_rows import Size
from groundling.data.labelled import Entry, Labelled, gathered
from groundling.data.rejects import Rejects
from groundling.data.sample import Box, DataError

_IMAGE = ("image", "filename", "file_name", "path", "image_path")
_EXPRESSION = ("expression", "caption", "phrase", "sentence")
_CATEGORY = ("class", "label", "category", "class_name")
_SIDES = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom"))
_BOX = ("box", "bbox_xyxy")
_PLACES = (".", "data", "annotations")
FORMS = "image,expression,x1,y1,x2,y2 or filename,width,height,class,xmin,ymin,xmax,ymax"


@dataclass(frozen=True)
class Table:
    """A file, and where its header has what; `text` is its expressions, or else its categories."""

    file: Path
    delimiter: str
    image: int
    text: int
    expressions: bool
    box: tuple[int, ...]  # one column, or those of the four sides
    size: tuple[int, int] | None


def load(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Instances:
    """All images of a table of objects; ValueError for one of expressions."""
    table = _table(root, split)
    if table.expressions:
        raise ValueError(f"{table.file} holds expressions, not the objects of categories")
    folder = _folder(root, table, need_images)
    entries = rejects.usable(_rows(table), lambda row: _entry(row, table, folder))
    return gathered(entries, Fitting(rejects, need_images), rejects)


def stream(root: Path, split: str, rejects: Rejects, need_images: bool = True) -> Iterator[Caption]:
    """The expressions of a table; of one of objects a caption for each image and category, as of COCO."""
    table = _table(root, split)
    if not table.expressions:
        yield from captions_of(load(root, split, rejects, need_images))
        return
    folder, fitting = _folder(root, table, need_images), Fitting(rejects, need_images)
    yield from rejects.usable(_rows(table), lambda row: _caption(row, table, folder, fitting))


def splits(root: Path) -> list[str]:
    """The splits that there are."""
    return sorted(_files(root))


def has_objects(root: Path, split: str) -> bool:
    """Whether a split is a table of objects, not of expressions."""
    return not _table(root, split).expressions


class _Row(list[str]):
    """The fields of a line, and its name."""

    def __init__(self, fields: list[str], name: str) -> None:
        super().__init__(fields)
        self.name = name

    def at(self, column: int) -> str:
        return self[column].strip() if column < len(self) else ""


def _rows(table: Table) -> Iterator[tuple[str, _Row]]:
    lines = csv_rows.lines(table.file, table.delimiter)
    next(lines)
    for number, line in lines:
        name = f"{table.file.name}:{number}"
        yield name, _Row(line, name)


def _caption(row: _Row, table: Table, folder: ImageFolder, fitting: Fitting) -> Caption:
    image, text = folder.path(_name(row, table)), row[table.text] if table.text < len(row) else ""
    box = fitting.box(_box(row, table), image, _size(row, table), row.name)
    identity = f"{table.file.stem}-{row.name.rpartition(':')[2]}"
    return Caption(identity, image, text, (whole(text, [box]),), referring=True)


def _entry(row: _Row, table: Table, folder: ImageFolder) -> Entry:
    image, category = folder.path(_name(row, table)), row.at(table.text)
    entry = Entry(image, _size(row, table))
    if category or any(row.at(column) for column in table.box):

        def box() -> Box:
            return _box(row, table)

        entry.objects.append(Labelled(category, box, row.name))
    return entry


def _name(row: _Row, table: Table) -> str:
    name = row.at(table.image).replace("\\", "/")
    if not name:
        raise DataError("names no image")
    return name


def _box(row: _Row, table: Table) -> Box:
    given = [row.at(column) for column in table.box]
    texts = re.split(r"[\s,;]+", given[0].strip("[]() ")) if len(given) == 1 else given
    try:
        x1, y1, x2, y2 = map(float, texts)
    except ValueError:
        raise DataError(f"box {' '.join(texts)!r} is not four numbers: left, top, right, bottom") from None
    return x1, y1, x2, y2


def _size(row: _Row, table: Table) -> Size | None:
    sides = [row.at(column) for column in table.size or ()]
    if len(sides) != 2 or not all(side.isdecimal() and len(side) < 9 and int(side) for side in sides):
        return None
    return int(sides[0]), int(sides[1])


def _folder(root: Path, table: Table, look: bool) -> ImageFolder:
    beside, above = table.file.parent, root if root.is_dir() else root.parent
    places = [beside, beside / "images", above, above / "images", beside.parent / "images"]
    return ImageFolder.among(list(dict.fromkeys(places)), look=look)


def _table(root: Path, split: str) -> Table:
    files = _files(root)
    if split not in files:
        raise ValueError(f"{root} has no CSV split {split!r}; it has {', '.join(sorted(files)) or FORMS}")
    return files[split]


def _files(root: Path) -> dict[str, Table]:
    """The tables of a folder by their splits, or the one that a file is."""
    files = [root] if root.is_file() else [f for p in _PLACES for f in sorted((root / p).glob("*.csv"))]
    tables = ((file.stem, table_of(file)) for file in files)
    return {stem: table for stem, table in reversed(list(tables)) if table is not None}


def table_of(file: Path) -> Table | None:
    """A file by its header; None for one of another form."""
    for delimiter in (",", ";", "\t"):
        try:
            _, header = next(csv_rows.lines(file, delimiter), (0, []))
        except DataError:
            return None
        if table := _of_header(file, delimiter, [name.strip().lower() for name in header]):
            return table
    return None


def _of_header(file: Path, delimiter: str, header: list[str]) -> Table | None:
    image, expression, category, box = (
        next((header.index(name) for name in names if name in header), None)
        for names in (_IMAGE, _EXPRESSION, _CATEGORY, _BOX)
    )
    sides = next((names for names in _SIDES if set(names) <= set(header)), None)
    text = category if expression is None else expression
    if image is None or text is None or (box is None and sides is None):
        return None
    columns = tuple(map(header.index, sides)) if sides else (box or 0,)
    size = (header.index("width"), header.index("height")) if {"width", "height"} <= set(header) else None
    return Table(file, delimiter, image, text, expression is not None, columns, size)
